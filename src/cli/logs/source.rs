//! The log of one container, record by record.

use std::io;
use std::path::PathBuf;

use anstyle::Style;

use super::file::LogFile;
use super::line::Line;

/// A log file cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log {}", path.display())]
pub(crate) struct ReadError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The log of one container.
#[derive(Debug)]
pub(super) struct Source {
    /// Name of the container.
    pub name: String,
    /// The colour of the container's name.
    pub style: Style,
    /// Id of the container.
    pub id: String,
    /// Path of the log file.
    pub path: PathBuf,
    /// The open log file.
    pub log: Option<LogFile>,
    /// The record that is shown next.
    pub next: Option<Line>,
    /// The container had ended before the last look at its log.
    pub ended: bool,
}

impl Source {
    /// Reads the next record, unless one waits.
    pub(super) fn fill(&mut self) -> Result<(), ReadError> {
        if self.log.is_none() {
            // A container that has never run has none.
            self.log = self.open(None)?;
        }
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        while self.next.is_none() {
            let next = log.next().map_err(|source| ReadError {
                path: self.path.clone(),
                source,
            });
            match next? {
                Some(record) => self.next = Line::parse(record),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The record that is shown next.
    pub(super) fn peek(&self) -> Option<&Line> {
        self.next.as_ref()
    }

    /// Takes the record that is shown next.
    pub(super) fn take(&mut self) -> Option<Line> {
        self.next.take()
    }

    /// Opens the log at its last so many lines; None when there is no file yet.
    pub(super) fn open(&self, last: Option<u64>) -> Result<Option<LogFile>, ReadError> {
        match LogFile::open(&self.path, last) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ReadError {
                path: self.path.clone(),
                source,
            }),
            Ok(log) => Ok(Some(log)),
        }
    }
}
