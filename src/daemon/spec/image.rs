//! Images as requests name them, and the defaults that an image has for its containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The part of an OCI image configuration that shapes a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageDefaults {
    /// `user`, `uid`, `user:group`, `uid:gid`, … or empty.
    pub user: String,
    /// Environment, with `NAME=value` in each entry.
    pub env: Vec<String>,
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

/// The image reference of a request, echoed in statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageSpec {
    /// Reference of the image, usually its id.
    pub image: String,
    /// The reference as the user wrote it.
    pub user_specified_image: String,
    /// Runtime handler for which the image was pulled.
    pub runtime_handler: String,
    pub annotations: BTreeMap<String, String>,
}
