//! The plan of a pod, made before the first request to the daemon.

use std::path::PathBuf;

use cri_api::runtime::v1 as cri;

use super::probe::Checks;
use crate::run::keeper::Kept;

/// Where directories of pods are made.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// Logs, a directory a pod.
    pub logs: PathBuf,
    /// `emptyDir` volumes, a directory a pod.
    pub volumes: PathBuf,
    /// `emptyDir` volumes in memory, a directory a pod.
    pub memory_volumes: PathBuf,
}

/// Facts about a pod that its manifest cannot know.
#[derive(Debug, Clone)]
pub(crate) struct PodFacts {
    /// The pod's uid when the manifest has none.
    pub uid: String,
    /// Where its directories are.
    pub roots: Roots,
    /// Name of this machine.
    pub node_name: String,
    /// Addresses of the pod; none before it has some.
    pub pod_ips: Vec<String>,
}

/// When containers are started again: `restartPolicy` of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    /// Restart containers however they ended.
    Always,
    /// Restart only containers that failed.
    OnFailure,
    /// Restart nothing, whatever happens.
    Never,
}

/// When to pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// When it is missing.
    IfNotPresent,
    Always,
    /// Never: it has to be there.
    Never,
}

/// An image that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedImage {
    pub reference: String,
    /// When to pull it.
    pub pull: PullPolicy,
}

/// A container to be made.
#[derive(Debug, Clone)]
pub(crate) struct PlannedContainer {
    /// The request's configuration, of attempt 0.
    pub config: cri::ContainerConfig,
    /// When to pull its image.
    pub pull: PullPolicy,
    /// Refuse to run it as root.
    pub non_root: bool,
    /// The facts of the container for the keeper.
    pub kept: Kept,
    /// Name of the container whose pid namespace it joins.
    pub target: Option<String>,
    /// The probes of the container.
    pub checks: Checks,
    /// Command after the start.
    pub post_start: Option<Vec<String>>,
    /// Command before the stop.
    pub pre_stop: Option<Vec<String>>,
}

/// Everything that `holdfast run` asks of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct PodPlan {
    pub sandbox: cri::PodSandboxConfig,
    /// Name of the runtime handler to use.
    pub runtime_handler: String,
    /// The containers, in the order of starting: init containers and sidecars, then the others.
    pub containers: Vec<PlannedContainer>,
    pub images: Vec<PlannedImage>,
    /// Directories and files to make before the pod is run.
    pub needed: Vec<RequiredPath>,
}

/// Something that has to exist before the pod runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequiredPath {
    pub path: PathBuf,
    pub kind: RequiredPathKind,
}

/// The kinds of things that a pod needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequiredPathKind {
    Directory {
        /// Permission bits of a new one.
        mode: u32,
        /// Group of a new one, when it is not the caller's.
        group: Option<u32>,
    },
    /// A file, empty when it is new.
    File,
}

impl RequiredPath {
    /// A directory that everybody may read.
    pub(super) fn plain_directory(path: PathBuf) -> Self {
        Self {
            path,
            kind: RequiredPathKind::Directory {
                mode: 0o755,
                group: None,
            },
        }
    }
}
