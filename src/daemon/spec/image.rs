//! What an image says about how to run it: defaults that a request may override.

use serde::{Deserialize, Serialize};

/// The part of an OCI image configuration that shapes a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageDefaults {
    /// `user`, `uid`, `user:group`, `uid:gid`, … or empty.
    pub user: String,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments, or the whole command without an entry point.
    pub cmd: Vec<String>,
    /// Working directory or empty.
    pub working_dir: String,
    /// Stop signal by name or number, or empty.
    pub stop_signal: String,
    /// Paths that the image declares as volumes.
    pub volumes: Vec<String>,
}
