//! What can go wrong while a plugin is served.

use std::io;
use std::path::PathBuf;

use crate::netlink::NetlinkError;

/// A failed step of a plugin that is served here.
#[derive(Debug, thiserror::Error)]
pub(super) enum NativeError {
    /// The kernel refused a change of a network.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A file or a namespace could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// The operation, as a verb.
        operation: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The machine is not as the configuration wants it.
    #[error("{0}")]
    State(String),
}

impl NativeError {
    /// For `map_err`: what failed on which file.
    pub(super) fn file<E: Into<io::Error>>(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> NativeError {
        let path = path.into();
        move |source| NativeError::File {
            operation,
            path,
            source: source.into(),
        }
    }
}
