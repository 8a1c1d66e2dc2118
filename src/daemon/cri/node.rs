//! The parts of the daemon that the handlers use, and facts about the node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::pod::Pods;
use crate::stream::Streaming;
use holdfast_image::ImageStore;

/// The name by which kubelets know this runtime: the scheme of `containerID`.
pub(crate) const RUNTIME_NAME: &str = "holdfast";

/// Facts about the daemon and the machine that the services report.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Boot id of the running kernel.
    pub boot_id: String,
    /// The configuration in force as JSON, for verbose replies. It holds no secrets.
    pub config: serde_json::Value,
    /// When the daemon started.
    pub started: Instant,
    /// Directory of the containers' writable layers.
    pub containers_dir: PathBuf,
    /// The kernel has cgroup namespaces.
    pub cgroup_namespaces: bool,
}

/// The handlers' view of the node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) pods: Pods,
    pub(super) images: ImageStore,
    pub(super) streaming: Streaming,
    pub(super) facts: Arc<Facts>,
}
