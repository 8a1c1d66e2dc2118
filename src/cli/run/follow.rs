//! The logs of all containers of a pod, as they grow.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::keeper::Index;
use super::report::Names;
use crate::cli::logs::parse;
use crate::cli::out::style;

/// What is read of one log at a time, in bytes.
const CHUNK: u64 = 256 << 10;
/// The longest line that is waited for, in bytes: the daemon writes none that is longer.
const LONGEST: usize = 64 << 10;

/// A log that is followed.
#[derive(Debug)]
struct Log {
    container: Index,
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    pending: Vec<u8>,
    /// No more is written: it is dropped once it has been read.
    ended: bool,
}

/// The logs of a pod.
#[derive(Debug)]
pub(super) struct Logs {
    directory: PathBuf,
    names: Names,
    logs: Vec<Log>,
    /// Length of the longest name.
    width: usize,
}

impl Logs {
    /// Of a pod whose logs are in this directory.
    pub fn new(directory: PathBuf, names: Names) -> Self {
        Self {
            directory,
            width: names.width(),
            names,
            logs: Vec::new(),
        }
    }

    /// Follows the log of an attempt from its beginning. What came before is read to its end.
    pub fn follow(&mut self, container: Index, attempt: u32) {
        for log in self
            .logs
            .iter_mut()
            .filter(|log| log.container == container)
        {
            log.ended = true;
        }
        let name = self.names.get(container);
        self.logs.push(Log {
            container,
            path: self.directory.join(name).join(format!("{attempt}.log")),
            file: None,
            pending: Vec::new(),
            ended: false,
        });
    }

    /// The lines that have come, each behind the name of its container.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for log in &mut self.logs {
            let name = self.names.get(log.container);
            let head = format!("{name:width$} |", width = self.width);
            let head = style::paint(self.names.style(log.container), head);
            // A log that cannot be read is as one that is empty: the pod goes on without it.
            let _ = log.read(|text| lines.push(format!("{head} {text}")));
        }
        self.logs.retain(|log| !log.ended);
        lines
    }
}

impl Log {
    fn read(&mut self, mut line: impl FnMut(&str)) -> io::Result<()> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                file => Some(file?),
            };
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        loop {
            let read = file.by_ref().take(CHUNK).read_to_end(&mut self.pending)?;
            let mut rest = self.pending.as_slice();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (whole, more) = rest.split_at(end + 1);
                if let Some(parsed) = parse(whole) {
                    line(&String::from_utf8_lossy(parsed.content));
                }
                rest = more;
            }
            let kept = if rest.len() > LONGEST { 0 } else { rest.len() };
            self.pending.drain(..self.pending.len() - kept);
            if read == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes files of its own")]
mod tests {
    use super::Log;
    use std::io::Write;

    #[test]
    fn lines_are_shown_once_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log {
            container: 0,
            path: path.clone(),
            file: None,
            pending: Vec::new(),
            ended: false,
        };
        let mut seen = Vec::new();
        log.read(|line| seen.push(line.to_owned())).unwrap();
        let time = "2026-01-02T03:04:05.6Z";
        std::fs::write(&path, format!("{time} stdout F one\n{time} stderr F t")).unwrap();
        log.read(|line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one"]);
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"wo\n").unwrap();
        log.read(|line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two"]);
    }
}
