//! Finds the beginning of the last lines of a file.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes looked at at once.
const BLOCK: u64 = 64 << 10;

/// The offset of the last `lines` lines; that of the end for none.
pub(super) fn offset(file: &mut (impl Read + Seek), lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut block = Vec::new();
    let mut found = 0;
    let mut at = end;
    while at > 0 {
        let from = at.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        file.take(at - from).read_to_end(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let place = from + index as u64;
            // The end of the last line begins none.
            if *byte == b'\n' && place + 1 < end {
                found += 1;
                if found == lines {
                    return Ok(place + 1);
                }
            }
        }
        at = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::offset;

    #[test]
    fn lines_are_counted_from_the_end() {
        let text = "one\ntwo\nthree\n";
        for (lines, expected) in [(0, 14), (1, 8), (2, 4), (3, 0), (9, 0)] {
            assert_eq!(offset(&mut Cursor::new(text), lines).unwrap(), expected);
        }
        // One that is still being written counts.
        assert_eq!(offset(&mut Cursor::new("one\ntw"), 1).unwrap(), 4);
        assert_eq!(offset(&mut Cursor::new(""), 1).unwrap(), 0);
    }

    #[test]
    fn lines_may_be_longer_than_a_block() {
        let text = format!("{}\n{}\nend\n", "a".repeat(70_000), "b".repeat(200_000));
        assert_eq!(offset(&mut Cursor::new(&text), 2).unwrap(), 70_001);
        assert_eq!(offset(&mut Cursor::new(&text), 3).unwrap(), 0);
    }
}
