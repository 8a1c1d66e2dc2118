//! Keeping records and files of pods on disk.

use super::ErrorKind;
use crate::pod::record::StateError;
use holdfast_disk::{DirError, FileNameError};
use holdfast_kernel::id::IdError;

/// Why a record, a directory or a name on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// A record cannot be written or read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A name cannot be that of a file.
    #[error(transparent)]
    Name(#[from] FileNameError),
    /// A new id cannot be made.
    #[error("cannot make an identifier")]
    Id(#[from] IdError),
}

impl StorageError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Dir(error) if error.is_no_space() => ErrorKind::ResourceExhausted,
            Self::State(error) if error.is_no_space() => ErrorKind::ResourceExhausted,
            Self::State(_) | Self::Dir(_) | Self::Name(_) | Self::Id(_) => ErrorKind::Internal,
        }
    }
}
