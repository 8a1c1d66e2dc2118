//! Where a file has data, and where holes, which read as zeros and are not stored (lseek(2)).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// The parts of an open file of `size` bytes that have data, in order. A file that stores all of itself is one
/// part, and an empty one none. The file's offset is moved.
///
/// # Errors
/// The errors of fstat(2) and lseek(2).
pub fn data(file: &File, size: u64) -> io::Result<Vec<Range<u64>>> {
    if file.metadata()?.blocks() * 512 >= size {
        return Ok((size > 0).then_some(0..size).into_iter().collect());
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = libc::off_t::try_from(at).map_err(io::Error::other)?;
        let start = match lseek(file, offset, Whence::SeekData) {
            Ok(start) => start,
            // No data follows.
            Err(Errno::ENXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = lseek(file, start, Whence::SeekHole)?
            .cast_unsigned()
            .min(size);
        let part = start.cast_unsigned()..end;
        at = end;
        if part.is_empty() {
            break;
        }
        parts.push(part);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn parts_cover_the_data_and_leave_out_the_holes() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(data(&file, 0).unwrap(), []);
        file.set_len(3 << 20).unwrap();
        assert_eq!(data(&file, 3 << 20).unwrap(), []);
        file.write_all_at(b"x", 1 << 20).unwrap();
        let parts = data(&file, 3 << 20).unwrap();
        assert!(
            parts.iter().any(|part| part.contains(&(1 << 20))),
            "{parts:?}"
        );
        let length: u64 = parts.iter().map(|part| part.end - part.start).sum();
        assert!(length < 1 << 20, "{parts:?}");
        let whole = tempfile::tempfile().unwrap();
        whole.write_all_at(&[1; 5000], 0).unwrap();
        let parts = data(&whole, 5000).unwrap();
        assert_eq!((parts.len(), &parts[0]), (1, &(0..5000)));
    }
}
