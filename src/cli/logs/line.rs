//! One record of a log: `TIME STREAM TAG CONTENT`. The tag P says that the line goes on in the next record of its
//! stream.

use std::cell::OnceCell;

use clap::ValueEnum;

use crate::out::time;
use holdfast_kernel::sys::memory::find_byte;

/// The output streams in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    /// Only the standard output.
    Stdout,
    /// Only the standard error.
    Stderr,
}

/// A record of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The stream that the container wrote to.
    pub stream: Stream,
    /// Whether the line goes on in the next record of the same stream.
    pub partial: bool,
    /// The whole record, without the end of the line.
    record: Vec<u8>,
    /// Length of the time at the record's beginning.
    time_length: usize,
    /// Where the output of the container begins in the record.
    content_start: usize,
    nanos: OnceCell<i64>,
}

impl Line {
    /// Parses a record; None for a line that is not a record.
    pub(crate) fn parse(mut record: Vec<u8>) -> Option<Self> {
        if record.pop() != Some(b'\n') {
            return None;
        }
        let time_length = find_byte(&record, b' ')?;
        let (stream, rest) = if record[time_length..].starts_with(b" stdout ") {
            (Stream::Stdout, time_length + b" stdout ".len())
        } else if record[time_length..].starts_with(b" stderr ") {
            (Stream::Stderr, time_length + b" stderr ".len())
        } else {
            return None;
        };
        let tag_length = find_byte(&record[rest..], b' ').unwrap_or(record.len() - rest);
        let tag = &record[rest..rest + tag_length];
        Some(Self {
            stream,
            // Tags after a colon are reserved by the format.
            partial: tag == b"P" || tag.starts_with(b"P:"),
            time_length,
            content_start: record.len().min(rest + tag_length + 1),
            record,
            nanos: OnceCell::new(),
        })
    }

    /// Time of the record, as it is written.
    pub(crate) fn time(&self) -> &[u8] {
        &self.record[..self.time_length]
    }

    /// Time of the record in Unix nanoseconds; 0 when it cannot be parsed.
    pub(crate) fn nanos(&self) -> i64 {
        *self.nanos.get_or_init(|| {
            let text = str::from_utf8(self.time()).ok();
            text.and_then(time::parse).unwrap_or_default()
        })
    }

    /// The output of the container, without the end of the line.
    pub(crate) fn content(&self) -> &[u8] {
        &self.record[self.content_start..]
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Stream};

    fn parse(record: &[u8]) -> Option<Line> {
        Line::parse(record.to_vec())
    }

    #[test]
    fn records_of_the_cri_format() {
        let line = parse(b"2026-01-02T03:04:05.6Z stdout F a b  c\n").unwrap();
        assert_eq!(
            (line.stream, line.partial, line.content()),
            (Stream::Stdout, false, &b"a b  c"[..])
        );
        assert_eq!(line.time(), b"2026-01-02T03:04:05.6Z");
        assert_eq!(line.nanos(), 1_767_323_045_600_000_000);
        let line = parse(b"2026-01-02T03:04:05.6Z stderr P \n").unwrap();
        assert!(line.partial && line.stream == Stream::Stderr && line.content().is_empty());
        assert!(parse(b"2026 stdout P:x y\n").unwrap().partial);
        for record in [
            &b"garbage\n"[..],
            b"2026 stdout F unfinished",
            b"2026 stdlog F x\n",
            b"2026 stdout\n",
            b"",
        ] {
            assert_eq!(parse(record), None);
        }
    }
}
