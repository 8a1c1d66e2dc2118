//! The CRI log format: `2016-10-06T00:17:09.669794202Z stdout F text\n`, one record a line.
//!
//! Lines longer than 16 KiB become several records, all but the last tagged `P`. A last line without a
//! newline is tagged `P` as well, so that the records' contents joined (a newline after each `F`) are the
//! container's output to the byte. This file turns bytes into records; it opens and writes no file.

use holdfast_kernel::sys::memory::find_byte;

/// Most bytes of content in one record, as containerd and the kubelet have it.
pub const MAX_CONTENT: usize = 16 * 1024;

/// Bytes of a time like `2016-10-06T00:17:09.669794202Z`.
const TIME_BYTES: usize = 30;

/// Bytes of a prefix: time, stream and tag with a space after each. The names of the streams have six letters.
const PREFIX_BYTES: usize = TIME_BYTES + 1 + 6 + 1 + 1 + 1;

/// Where the tag is in a prefix.
const TAG: usize = PREFIX_BYTES - 2;

/// Bytes of output room that a record may need.
pub const MAX_RECORD: usize = PREFIX_BYTES + MAX_CONTENT + 1;

/// Which stream a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Output,
    /// Output of standard error.
    Error,
}

/// The beginning of every record of one batch: time, stream, and the tag of a whole line.
#[derive(Debug, Clone, Copy)]
pub struct Prefix([u8; PREFIX_BYTES]);

impl Prefix {
    /// The prefix for a time in nanoseconds since the epoch.
    pub fn new(at_unix_nanos: i64, stream: LogStream) -> Self {
        let mut bytes = [b' '; PREFIX_BYTES];
        bytes[..TIME_BYTES].copy_from_slice(&format_time(at_unix_nanos));
        let name = match stream {
            LogStream::Output => b"stdout",
            LogStream::Error => b"stderr",
        };
        bytes[TIME_BYTES + 1..TIME_BYTES + 1 + name.len()].copy_from_slice(name);
        bytes[TAG] = b'F';
        Self(bytes)
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
    pub fn new(buffer: &'a mut [u8], write: &'a mut dyn FnMut(&[u8])) -> Self {
        Self {
            buffer,
            used: 0,
            prefix: Prefix([b' '; PREFIX_BYTES]),
            write,
        }
    }

    /// Adds a whole line with its newline.
    fn push_line(&mut self, line: &[u8]) {
        if let Some(content) = self.begin(line.len()) {
            content.copy_from_slice(line);
        }
    }

    /// Adds one record whose content is in two parts.
    fn push(&mut self, tag: u8, head: &[u8], content: &[u8]) {
        let length = head.len() + content.len();
        let begin = self.begin(length + 1).map(|room| {
            let (first, rest) = room.split_at_mut(head.len());
            first.copy_from_slice(head);
            rest[..content.len()].copy_from_slice(content);
            rest[content.len()] = b'\n';
        });
        if begin.is_some() {
            self.buffer[self.used - length - 1 - PREFIX_BYTES + TAG] = tag;
        }
    }

    /// Begins a record and returns the room for its content and newline.
    fn begin(&mut self, length: usize) -> Option<&mut [u8]> {
        let need = PREFIX_BYTES + length;
        if self.buffer.len() - self.used < need {
            self.flush();
        }
        let record = self.buffer.get_mut(self.used..self.used + need)?;
        let (prefix, content) = record.split_first_chunk_mut()?;
        *prefix = self.prefix.0;
        self.used += need;
        Some(content)
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
    /// Adds bytes of the stream, whose records start with a prefix.
    pub fn feed(&mut self, mut bytes: &[u8], prefix: Prefix, records: &mut Records<'_>) {
        records.prefix = prefix;
        if !self.pending.is_empty() {
            bytes = self.complete(bytes, records);
        }
        while let Some(end) = find_byte(bytes, b'\n') {
            if end <= MAX_CONTENT {
                records.push_line(&bytes[..=end]);
            } else {
                let last = push_parts(&bytes[..end], records);
                records.push(b'F', b"", last);
            }
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
    pub fn finish(&mut self, prefix: Prefix, records: &mut Records<'_>) {
        records.prefix = prefix;
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
