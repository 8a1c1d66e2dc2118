//! Errors of the store.

use crate::image::LayerName;
use crate::index::LoadError;
use crate::overlay::ViewError;
use holdfast_disk::{DirError, FileNameError, RecordError};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A directory or file of the store could not be used.
    #[error("cannot {operation} in the image store")]
    Directory {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The error of the disk.
        #[source]
        source: DirError,
    },
    /// The index could not be read or replaced.
    #[error("cannot use the index of the image store")]
    Index(#[from] RecordError),
    /// A layer that was to be used is gone.
    #[error("layer {0} is gone from the image store: pull the image again")]
    LayerGone(LayerName),
    /// A file of an image could not be read.
    #[error("cannot look into the image")]
    View(#[from] ViewError),
    /// A document of an image that was to be kept is unusable.
    #[error("cannot keep the image")]
    Document(#[from] LoadError),
    /// The daemon is shutting down.
    #[error("the image store was interrupted: the daemon is shutting down")]
    Interrupted,
    /// A name within the store; they are all made here and fit.
    #[error("cannot name a file in the image store")]
    Name(#[from] FileNameError),
}

impl StoreError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Directory { source, .. } => source.is_no_space(),
            Self::Index(source) => source.is_no_space(),
            Self::View(source) => source.is_no_space(),
            Self::LayerGone(_) | Self::Document(_) | Self::Interrupted | Self::Name(_) => false,
        }
    }

    /// Returns a function that adds the operation to an error of a directory.
    pub(crate) fn directory(operation: &'static str) -> impl Fn(DirError) -> Self {
        move |source| Self::Directory { operation, source }
    }
}
