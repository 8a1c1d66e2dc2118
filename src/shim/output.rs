//! A container's output: from its pipes or its terminal into its CRI log.
//!
//! Two buffers serve all containers of the pod. They are mapped when output arrives and given back to the
//! kernel when it has been quiet for a while.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::clients::{Clients, SourceIndex};
use super::cri_log::{Lines, LogStream, Prefix, Records};
use holdfast_kernel::fault;
use holdfast_kernel::sys::descriptor;
use holdfast_kernel::sys::memory::Buffer;

/// Bytes read at once: with the records made of them, few enough to stay in a core's own cache.
const READ_BYTES: usize = 128 * 1024;

/// Bytes of records written at once.
const WRITE_BYTES: usize = 160 * 1024;

/// Reads of one pipe before the others have their turn.
const READS_PER_TURN: usize = 4;

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

/// One source of output.
#[derive(Debug)]
struct Source {
    file: OwnedFd,
    stream: LogStream,
    lines: Lines,
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
    pub(super) fn open(&mut self, index: SourceIndex, file: OwnedFd) {
        let stream = match index {
            SourceIndex::First => LogStream::Output,
            SourceIndex::Second => LogStream::Error,
        };
        self.sources[index as usize] = Some(Source {
            file,
            stream,
            lines: Lines::default(),
        });
    }

    pub(super) fn descriptor(&self, index: SourceIndex) -> Option<BorrowedFd<'_>> {
        self.sources[index as usize]
            .as_ref()
            .map(|source| source.file.as_fd())
    }

    /// Every source has ended.
    pub(super) fn is_drained(&self) -> bool {
        self.sources.iter().all(Option::is_none)
    }

    /// Moves what a source has, up to a fair share.
    pub(super) fn pump(&mut self, index: SourceIndex, buffers: &mut Buffers) -> Flow {
        let Self {
            sources,
            log,
            clients,
        } = self;
        let Some(source) = &mut sources[index as usize] else {
            return Flow::Ended;
        };
        for _ in 0..READS_PER_TURN {
            match source.read(log, clients, buffers) {
                Ok(Some(length)) if length == READ_BYTES => {}
                // Less than asked for: the source is empty, or epoll says so again.
                Ok(_) => return Flow::Open,
                Err(_) => {
                    source.finish(log, buffers);
                    sources[index as usize] = None;
                    clients.end(index);
                    return Flow::Ended;
                }
            }
        }
        Flow::Open
    }

    /// Moves what is there and closes every source, whoever still holds the other end.
    pub(super) fn finish(&mut self, buffers: &mut Buffers) {
        for index in [SourceIndex::First, SourceIndex::Second] {
            // A writer that never stops must not keep an exit from being reported.
            for _ in 0..READS_PER_TURN {
                if self.pump(index, buffers) == Flow::Ended {
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
    /// Moves one read's worth. `None` when nothing is there.
    fn read(
        &mut self,
        log: &mut LogFile,
        clients: &mut Clients,
        buffers: &mut Buffers,
    ) -> nix::Result<Option<usize>> {
        let (input, output) = buffers.get()?;
        let length = match descriptor::read(self.file.as_fd(), input.as_mut_slice()) {
            Err(Errno::EAGAIN) => return Ok(None),
            // The end of a pipe; a terminal says EIO.
            Ok(0) => return Err(Errno::EIO),
            other => other?,
        };
        let mut append = |records: &[u8]| log.append(records);
        let prefix = Prefix::new(unix_nanos(), self.stream);
        let mut records = Records::new(output.as_mut_slice(), prefix, &mut append);
        self.lines.feed(&input.as_slice()[..length], &mut records);
        records.flush();
        clients.copy(self.stream, &input.as_slice()[..length]);
        if length > SMALL_READ {
            buffers.used = Some(Instant::now());
        }
        Ok(Some(length))
    }

    fn finish(&mut self, log: &mut LogFile, buffers: &mut Buffers) {
        // Without memory for the buffers the last incomplete line is lost, as every one before it.
        let Ok((_, output)) = buffers.get() else {
            return;
        };
        let mut append = |records: &[u8]| log.append(records);
        let prefix = Prefix::new(unix_nanos(), self.stream);
        let mut records = Records::new(output.as_mut_slice(), prefix, &mut append);
        self.lines.finish(&mut records);
        records.flush();
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
