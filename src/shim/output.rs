//! A container's output: from its pipes or its terminal into its CRI log.
//!
//! Two buffers serve all containers of the pod. They are mapped when output arrives and given back to the
//! kernel when it has been quiet for a while.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::clients::{Clients, SourceIndex};
use super::cri_log::{Lines, LogStream, Prefix, Records};
use super::pace::Pace;
use holdfast_kernel::fault;
use holdfast_kernel::sys::descriptor;
use holdfast_kernel::sys::memory::Buffer;

/// Bytes read at once: with the records made of them, few enough to stay in a core's own cache.
const READ_BYTES: usize = 128 * 1024;

/// Bytes of records written at once: a file system takes few large writes for less than many small ones.
const WRITE_BYTES: usize = 352 * 1024;

/// Reads of one pipe before the others have their turn.
const READS_PER_TURN: usize = 8;

/// Bytes that a pipe is made for. Those of all pods count against a limit of their user: pipe(7).
pub(super) const QUIET_PIPE: usize = 64 * 1024;

/// Bytes asked for a pipe that is often full. A larger one would not stay in a core's own cache.
const BUSY_PIPE: usize = 256 * 1024;

/// Bytes asked for a pipe that collects while its reader rests: more than any program writes line by line within that
/// time.
const RESTING_PIPE: usize = 1024 * 1024;

/// Bytes of one turn that make a pipe worth growing.
const BUSY_BYTES: usize = QUIET_PIPE / 2;

/// Standard output and standard error that both speak within this time are read as they come, so that the log has
/// them in order.
const TOGETHER: Duration = Duration::from_millis(20);

/// How long pages and pipes of a busy time are kept.
pub(super) const BUFFER_REST: Duration = Duration::from_secs(1);

/// Reads up to this size leave so few pages touched that giving them back costs more than it saves.
const SMALL_READ: usize = 8 * 1024;

/// The buffers of a pod.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    mapped: Option<(Buffer, Buffer)>,
    /// When a read larger than a few pages was last made.
    pub(super) used: Option<Instant>,
}

impl Buffers {
    /// Gives the pages back.
    pub(super) fn release(&mut self) {
        self.mapped = None;
        self.used = None;
    }
}

/// The log file of a container.
#[derive(Debug, Default)]
pub(super) struct LogFile {
    file: Option<OwnedFd>,
    /// A record was cut short by a full disk: the next one starts on a line of its own.
    torn: bool,
}

impl LogFile {
    /// Writes further records to another file.
    pub(super) fn replace(&mut self, file: OwnedFd) {
        self.file = Some(file);
        self.torn = false;
    }

    /// Appends whole records. When the disk is full or fails, they are lost; the container runs on.
    fn append(&mut self, mut records: &[u8]) {
        let Some(file) = &self.file else {
            return;
        };
        let _step = fault::mark("shim.log");
        if self.torn {
            match descriptor::write(file.as_fd(), b"\n") {
                Ok(1) => self.torn = false,
                _ => return,
            }
        }
        let whole = records.len();
        while !records.is_empty() {
            match descriptor::write(file.as_fd(), records) {
                Ok(length) if length > 0 => records = &records[length..],
                _ => {
                    self.torn = records.len() < whole;
                    return;
                }
            }
        }
    }
}

/// A source of output.
#[derive(Debug)]
struct Source {
    file: OwnedFd,
    stream: LogStream,
    lines: Lines,
    pace: Pace,
    pipe: Pipe,
    /// The source is in the epoll set.
    watched: bool,
}

/// The size of the pipe of a source, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipe {
    /// The pipe has the size that it was made with.
    Small,
    /// Grown to this many bytes.
    Large(usize),
    /// The source is a terminal, which has no size to choose.
    Terminal,
}

/// The output of a container, on its way into the log.
#[derive(Debug, Default)]
pub(super) struct Output {
    sources: [Option<Source>; 2],
    pub(super) log: LogFile,
    pub(super) clients: Clients,
}

/// Whether a source has more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    Ended,
}

impl Output {
    /// Adds a source of output, which is in the epoll set already.
    pub(super) fn open(&mut self, index: SourceIndex, file: OwnedFd) {
        let stream = match index {
            SourceIndex::First => LogStream::Output,
            SourceIndex::Second => LogStream::Error,
        };
        self.sources[index as usize] = Some(Source {
            file,
            stream,
            lines: Lines::default(),
            pace: Pace::default(),
            pipe: Pipe::Small,
            watched: true,
        });
    }

