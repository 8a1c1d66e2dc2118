//! Container logs in the CRI format: `TIME STREAM TAG TEXT`.

use std::fs;
use std::path::Path;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, as written: RFC 3339 with nanoseconds.
    pub time: String,
    /// The stream it came from: `stdout` or `stderr`.
    pub stream: String,
    /// Whether the container's line goes on in the next entry.
    pub partial: bool,
    /// What the container wrote, without the line break.
    pub text: Vec<u8>,
}

/// Reads a log and fails on anything that is not in the format.
#[track_caller]
pub fn read(path: &Path) -> Vec<Line> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    parse(&bytes)
}

/// Takes a log apart.
#[track_caller]
pub fn parse(bytes: &[u8]) -> Vec<Line> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let Some(body) = bytes.strip_suffix(b"\n") else {
        let tail = &bytes[bytes.len().saturating_sub(80)..];
        panic!(
            "the log ends inside a line: {:?}",
            String::from_utf8_lossy(tail)
        );
    };
    body.split(|byte| *byte == b'\n').map(line).collect()
}

#[track_caller]
fn line(bytes: &[u8]) -> Line {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    let mut parts = bytes.splitn(4, |byte| *byte == b' ');
    let mut text = || {
        let part = parts
            .next()
            .unwrap_or_else(|| panic!("not a CRI log line: {:?}", shown()));
        String::from_utf8_lossy(part).into_owned()
    };
    let (time, stream, tag) = (text(), text(), text());
    let rest = parts
        .next()
        .unwrap_or_else(|| panic!("not a CRI log line: {:?}", shown()));
    assert!(
        is_time(&time),
        "{time:?} is no RFC 3339 time with nanoseconds: {:?}",
        shown()
    );
    assert!(
        matches!(stream.as_str(), "stdout" | "stderr"),
        "stream {stream:?}: {:?}",
        shown()
    );
    assert!(
        matches!(tag.as_str(), "F" | "P"),
        "tag {tag:?}: {:?}",
        shown()
    );
    Line {
        time,
        stream,
        partial: tag == "P",
        text: rest.to_vec(),
    }
}

/// 2026-11-21T20:25:00.123456789Z, or with an offset instead of the Z.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some(zone) = shape.strip_prefix("0000-00-00T00:00:00.000000000") else {
        return false;
    };
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

/// What the container wrote to one stream, put together again.
pub fn written(lines: &[Line], stream: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.iter().filter(|line| line.stream == stream) {
        out.extend_from_slice(&line.text);
        if !line.partial {
            out.push(b'\n');
        }
    }
    out
}
