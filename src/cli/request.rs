//! The errors of a verb that sends one request to the daemon and prints the answer.

use super::exit::FailureKind;
use super::failure::VerbError;
use super::out::PrintError;
use super::refusal::Refusal;
use super::select::SelectError;

/// Why a verb that asks the daemon and prints the answer failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// A name does not mean exactly one object.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl VerbError for RequestError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Select(_) | Self::Refused(_) | Self::Print(_) => FailureKind::Failed,
        }
    }
}