    /// Returns the descriptor of a source that has not ended.
    pub(super) fn descriptor(&self, index: SourceIndex) -> Option<BorrowedFd<'_>> {
        self.sources[index as usize]
            .as_ref()
            .map(|source| source.file.as_fd())
    }

    /// Every source has ended.
    pub(super) fn is_drained(&self) -> bool {
        self.sources.iter().all(Option::is_none)
    }

    /// Moves what a source has, up to a fair share, because epoll said that it has something.
    pub(super) fn pump(&mut self, index: SourceIndex, buffers: &mut Buffers) -> Flow {
        let now = Instant::now();
        let sibling = index.sibling();
        let mut flow = Flow::Open;
        let mut alone = true;
        if let Some(other) = &mut self.sources[sibling as usize] {
            alone = !other.pace.spoke_within(TOGETHER, now);
            if other.pace.due().is_some() {
                // What it has collected was written before.
                other.pace.wake();
                alone = false;
                if self.turn(sibling, buffers).is_none() {
                    flow = Flow::Ended;
                }
            }
        }
        let Some(length) = self.turn(index, buffers) else {
            return Flow::Ended;
        };
        let attached = !self.clients.all.is_empty();
        if let Some(source) = &mut self.sources[index as usize] {
            let collect = length > 0 && source.pace.note_event(length, now);
            if collect && alone && !attached {
                // In a pipe that the machine keeps small, a rest would make the program wait.
                if source.grow_pipe(RESTING_PIPE) >= RESTING_PIPE / 2 {
                    source.pace.rest(now);
                }
            } else if length >= BUSY_BYTES {
                source.grow_pipe(BUSY_PIPE);
            }
        }
        flow
    }

    /// Does what is due: reads a source after its rest, and gives a quiet pipe its former size.
    pub(super) fn meet_deadlines(&mut self, now: Instant, buffers: &mut Buffers) -> Flow {
        let mut flow = Flow::Open;
        for index in [SourceIndex::First, SourceIndex::Second] {
            let Some(source) = &mut self.sources[index as usize] else {
                continue;
            };
            match source.pace.due() {
                None if source.quiet_at().is_some_and(|quiet| quiet <= now) => source.shrink(),
                Some(due) if due <= now => {
                    let Some(length) = self.turn(index, buffers) else {
                        flow = Flow::Ended;
                        continue;
                    };
                    let attached = !self.clients.all.is_empty();
                    if let Some(source) = &mut self.sources[index as usize] {
                        let capacity = source.capacity();
                        source.pace.note_rest(length, capacity, Instant::now());
                        if attached {
                            source.pace.wake();
                        }
                    }
                }
                _ => {}
            }
        }
        flow
    }

    /// The next moment at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sources = self.sources.iter().flatten();
        sources
            .filter_map(|source| source.pace.due().or_else(|| source.quiet_at()))
            .min()
    }

    /// Ends every rest: nothing more is written, and somebody waits for the end.
    pub(super) fn wake(&mut self) {
        for source in self.sources.iter_mut().flatten() {
            source.pace.wake();
        }
    }

    /// Takes a source that rests out of the epoll set, or puts it back.
    pub(super) fn watch(&mut self, index: SourceIndex, poll: &Epoll, token: u64) {
        let Some(source) = &mut self.sources[index as usize] else {
            return;
        };
        match (source.watched, source.pace.due()) {
            // Left in the set, it is read more often than it has to be.
            (true, Some(_)) => source.watched = poll.delete(&source.file).is_err(),
            (false, None) => {
                let wanted = EpollEvent::new(EpollFlags::EPOLLIN, token);
                source.watched = poll.add(&source.file, wanted).is_ok();
                if !source.watched {
                    source.pace.rest(Instant::now());
                }
            }
            _ => {}
        }
    }

    /// Reads once from a source and returns the number of bytes. `None` when the source has ended.
    fn turn(&mut self, index: SourceIndex, buffers: &mut Buffers) -> Option<usize> {
        let source = self.sources[index as usize].as_mut()?;
        match source.read(&mut self.log, &mut self.clients, buffers) {
            Ok(length) => Some(length),
            Err(_) => {
                source.finish(&mut self.log, buffers);
                self.sources[index as usize] = None;
                self.clients.end(index);
                None
            }
        }
    }

    /// Moves what is there and closes every source, whoever still holds the other end.
    pub(super) fn finish(&mut self, buffers: &mut Buffers) {
        for index in [SourceIndex::First, SourceIndex::Second] {
            // A writer that never stops must not keep an exit from being reported.
            for _ in 0..READS_PER_TURN {
                if self.turn(index, buffers).is_none() {
                    break;
                }
            }
            if let Some(mut source) = self.sources[index as usize].take() {
                source.finish(&mut self.log, buffers);
            }
            self.clients.end(index);
        }
    }
}

