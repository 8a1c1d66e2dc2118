//! Files with holes, in the four forms of GNU tar (its manual, "Storing Sparse Files").
//!
//! The old form has the map of the data in the header and in further ones behind it. Of the PAX forms 1.0 has
//! it in front of the data, 0.1 in one record, 0.0 in a pair of records for each part.

use super::archive::{Archive, BLOCK, fill, number};
use super::error::UnpackError;
use super::pax::Records;
use std::io::Read;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

/// The most parts of one file.
const PARTS_MAX: usize = 1 << 20;
/// The prefix of the records.
const PREFIX: &[u8] = b"GNU.sparse.";
/// The description of every fault of a map.
const UNUSABLE: &str = "the map of a sparse file is unusable";

/// The map of a file with holes: where its content belongs.
#[derive(Debug)]
pub(super) struct Sparse {
    /// With its holes, in bytes.
    pub size: u64,
    /// The offset and the length of each part in turn.
    numbers: Vec<u64>,
}

impl Sparse {
    /// Reads the map of the old form.
    pub(super) fn of_header<R: Read>(
        header: &Header,
        archive: &mut Archive<R>,
    ) -> Result<Self, UnpackError> {
        let Some(gnu) = header.as_gnu() else {
            // The format of star has the kind too, with another map.
            return Err(archive.malformed("a sparse file has no GNU header"));
        };
        let mut numbers = Vec::new();
        let mut add = |parts: &[GnuSparseHeader]| {
            // The list ends with an entry that is not filled in.
            for part in parts.iter().take_while(|part| part.offset[0] != 0) {
                for field in [&part.offset, &part.numbytes] {
                    numbers.push(u64::try_from(number(field)?).ok()?);
                }
            }
            Some(())
        };
        let mut usable = add(&gnu.sparse);
        let mut more = gnu.is_extended();
        while more {
            let mut further = GnuExtSparseHeader::new();
            let mut block = [0; BLOCK];
            archive.further_block(&mut block)?;
            further.as_mut_bytes().copy_from_slice(&block);
            usable = usable.and_then(|()| add(&further.sparse));
            more = further.is_extended();
        }
        let size = number(&gnu.realsize).and_then(|size| u64::try_from(size).ok());
        match usable.and(size) {
            Some(size) => Ok(Self { size, numbers }),
            None => Err(archive.malformed(UNUSABLE)),
        }
    }

    /// Reads the records of the PAX forms, and the map in front of the content; `None` when the file is an
    /// ordinary one.
    pub(super) fn of_records<R: Read>(
        records: &Records,
        archive: &mut Archive<R>,
    ) -> Result<Option<Self>, UnpackError> {
        let mut found = false;
        let (mut size, mut major, mut map) = (None, 0, Vec::new());
        for (key, value) in records.iter() {
            let Some(key) = key.strip_prefix(PREFIX) else {
                continue;
            };
            found = true;
            let decimal = || decimal(value).ok_or_else(|| archive.malformed(UNUSABLE));
            match key {
                b"major" => major = decimal()?,
                b"realsize" | b"size" => size = Some(decimal()?),
                b"offset" | b"numbytes" => map.push(decimal()?),
                b"map" if !value.is_empty() => {
                    let parts = value.split(|byte| *byte == b',').map(self::decimal);
                    let parts: Option<Vec<_>> = parts.collect();
                    map = parts.ok_or_else(|| archive.malformed(UNUSABLE))?;
                }
                _ => {}
            }
        }
        if !found {
            return Ok(None);
        }
        let numbers = match major {
            0 => map,
            1 => read_map(archive)?,
            _ => return Err(archive.malformed("a sparse file has a map of an unknown version")),
        };
        match size {
            Some(size) => Ok(Some(Self { size, numbers })),
            None => Err(archive.malformed("a sparse file does not say how large it is")),
        }
    }

    /// Offset and length of each part: in order, so that no map can have content written twice, and within the
    /// file.
    pub(super) fn parts<R: Read>(&self, archive: &Archive<R>) -> Result<&[[u64; 2]], UnpackError> {
        let (parts, rest) = self.numbers.as_chunks::<2>();
        let mut after = 0;
        let in_order = parts.iter().all(|[offset, length]| {
            let end = offset.checked_add(*length).filter(|end| *end <= self.size);
            let fits = *offset >= after && end.is_some();
            after = end.unwrap_or(after);
            fits
        });
        match in_order && rest.is_empty() {
            true => Ok(parts),
            false => Err(archive.malformed(UNUSABLE)),
        }
    }
}

/// Reads the map of form 1.0: decimal numbers, one a line, the first being the number of parts, padded to
/// whole blocks.
fn read_map<R: Read>(archive: &mut Archive<R>) -> Result<Vec<u64>, UnpackError> {
    let mut numbers = Vec::new();
    let mut wanted: Option<usize> = None;
    let mut line: Vec<u8> = Vec::new();
    let mut block = [0; BLOCK];
    while wanted.is_none_or(|wanted| numbers.len() < wanted) {
        if fill(archive, &mut block).map_err(UnpackError::Read)? < BLOCK {
            return Err(archive.malformed("the map of a sparse file ends early"));
        }
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err(archive.malformed(UNUSABLE));
                }
                continue;
            }
            let value = decimal(&line).ok_or_else(|| archive.malformed(UNUSABLE))?;
            line.clear();
            match wanted {
                None => {
                    let parts = usize::try_from(value).ok().filter(|n| *n <= PARTS_MAX);
                    let parts = parts.ok_or_else(|| archive.malformed(UNUSABLE))?;
                    wanted = Some(2 * parts);
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

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
