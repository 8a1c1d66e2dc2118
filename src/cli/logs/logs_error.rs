//! The errors of `holdfast logs`.

use std::io;

use super::source::ReadError;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::refusal::Refusal;
use crate::select::SelectError;

/// Why logs cannot be shown, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    /// A name does not mean exactly one pod or container.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The container writes no log that could be shown.
    #[error(
        "container {0} has no log: its pod has no log directory, or the container has no log path"
    )]
    NoLog(String),
    /// The container was never restarted, or its earlier log was removed.
    #[error("container {0} was not restarted, or its earlier log was removed")]
    NoPrevious(String),
    /// A log file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Standard output or standard error takes nothing.
    #[error("cannot write the logs to standard output")]
    Write(#[source] io::Error),
}

impl VerbError for LogsError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Select(_)
            | Self::Refused(_)
            | Self::NoLog(_)
            | Self::NoPrevious(_)
            | Self::Read(_)
            | Self::Write(_) => FailureKind::Failed,
        }
    }
}

impl LogsError {
    /// Whether only the connection to the daemon is lost, which may be about to be replaced.
    pub(super) fn is_passing(&self) -> bool {
        use tonic::Code::{Cancelled, Unavailable, Unknown};
        match self {
            Self::Refused(refusal) | Self::Select(SelectError::Refused(refusal)) => {
                matches!(refusal.code(), Unavailable | Unknown | Cancelled)
            }
            Self::Select(_)
            | Self::NoLog(_)
            | Self::NoPrevious(_)
            | Self::Read(_)
            | Self::Write(_) => false,
        }
    }
}
