//! Reads the members of a tar stream as Go's archive/tar does, with which containerd and CRI-O read layers.
//!
//! The tar crate gives the form of a header, but its iterator (0.4.46) is not used. It splits PAX records at
//! newlines, which values of extended attributes may hold; it fills the holes of sparse files; it takes the
//! size of a directory or a link for content; and it keeps headers of any size in memory.

use super::error::UnpackError;
use super::path::to_path;
use super::pax::Records;
use std::io::{self, Read};
use tar::{EntryType, Header};

/// Headers come, and content is padded, in blocks of this size, in bytes.
pub(super) const BLOCK: usize = 512;
/// The most bytes of long names, PAX records and sparse maps before one entry, which are kept in memory.
/// Attributes are at most 64 KiB each on Linux, names 4 KiB; Go takes as much of each kind.
pub(super) const HEADERS_MAX: u64 = 1 << 20;
/// The most bytes of a sum of a header that has one: eight digits in octal, with blanks.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// A tar stream; as a reader it gives the stored content of the member that was read last.
pub(super) struct Archive<R> {
    source: R,
    /// Bytes read so far.
    at: u64,
    /// Content of the present member that is still to come, in bytes.
    content: u64,
    /// Bytes between the end of the content and the next block.
    padding: u64,
    /// Bytes that the headers of one member may still have.
    pub(super) allowance: u64,
    /// The name of the present member, for messages.
    pub(super) last: Vec<u8>,
}

impl<R: Read> Archive<R> {
    /// Reads an archive from `source`.
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            at: 0,
            content: 0,
            padding: 0,
            allowance: 0,
            last: Vec::new(),
        }
    }

    /// Reads the next header, `None` at the end of the archive: the end of the stream, or two blocks of zeros.
    pub(super) fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            let ended = !self.block(&mut block)? || block == [0; BLOCK];
            return match ended {
                true => Ok(None),
                false => Err(self.malformed("a block of zeros is followed by more")),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        // Some old writers add up signed bytes.
        let (mut unsigned, mut signed) = (0, 0);
        for (index, byte) in block.into_iter().enumerate() {
            let byte = if CHECKSUM.contains(&index) {
                b' '
            } else {
                byte
            };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        match number(&block[CHECKSUM]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(Some(header)),
            _ => Err(self.malformed("the checksum of a header is wrong")),
        }
    }

    /// Reads one block; false when the stream ends before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, UnpackError> {
        let mut length = 0;
        while length < BLOCK {
            match self.source.read(&mut block[length..]) {
                Ok(0) if length == 0 => return Ok(false),
                Ok(0) => return Err(self.malformed("it ends within a header")),
                Ok(read) => length += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(UnpackError::Read(e)),
            }
        }
        self.at += BLOCK as u64;
        Ok(true)
    }

    /// Reads a further header of the present member.
    pub(super) fn further_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), UnpackError> {
        self.spend(BLOCK as u64)?;
        match self.block(block)? {
            true => Ok(()),
            false => Err(self.malformed("it ends within a header")),
        }
    }

    /// Takes a part of what headers may be long.
    fn spend(&mut self, length: u64) -> Result<(), UnpackError> {
        let left = self.allowance.checked_sub(length);
        self.allowance =
            left.ok_or_else(|| self.malformed("the headers of one entry are larger than 1 MiB"))?;
        Ok(())
    }

    /// How much content follows a header; it becomes what is to be read.
    pub(super) fn stored(
        &mut self,
        header: &Header,
        record: Option<&[u8]>,
    ) -> Result<u64, UnpackError> {
        let size = match record {
            Some(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
            None => number(&header.as_old().size),
        };
        let size: Option<u64> = size.and_then(|size: i64| size.try_into().ok());
        let size = size.ok_or_else(|| self.malformed("the size of the entry is unusable"))?;
        // These have none, whatever their headers say.
        self.content = match header.entry_type() {
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo => 0,
            _ => size,
        };
        self.padding = self.content.wrapping_neg() % BLOCK as u64;
        Ok(self.content)
    }

    fn read_value(&mut self, header: &Header) -> Result<Vec<u8>, UnpackError> {
        let size = self.stored(header, None)?;
        self.spend(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(UnpackError::Read)?;
        Ok(bytes)
    }

    /// Reads the PAX records that a header announces.
    pub(super) fn records(&mut self, header: &Header) -> Result<Records, UnpackError> {
        let bytes = self.read_value(header)?;
        Records::parse(&bytes).ok_or_else(|| self.malformed("a PAX record is unusable"))
    }

    /// Reads the long name that a header announces.
    pub(super) fn long(&mut self, header: &Header) -> Result<Vec<u8>, UnpackError> {
        let mut name = self.read_value(header)?;
        name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// Skips the rest of the present member.
    pub(super) fn skip(&mut self) -> Result<(), UnpackError> {
        io::copy(&mut *self, &mut io::sink()).map_err(UnpackError::Read)?;
        // The last member's padding may be missing.
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.source.by_ref().take(padding), &mut io::sink());
        self.at += skipped.map_err(UnpackError::Read)?;
        Ok(())
    }

    /// An error of the archive itself, with its place.
    pub(super) fn malformed(&self, what: &str) -> UnpackError {
        let place = match self.last.is_empty() {
            true => "before the first entry".to_owned(),
            false => format!("in or after the entry {:?}", to_path(&self.last)),
        };
        let text = format!("at byte {}, {place}: {what}", self.at);
        UnpackError::Read(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.content).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..length])?;
        if read == 0 {
            let text = format!(
                "it ends at byte {}, within the entry {:?}",
                self.at,
                to_path(&self.last)
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.content -= read as u64;
        self.at += read as u64;
        Ok(read)
    }
}

/// A number of a header: octal digits among blanks and zero bytes, nothing being zero, or, when its first bit is
/// set, a number in two's complement (GNU tar's manual, "Basic Tar Format").
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        let blank = |byte: &u8| matches!(byte, b' ' | 0);
        let from = field.iter().position(|byte| !blank(byte));
        let Some(from) = from else { return Some(0) };
        let digits = &field[from..];
        let end = digits.iter().position(|byte| *byte == 0);
        let text = std::str::from_utf8(&digits[..end.unwrap_or(digits.len())]).ok()?;
        let text = text.trim_end_matches(' ');
        return match text.starts_with(['+', '-']) {
            true => None,
            false => i64::from_str_radix(text, 8).ok(),
        };
    }
    // The bit that marks this form is not a digit; the next one is the sign.
    let start = if first & 0x40 != 0 { -1 } else { 0 };
    let mut bytes = field.to_vec();
    bytes[0] = if start < 0 { first } else { first & 0x7f };
    let sum = bytes.into_iter().try_fold(i128::from(start), |sum, byte| {
        let next = (sum << 8) | i128::from(byte);
        (-(1 << 64)..1 << 64).contains(&next).then_some(next)
    });
    sum?.try_into().ok()
}

/// Reads until the buffer is full or the content ends.
pub(super) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
