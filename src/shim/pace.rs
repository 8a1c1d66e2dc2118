//! When a pipe of output is read next.
//!
//! A program that writes every line by itself would wake its reader for every line: both then spend more time in
//! the scheduler than with the line. So the pipe of a program that keeps writing leaves the epoll set and is read
//! after a rest, as long as each rest brings something. The first lines after a quiet time are read at once, and
//! so are those of a program that pauses between them.

use std::time::{Duration, Instant};

/// Reads that follow each other within this time are of a program that keeps writing.
const BURST_GAP: Duration = Duration::from_millis(1);

/// Reads of fewer bytes cost more than what they bring.
const SMALL_READ_BYTES: usize = 16 * 1024;

/// After so many of them in a row, reading waits for more to come.
const SMALL_READS_LIMIT: u8 = 8;

/// How long a pipe collects output before it is read again. No line waits longer.
const COLLECT_INTERVAL: Duration = Duration::from_millis(1);

/// The times at which one source is read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When it was last found to have output.
    last: Option<Instant>,
    /// How many reads have followed each other closely.
    small_reads: u8,
    /// When it is read next; `None` when epoll says so.
    due: Option<Instant>,
}

impl Pace {
    /// When the source is read next; `None` when epoll says so.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// When the source was last found to have output.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Whether the source had output within the time before `now`.
    pub(super) fn spoke_within(&self, time: Duration, now: Instant) -> bool {
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) < time)
    }

    /// `length` bytes were read because epoll said so. Returns whether a rest is worth it.
    pub(super) fn note_event(&mut self, length: usize, now: Instant) -> bool {
        self.small_reads = if length < SMALL_READ_BYTES && self.spoke_within(BURST_GAP, now) {
            self.small_reads.saturating_add(1)
        } else {
            0
        };
        self.last = Some(now);
        self.small_reads >= SMALL_READS_LIMIT
    }

    /// Lets the pipe collect.
    pub(super) fn rest(&mut self, now: Instant) {
        self.due = Some(now + COLLECT_INTERVAL);
    }

    /// After a rest, `length` bytes were found in a pipe for `capacity` bytes.
    pub(super) fn note_rest(&mut self, length: usize, capacity: usize, now: Instant) {
        if length > 0 {
            self.last = Some(now);
        }
        // The writer of a pipe that is nearly full must not wait for the end of a rest.
        if length == 0 || length >= capacity / 4 * 3 {
            self.wake();
        } else {
            self.rest(now);
        }
    }

    /// Leaves it to epoll again.
    pub(super) fn wake(&mut self) {
        self.due = None;
        self.small_reads = 0;
    }
}
