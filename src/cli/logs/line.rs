//! One record of a log: `TIME STREAM TAG CONTENT`. The tag P says that the line goes on in the next record of its
//! stream.

use clap::ValueEnum;

use crate::out::time;

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
    /// Time of the record, as it is written.
    pub time: Vec<u8>,
    /// Time of the record in Unix nanoseconds; 0 when it cannot be parsed.
    pub nanos: i64,
    /// The stream that the container wrote to.
    pub stream: Stream,
    /// Whether the line goes on in the next record of the same stream.
    pub partial: bool,
    /// The output of the container, without the end of the line.
    pub content: Vec<u8>,
}

impl Line {
    /// Parses a record; None for a line that is not a record.
    pub(crate) fn parse(record: &[u8]) -> Option<Self> {
        let record = record.strip_suffix(b"\n")?;
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        let stream = match stream {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let text = str::from_utf8(time).ok();
        Some(Self {
            time: time.to_vec(),
            nanos: text.and_then(time::parse).unwrap_or_default(),
            stream,
            // Tags after a colon are reserved by the format.
            partial: tag == b"P" || tag.starts_with(b"P:"),
            content: parts.next().unwrap_or_default().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Stream};

    #[test]
    fn records_of_the_cri_format() {
        let line = Line::parse(b"2026-01-02T03:04:05.6Z stdout F a b  c\n").unwrap();
        assert_eq!(
            (line.stream, line.partial, line.content.as_slice()),
            (Stream::Stdout, false, &b"a b  c"[..])
        );
        assert_eq!(line.nanos, 1_767_323_045_600_000_000);
        let line = Line::parse(b"2026-01-02T03:04:05.6Z stderr P \n").unwrap();
        assert!(line.partial && line.stream == Stream::Stderr && line.content.is_empty());
        assert!(Line::parse(b"2026 stdout P:x y\n").unwrap().partial);
        for record in [
            &b"garbage\n"[..],
            b"2026 stdout F unfinished",
            b"2026 stdlog F x\n",
            b"",
        ] {
            assert_eq!(Line::parse(record), None);
        }
    }
}
