//! The errors of `ns`, `tree` and `why`.

use super::procfs::ProcError;
use super::view::{ProcessMismatch, ViewError};
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out::PrintError;

/// Why something cannot be shown of a pod's processes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelViewError {
    /// The pod or the container cannot be looked at.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file of the kernel cannot be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// The picture or graph was asked for without a pod to draw.
    #[error("-o {0} draws the pods that you name; give at least one")]
    NeedsPod(&'static str),
    /// The result cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl From<ProcessMismatch> for KernelViewError {
    fn from(mismatch: ProcessMismatch) -> Self {
        Self::View(mismatch.into())
    }
}

impl VerbError for KernelViewError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::View(_) | Self::Proc(_) | Self::NeedsPod(_) | Self::Print(_) => {
                FailureKind::Failed
            }
        }
    }
}
