//! A log file, followed across rotations.
//!
//! The kubelet renames the file and then asks the runtime to open it anew; until that is done, the container goes
//! on writing into the renamed one. As soon as the new file has something, the old one gets nothing more: then it
//! is read to its end for the last time.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::tail;

/// Longest record, in bytes; the CRI format breaks lines at 16 KiB.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// An open log file and the place in it.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// Device and inode number of the open file.
    identity: (u64, u64),
    /// The beginning of a record that is not complete.
    pending: Vec<u8>,
}

impl LogFile {
    /// Opens a log at its last so many lines, or at its beginning.
    pub(crate) fn open(path: &Path, last: Option<u64>) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let start = match last {
            Some(lines) => tail::offset(&mut file, lines)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(file),
            identity: (metadata.dev(), metadata.ino()),
            pending: Vec::new(),
        })
    }

    /// The next record that is complete, with the end of its line. None when there is no more for now.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(record) = self.read()? {
                return Ok(Some(record));
            }
            if !self.is_replaced() {
                return Ok(None);
            }
            // Only now: what was written before the replacement got its first byte is there.
            if let Some(record) = self.read()? {
                return Ok(Some(record));
            }
            match Self::open(&self.path, None) {
                Ok(next) => *self = next,
                // Renamed again at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = MAX_RECORD_BYTES.saturating_sub(self.pending.len());
        let mut part = self.reader.by_ref().take(room as u64);
        part.read_until(b'\n', &mut self.pending)?;
        let complete = self.pending.ends_with(b"\n") || self.pending.len() >= MAX_RECORD_BYTES;
        Ok(complete.then(|| std::mem::take(&mut self.pending)))
    }

    /// Another file has this one's name, and the container writes into it.
    fn is_replaced(&self) -> bool {
        let now = fs::metadata(&self.path);
        now.is_ok_and(|now| (now.dev(), now.ino()) != self.identity && now.len() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, rename};
    use std::io::Write;

    use super::LogFile;

    fn all(log: &mut LogFile) -> String {
        let mut text = Vec::new();
        while let Some(record) = log.next().unwrap() {
            text.extend(record);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_rotation_loses_nothing_and_doubles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut old = File::create(&path).unwrap();
        writeln!(old, "one").unwrap();
        let mut log = LogFile::open(&path, None).unwrap();
        assert_eq!(all(&mut log), "one\n");
        rename(&path, dir.path().join("0.log.1")).unwrap();
        writeln!(old, "two").unwrap();
        assert_eq!(all(&mut log), "two\n");
        let mut new = File::create(&path).unwrap();
        // Made, but not yet written to: the old one is the log.
        writeln!(old, "three").unwrap();
        assert_eq!(all(&mut log), "three\n");
        write!(old, "four\nfi").unwrap();
        writeln!(old, "ve").unwrap();
        writeln!(new, "six").unwrap();
        assert_eq!(all(&mut log), "four\nfive\nsix\n");
        writeln!(new, "seven").unwrap();
        assert_eq!(all(&mut log), "seven\n");
    }

    #[test]
    fn half_a_record_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut file = File::create(&path).unwrap();
        write!(file, "one\ntw").unwrap();
        let mut log = LogFile::open(&path, Some(2)).unwrap();
        assert_eq!(all(&mut log), "one\n");
        writeln!(file, "o").unwrap();
        assert_eq!(all(&mut log), "two\n");
    }
}