impl Source {
    /// Moves what is there, up to a fair share, and says how much. Fails at the end.
    fn read(
        &mut self,
        log: &mut LogFile,
        clients: &mut Clients,
        buffers: &mut Buffers,
    ) -> nix::Result<usize> {
        let (input, output) = buffers.get()?;
        let mut append = |records: &[u8]| log.append(records);
        let mut records = Records::new(output.as_mut_slice(), &mut append);
        let mut total = 0;
        let mut end = Ok(());
        for _ in 0..READS_PER_TURN {
            let length = match descriptor::read(self.file.as_fd(), input.as_mut_slice()) {
                Err(Errno::EAGAIN) => break,
                // The end of a pipe; a terminal says EIO.
                Ok(0) => Err(Errno::EIO),
                other => other,
            };
            let length = match length {
                Ok(length) => length,
                Err(errno) => {
                    end = Err(errno);
                    break;
                }
            };
            let bytes = &input.as_slice()[..length];
            let prefix = Prefix::new(unix_nanos(), self.stream);
            self.lines.feed(bytes, prefix, &mut records);
            clients.copy(self.stream, bytes);
            total += length;
            // Less than asked for: the source is empty, or epoll says so again.
            if length < READ_BYTES {
                break;
            }
        }
        records.flush();
        if total > SMALL_READ {
            buffers.used = Some(Instant::now());
        }
        end.map(|()| total)
    }

    fn finish(&mut self, log: &mut LogFile, buffers: &mut Buffers) {
        // Without memory for the buffers the last incomplete line is lost, as every one before it.
        let Ok((_, output)) = buffers.get() else {
            return;
        };
        let mut append = |records: &[u8]| log.append(records);
        let prefix = Prefix::new(unix_nanos(), self.stream);
        let mut records = Records::new(output.as_mut_slice(), &mut append);
        self.lines.finish(prefix, &mut records);
        records.flush();
    }

    /// Gives the pipe room for this many bytes, or for as many as the machine allows, and says for how many it has.
    fn grow_pipe(&mut self, wanted: usize) -> usize {
        let mut size = wanted;
        while size > self.capacity() && self.pipe != Pipe::Terminal {
            match descriptor::resize_pipe(self.file.as_fd(), size) {
                Ok(bytes) => self.pipe = Pipe::Large(bytes),
                Err(Errno::EBADF) => self.pipe = Pipe::Terminal,
                Err(_) => size /= 2,
            }
        }
        self.capacity()
    }

    /// Bytes for which the pipe has room.
    fn capacity(&self) -> usize {
        match self.pipe {
            Pipe::Small => QUIET_PIPE,
            Pipe::Large(bytes) => bytes,
            Pipe::Terminal => 0,
        }
    }

    /// When the pipe gets its former size, unless more output comes.
    fn quiet_at(&self) -> Option<Instant> {
        let grown = matches!(self.pipe, Pipe::Large(_));
        grown
            .then(|| self.pace.last()?.checked_add(BUFFER_REST))
            .flatten()
    }

    /// Gives the pipe the size that it was made with, unless its container has chosen another.
    fn shrink(&mut self) {
        if let Pipe::Large(bytes) = self.pipe
            && descriptor::pipe_size(self.file.as_fd()) == Ok(bytes)
        {
            // A pipe that is full again is shrunk the next time.
            let _ = descriptor::resize_pipe(self.file.as_fd(), QUIET_PIPE);
        }
        self.pipe = Pipe::Small;
    }
}

impl Buffers {
    fn get(&mut self) -> nix::Result<&mut (Buffer, Buffer)> {
        if self.mapped.is_none() {
            self.mapped = Some((Buffer::new(READ_BYTES)?, Buffer::new(WRITE_BYTES)?));
        }
        self.mapped.as_mut().ok_or(Errno::ENOMEM)
    }
}

/// The present time in nanoseconds since the epoch.
pub(super) fn unix_nanos() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
    })
}
