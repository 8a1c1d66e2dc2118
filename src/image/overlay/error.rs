//! Why a file of an image could not be read.

use std::io;

/// Why a file of an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The kernel refused the operation.
    #[error("cannot read or copy {path:?} of the image")]
    Io {
        /// The path in the image.
        path: String,
        /// The error that the kernel gave.
        #[source]
        source: io::Error,
    },
    /// The file is larger than the caller takes.
    #[error("{path:?} of the image is larger than {limit} bytes; make it smaller in the image")]
    TooLarge {
        /// The path in the image.
        path: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The path leads through too many symbolic links.
    #[error("{path:?} of the image leads through too many symbolic links; mend them in the image")]
    TooManyLinks {
        /// The path in the image.
        path: String,
    },
}

impl ViewError {
    /// Whether the image is at fault, and not the disk.
    pub fn is_of_image(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooManyLinks { .. })
    }

    /// Whether the file system or the quota is full.
    pub(crate) fn is_no_space(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}
