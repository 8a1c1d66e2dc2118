//! The CRI log format: `2016-10-06T00:17:09.669794202Z stdout F text\n`, one record a line.
//!
//! Lines longer than 16 KiB become several records, all but the last tagged `P`. A last line without a
//! newline is tagged `P` as well, so that the records' contents joined (a newline after each `F`) are the
//! container's output to the byte. This file turns bytes into records; it opens and writes no file.

use holdfast_kernel::sys::memory::find_byte;

/// Most bytes of content in one record, as containerd and the kubelet have it.
pub const MAX_CONTENT: usize = 16 * 1024;

/// Bytes of the longest prefix: time, stream and tag with their spaces.
const MAX_PREFIX: usize = 40;

/// Bytes of output room that a record may need.
pub const MAX_RECORD: usize = MAX_PREFIX + MAX_CONTENT + 1;

/// Bytes of a time like `2016-10-06T00:17:09.669794202Z`.
const TIME_BYTES: usize = 30;

/// Which stream a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Output,
    /// What comes from standard error.
    Error,
}

/// What every record of one batch starts with: time and stream.
#[derive(Debug, Clone, Copy)]
pub struct Prefix {
    bytes: [u8; MAX_PREFIX],
    length: usize,
}

impl Prefix {
    /// The prefix for a time in nanoseconds since the epoch.
    pub fn new(at_unix_nanos: i64, stream: LogStream) -> Self {
        let mut bytes = [b' '; MAX_PREFIX];
        bytes[..TIME_BYTES].copy_from_slice(&format_time(at_unix_nanos));
        let name = match stream {
            LogStream::Output => b"stdout",
            LogStream::Error => b"stderr",
        };
        bytes[TIME_BYTES + 1..TIME_BYTES + 1 + name.len()].copy_from_slice(name);
        bytes[TIME_BYTES + name.len() + 2] = b'F';
        Self {
            bytes,
            length: TIME_BYTES + name.len() + 4,
        }
    }
}

/// Writes a number with leading zeroes.
fn digits(target: &mut [u8], mut number: u64) {
    for slot in target.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// RFC 3339 with nanoseconds, in UTC. Times before the epoch are shown as the epoch.
fn format_time(at_unix_nanos: i64) -> [u8; TIME_BYTES] {
    let nanos = u64::try_from(at_unix_nanos).unwrap_or(0);
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let fields = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, second / 3600),
        (14..16, second / 60 % 60),
        (17..19, second % 60),
        (20..29, nanos),
    ];
    for (range, number) in fields {
        digits(&mut text[range], number);
    }
    text
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Years are counted from March,
/// so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_MARCH_OF_YEAR_0;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_month)
}

/// Records on their way to the log: gathered in a buffer, handed on when it is full.
pub struct Records<'a> {
    buffer: &'a mut [u8],
    used: usize,
    prefix: Prefix,
    write: &'a mut dyn FnMut(&[u8]),
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Records")
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl<'a> Records<'a> {
    /// Gathers records in `buffer`, of at least [`MAX_RECORD`] bytes, and gives whole records to `write`.
    pub fn new(buffer: &'a mut [u8], prefix: Prefix, write: &'a mut dyn FnMut(&[u8])) -> Self {
        Self {
            buffer,
            used: 0,
            prefix,
            write,
        }
    }

    /// Adds one record whose content is in two parts.
    fn push(&mut self, tag: u8, head: &[u8], content: &[u8]) {
        let length = self.prefix.length;
        let need = length + head.len() + content.len() + 1;
        if self.buffer.len() - self.used < need {
            self.flush();
        }
        let Some(room) = self.buffer.get_mut(self.used..self.used + need) else {
            return;
        };
        room[..length].copy_from_slice(&self.prefix.bytes[..length]);
        room[length - 2] = tag;
        room[length..length + head.len()].copy_from_slice(head);
        room[length + head.len()..need - 1].copy_from_slice(content);
        room[need - 1] = b'\n';
        self.used += need;
    }

    /// Hands on what is gathered.
    pub fn flush(&mut self) {
        if self.used > 0 {
            (self.write)(&self.buffer[..self.used]);
            self.used = 0;
        }
    }
}

/// Cuts one stream into lines. Holds the last line's beginning until its end arrives.
#[derive(Debug, Default)]
pub struct Lines {
    /// At most [`MAX_CONTENT`] bytes, without a newline.
    pending: Vec<u8>,
}

impl Lines {
    /// Adds bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8], records: &mut Records<'_>) {
        if !self.pending.is_empty() {
            bytes = self.complete(bytes, records);
        }
        while let Some(end) = find_byte(bytes, b'\n') {
            let last = push_parts(&bytes[..end], records);
            records.push(b'F', b"", last);
            bytes = &bytes[end + 1..];
        }
        self.pending.extend_from_slice(push_parts(bytes, records));
    }

    /// Finishes the pending line as far as `bytes` go and returns the rest of them.
    fn complete<'b>(&mut self, bytes: &'b [u8], records: &mut Records<'_>) -> &'b [u8] {
        let room = MAX_CONTENT - self.pending.len();
        let window = &bytes[..bytes.len().min(room + 1)];
        if let Some(end) = find_byte(window, b'\n') {
            records.push(b'F', &self.pending, &bytes[..end]);
            self.pending = Vec::new();
            return &bytes[end + 1..];
        }
        if bytes.len() <= room {
            self.pending.extend_from_slice(bytes);
            return b"";
        }
        records.push(b'P', &self.pending, &bytes[..room]);
        self.pending = Vec::new();
        &bytes[room..]
    }

    /// The stream has ended: what is pending is a line without a newline.
    pub fn finish(&mut self, records: &mut Records<'_>) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            records.push(b'P', b"", &pending);
        }
    }
}

/// Makes partial records of a line without its newline until at most one record's content is left.
fn push_parts<'b>(mut line: &'b [u8], records: &mut Records<'_>) -> &'b [u8] {
    while line.len() > MAX_CONTENT {
        records.push(b'P', b"", &line[..MAX_CONTENT]);
        line = &line[MAX_CONTENT..];
    }
    line
}
