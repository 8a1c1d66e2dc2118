//! The logs of all containers of a pod, as they grow.

use std::io;
use std::path::PathBuf;

use super::keeper::Index;
use super::report::Names;
use crate::logs::{Line, LogFile};
use crate::out::style;

/// A log that is followed.
#[derive(Debug)]
struct Log {
    container: Index,
    path: PathBuf,
    file: Option<LogFile>,
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
    /// Follows the logs of a pod in this directory.
    pub(super) fn new(directory: PathBuf, names: Names) -> Self {
        Self {
            directory,
            width: names.width(),
            names,
            logs: Vec::new(),
        }
    }

    /// Follows the log of an attempt from its beginning. What came before is read to its end.
    pub(super) fn follow(&mut self, container: Index, attempt: u32) {
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
            ended: false,
        });
    }

    /// The lines that have come, each behind the name of its container.
    pub(super) fn lines(&mut self) -> Vec<String> {
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
            self.file = match LogFile::open(&self.path, None) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                file => Some(file?),
            };
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        while let Some(record) = file.next()? {
            if let Some(parsed) = Line::parse(record) {
                line(&String::from_utf8_lossy(parsed.content()));
            }
        }
        Ok(())
    }
}
