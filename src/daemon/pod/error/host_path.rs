//! Using paths of the host that a request names.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::ErrorKind;

/// Why a path of the host cannot be used as a request asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPathError {
    /// A volume asks for more mount propagation than its mount has.
    #[error(
        "mounts[{mount}].propagation: {} lies on the mount {}, which is not {wanted}; share it with `mount --make-shared {}`, \
         or ask for less propagation",
        path.display(), point.display(), point.display()
    )]
    Propagation {
        /// Index of the volume in the request's mounts.
        mount: usize,
        /// Its path on the host.
        path: PathBuf,
        /// The mount point above it.
        point: PathBuf,
        /// The propagation that the mount would need.
        wanted: &'static str,
    },
    /// A component of a volume's path is a file.
    #[error(
        "mounts[{mount}].host_path: {} cannot be made, because a component of it is no directory; give another path",
        path.display()
    )]
    File {
        /// Index of the volume in the request's mounts.
        mount: usize,
        /// Its path on the host.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file that the request names cannot be read.
    #[error("cannot read {} for {field}", path.display())]
    Read {
        /// The field of the request.
        field: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The log of a container cannot be opened.
    #[error("cannot open the log {}", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file system of a path does not answer.
    #[error("{path} does not answer within {deadline:?}; look for a dead mount")]
    Hangs {
        path: String,
        /// How long Holdfast waited for the path.
        deadline: Duration,
    },
}

impl HostPathError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Propagation { .. } | Self::File { .. } => ErrorKind::FailedPrecondition,
            Self::Read { .. } => ErrorKind::InvalidArgument,
            Self::Log { .. } => ErrorKind::Internal,
            Self::Hangs { .. } => ErrorKind::DeadlineExceeded,
        }
    }
}
