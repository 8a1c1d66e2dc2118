//! Files with holes in the PAX forms of GNU tar (its manual, "Storing Sparse Files").
//!
//! Form 1.0 has the map of the data in front of the data, 0.1 in one header, 0.0 in a pair of headers for
//! each part. The old GNU form is the tar crate's business.

use super::{Path, UnpackError};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The most parts of one file.
const PARTS_MAX: usize = 1 << 20;
/// The map of form 1.0 is padded to blocks of this size, in bytes.
const BLOCK: usize = 512;
/// The prefix of the headers.
const PREFIX: &[u8] = b"GNU.sparse.";

/// What the headers of a sparse file say.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Its name; the entry's own is a stand-in for programs that know no sparse files.
    pub name: Option<Vec<u8>>,
    /// With its holes, in bytes.
    pub size: u64,
    /// Offset and length of each part in turn, where the headers say them.
    numbers: Option<Vec<u64>>,
}

impl Sparse {
    /// Reads the headers; `None` when the file is an ordinary one.
    pub fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Option<Self>, UnpackError> {
        let mut sparse = Self::default();
        let (mut found, mut major) = (false, 0);
        let extensions = entry.pax_extensions().map_err(UnpackError::Read)?;
        for extension in extensions.into_iter().flatten() {
            let extension = extension.map_err(UnpackError::Read)?;
            let Some(key) = extension.key_bytes().strip_prefix(PREFIX) else {
                continue;
            };
            found = true;
            let value = extension.value_bytes();
            match key {
                b"major" => major = number(value)?,
                b"name" => sparse.name = Some(value.to_vec()),
                b"realsize" | b"size" => sparse.size = number(value)?,
                b"offset" | b"numbytes" => sparse.push(number(value)?)?,
                b"map" => {
                    for text in value.split(|b| *b == b',') {
                        sparse.push(number(text)?)?;
                    }
                }
                _ => {}
            }
        }
        if major > 1 {
            return Err(unreadable());
        }
        if major == 0 {
            // A file that is one hole has no parts to tell of.
            sparse.numbers.get_or_insert_default();
        }
        Ok(found.then_some(sparse))
    }

    fn push(&mut self, number: u64) -> Result<(), UnpackError> {
        let numbers = self.numbers.get_or_insert_default();
        numbers.push(number);
        if numbers.len() > 2 * PARTS_MAX {
            return Err(unreadable());
        }
        Ok(())
    }

    /// Writes the parts to where they belong in an empty file.
    pub fn write(
        self,
        entry: &mut impl Read,
        file: &mut File,
        path: &Path,
    ) -> Result<(), UnpackError> {
        let failed = path.io_error("write");
        let numbers = match self.numbers {
            Some(numbers) => numbers,
            None => read_map(entry)?,
        };
        let (parts, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(unreadable());
        }
        let mut after = 0;
        for [offset, length] in parts {
            let end = offset.checked_add(*length).filter(|end| *end <= self.size);
            // Parts in order, which no map can use to have content written twice.
            let end = end.filter(|_| *offset >= after).ok_or_else(unreadable)?;
            file.seek(SeekFrom::Start(*offset)).map_err(&failed)?;
            let copied = io::copy(&mut entry.by_ref().take(*length), file).map_err(&failed)?;
            if copied != *length {
                return Err(UnpackError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            after = end;
        }
        file.set_len(self.size).map_err(&failed)
    }
}

/// Reads the map of form 1.0: decimal numbers, one a line, the first being the number of parts.
fn read_map(entry: &mut impl Read) -> Result<Vec<u64>, UnpackError> {
    let mut numbers = Vec::new();
    let mut wanted: Option<usize> = None;
    let mut line: Vec<u8> = Vec::new();
    let mut block = [0; BLOCK];
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        entry.read_exact(&mut block).map_err(UnpackError::Read)?;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(unreadable());
                }
                continue;
            }
            let value = number(&line)?;
            line.clear();
            match wanted {
                None => {
                    let parts = usize::try_from(value).ok().filter(|n| *n <= PARTS_MAX);
                    wanted = Some(2 * parts.ok_or_else(unreadable)?);
                }
                Some(_) => numbers.push(value),
            }
            if wanted == Some(numbers.len()) {
                return Ok(numbers);
            }
        }
    }
    Ok(numbers)
}

fn number(text: &[u8]) -> Result<u64, UnpackError> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(unreadable)
}

fn unreadable() -> UnpackError {
    let text = "the map of a sparse file is unusable";
    UnpackError::Read(io::Error::new(io::ErrorKind::InvalidData, text))
}
