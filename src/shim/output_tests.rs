use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::clients::SourceIndex;
use super::output::{Buffers, Flow, Output, QUIET_PIPE};
use super::pace::Pace;
use holdfast_kernel::sys::descriptor;

const MICRO: Duration = Duration::from_micros(1);
const MILLI: Duration = Duration::from_millis(1);

/// After so many reads in a row a source may rest.
const MANY: u32 = 8;

#[test]
fn only_little_reads_in_quick_succession_are_worth_a_rest() {
    let begin = Instant::now();
    for (step, length, worth) in [
        (10 * MICRO, 128, true),
        (2 * MILLI, 128, false),
        (10 * MICRO, 65_536, false),
    ] {
        let mut pace = Pace::default();
        let found = (0..=MANY).map(|number| pace.note_event(length, begin + step * number));
        let found: Vec<bool> = found.collect();
        assert_eq!(found.iter().any(|worth| *worth), worth, "{step:?} {length}");
        assert!(!found[0], "the first lines are never late");
    }
}

#[test]
fn a_rest_ends_when_it_brings_nothing_or_fills_the_pipe() {
    let now = Instant::now();
    for (length, rests) in [(0, false), (1, true), (500, true), (900, false)] {
        let mut pace = Pace::default();
        pace.rest(now);
        pace.note_rest(length, 1000, now + MILLI);
        assert_eq!(pace.due().is_some(), rests, "{length} of 1000 bytes");
        assert!(pace.due().is_none_or(|due| due <= now + 5 * MILLI));
    }
}

/// An output with both pipes, its log, and an epoll set as the loop of the shim has it.
struct Bench {
    output: Output,
    buffers: Buffers,
    poll: Epoll,
    log: std::fs::File,
    writers: [std::fs::File; 2],
}

impl Bench {
    fn new() -> Self {
        let log = tempfile::tempfile().unwrap();
        let mut output = Output::default();
        output.log.replace(log.try_clone().unwrap().into());
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let mut open = |index: SourceIndex| -> std::fs::File {
            let (reader, writer): (OwnedFd, OwnedFd) = descriptor::output_pipe().unwrap();
            let wanted = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            poll.add(reader.as_fd(), wanted).unwrap();
            output.open(index, reader);
            writer.into()
        };
        let writers = [open(SourceIndex::First), open(SourceIndex::Second)];
        let buffers = Buffers::default();
        Self {
            output,
            buffers,
            poll,
            log,
            writers,
        }
    }

    fn watch(&mut self) {
        for index in [SourceIndex::First, SourceIndex::Second] {
            self.output.watch(index, &self.poll, index as u64);
        }
    }

    /// Reads the sources that epoll names.
    fn pump(&mut self) -> usize {
        let mut events = [EpollEvent::empty(); 2];
        let count = self.poll.wait(&mut events, EpollTimeout::ZERO).unwrap();
        for event in &events[..count] {
            let index = if event.data() == 0 {
                SourceIndex::First
            } else {
                SourceIndex::Second
            };
            self.output.pump(index, &mut self.buffers);
        }
        self.watch();
        count
    }

    /// Writes lines one by one, each read at once, until standard output rests.
    fn tire(&mut self) -> usize {
        for count in 1..10_000 {
            self.writers[0].write_all(b"line\n").unwrap();
            self.pump();
            if self.rests() {
                return count;
            }
        }
        panic!("standard output never rests");
    }

    /// A quiet pipe that grew has a deadline as well, a much later one.
    fn rests(&self) -> bool {
        let soon = Instant::now() + 100 * MILLI;
        self.output.next_deadline().is_some_and(|due| due < soon)
    }

    fn log(&self) -> String {
        let mut bytes = vec![0; usize::try_from(self.log.metadata().unwrap().len()).unwrap()];
        self.log.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn lines_of_a_rest_arrive_together_and_none_is_lost() {
    let mut bench = Bench::new();
    let before = bench.tire();
    bench.writers[0].write_all(b"late\n").unwrap();
    assert_eq!(bench.pump(), 0, "a source that rests wakes nobody");
    bench.writers[0].write_all(b"later\n").unwrap();
    let due = bench.output.next_deadline().unwrap();
    bench.output.meet_deadlines(due, &mut bench.buffers);
    assert_eq!(bench.log().lines().count(), before + 2);
    // The next rest brings nothing, so that epoll watches again.
    let due = bench.output.next_deadline().unwrap();
    bench.output.meet_deadlines(due, &mut bench.buffers);
    bench.watch();
    bench.writers[0].write_all(b"at once\n").unwrap();
    assert_eq!(bench.pump(), 1);
    assert!(bench.log().ends_with(" stdout F at once\n"));
}

#[test]
fn what_rests_comes_before_what_the_other_stream_says_then() {
    let mut bench = Bench::new();
    bench.tire();
    bench.writers[0].write_all(b"first\n").unwrap();
    bench.writers[1].write_all(b"second\n").unwrap();
    bench.pump();
    let log = bench.log();
    let last: Vec<&str> = log.lines().rev().take(2).collect();
    assert!(last[0].ends_with(" stderr F second"), "{log}");
    assert!(last[1].ends_with(" stdout F first"), "{log}");
    assert!(!bench.rests(), "both are read as they come");
}

#[test]
fn the_end_of_a_container_ends_the_rest() {
    let mut bench = Bench::new();
    bench.tire();
    bench.writers[0].write_all(b"last words").unwrap();
    bench.output.wake();
    bench.watch();
    let [first, second] = bench.writers;
    drop((first, second));
    let mut buffers = Buffers::default();
    for index in [SourceIndex::First, SourceIndex::Second] {
        while bench.output.pump(index, &mut buffers) == Flow::Open {}
    }
    assert!(bench.output.is_drained());
    let mut bytes = vec![0; usize::try_from(bench.log.metadata().unwrap().len()).unwrap()];
    bench.log.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.ends_with(b" stdout P last words\n"));
}

#[test]
fn a_pipe_grows_for_a_busy_time_and_shrinks_afterwards() {
    let mut bench = Bench::new();
    bench.tire();
    let size = |bench: &Bench| descriptor::pipe_size(bench.writers[0].as_fd()).unwrap();
    assert!(size(&bench) > QUIET_PIPE);
    let due = bench.output.next_deadline().unwrap();
    bench.output.meet_deadlines(due, &mut bench.buffers);
    let quiet = bench.output.next_deadline().unwrap();
    bench.output.meet_deadlines(quiet, &mut bench.buffers);
    assert_eq!(size(&bench), QUIET_PIPE);
    assert_eq!(bench.output.next_deadline(), None);
}
