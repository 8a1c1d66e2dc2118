//! Facts that all containers of a pod have in common.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use cri_api::runtime::v1 as cri;

use super::planned::{PodFacts, Restarts};
use super::schema::{Manifest, PodSpec};

/// The source of a volume's mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A path of the host.
    Host(PathBuf),
    Image(String),
}

/// Volumes of the pod by name.
pub(super) type Volumes = BTreeMap<String, Source>;

/// The facts that all containers of a pod have in common.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    /// All that was written.
    pub manifest: &'a Manifest,
    pub spec: &'a PodSpec,
    /// Facts that the manifest cannot know.
    pub known: &'a PodFacts,
    /// Name, namespace and uid.
    pub metadata: &'a cri::PodSandboxMetadata,
    /// Namespaces of the pod.
    pub namespaces: cri::NamespaceOption,
    pub volumes: Volumes,
    /// Labels of the pod.
    pub labels: HashMap<String, String>,
    /// Restart policy of the pod.
    pub restarts: Restarts,
}
