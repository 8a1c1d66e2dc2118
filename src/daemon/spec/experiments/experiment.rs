//! The experiments that a pod can ask for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The prefix of the annotation keys of all experiments.
pub(crate) const PREFIX: &str = concat!("experiments.", holdfast_kernel::domain!(), "/");

/// Nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;

/// An experiment that a node allows or not, by the name that its configuration has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// A pod in the network namespace of another pod.
    JoinNetwork,
    /// A pod with clocks of its own.
    TimeOffsets,
    /// Containers with other uts, ipc or cgroup namespaces than the pod's.
    Namespaces,
}

impl Experiment {
    /// The experiment that an annotation asks for; none for other annotations.
    pub fn of_annotation(key: &str) -> Option<Self> {
        match key.strip_prefix(PREFIX)? {
            "join-network" => Some(Self::JoinNetwork),
            "time-offsets" => Some(Self::TimeOffsets),
            rest if rest.starts_with("namespaces.") => Some(Self::Namespaces),
            _ => None,
        }
    }

    /// The experiment's name in annotations and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoinNetwork => "join-network",
            Self::TimeOffsets => "time-offsets",
            Self::Namespaces => "namespaces",
        }
    }

    /// The key of the experiment's annotation. For [`Self::Namespaces`] a container's name follows.
    pub fn annotation(self) -> String {
        format!("{PREFIX}{}", self.as_str())
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// An annotation below [`PREFIX`] that cannot be understood.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("annotation {annotation}: invalid value {value:?}: {remedy}")]
pub struct ExperimentError {
    /// Key of the annotation.
    pub annotation: String,
    /// Value of the annotation, shortened.
    pub value: String,
    /// The remedy, as an imperative.
    pub remedy: &'static str,
}

/// All experiments of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Experiments {
    /// The pod whose network namespace is this pod's as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_network: Option<PodReference>,
    /// Offsets of the pod's clocks from the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_offsets: Option<TimeOffsets>,
    /// Namespaces of containers, by the container's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, ContainerSharing>,
}

impl Experiments {
    /// Whether the pod asks for no experiment.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Which namespaces a container shares with its pod.
    pub(crate) fn of_container(&self, name: &str) -> ContainerSharing {
        self.namespaces.get(name).copied().unwrap_or_default()
    }

    /// Whether a container is to share the pod's cgroup namespace, so that the pod has to have one.
    pub(crate) fn shares_cgroup(&self) -> bool {
        let mut all = self.namespaces.values();
        all.any(|sharing| sharing.cgroup == Some(CgroupSharing::Pod))
    }
}

/// Another pod, as an annotation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PodReference {
    /// The sandbox id of the pod, or the beginning of it.
    Id(String),
    /// The Kubernetes namespace and name of the pod.
    Name { namespace: String, name: String },
}

impl fmt::Display for PodReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => out.write_str(id),
            Self::Name { namespace, name } => write!(out, "{namespace}/{name}"),
        }
    }
}

/// How far the clocks of a time namespace are from the machine's, in nanoseconds: time_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimeOffsets {
    /// Offset of CLOCK_MONOTONIC and the clocks that follow it.
    pub monotonic: i64,
    /// Offset of CLOCK_BOOTTIME, which uptime(1) and the start times of processes use.
    pub boottime: i64,
}

impl TimeOffsets {
    /// The clocks and their offsets, as the kernel names them.
    pub(crate) fn clocks(self) -> [(&'static str, i64); 2] {
        [("monotonic", self.monotonic), ("boottime", self.boottime)]
    }
}

/// An offset as the kernel writes it: whole seconds, rounded down, and the nanoseconds above them.
pub(crate) fn seconds_and_nanos(offset: i64) -> (i64, u32) {
    let nanos = offset.rem_euclid(SECOND);
    // Below one second.
    (
        offset.div_euclid(SECOND),
        u32::try_from(nanos).unwrap_or_default(),
    )
}

/// Which namespaces a container shares with its pod, where that differs from CRI's rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerSharing {
    /// The UTS namespace, which has the host name.
    pub uts: Sharing,
    /// System V IPC, POSIX message queues and /dev/shm.
    pub ipc: Sharing,
    /// The cgroup namespace. Without it CRI's rule applies: a privileged container is in the host's, another has its
    /// own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupSharing>,
}

/// Whose namespace a container is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sharing {
    /// The container is in the pod's namespace, or in the host's if the pod is.
    #[default]
    Pod,
    /// The container has a namespace of its own.
    Own,
}

/// Whose cgroup namespace a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CgroupSharing {
    /// The container has a namespace of its own, whose root is its cgroup.
    Own,
    /// The container is in the namespace of the pause, whose root is the pause's cgroup; the container's cgroup is
    /// beside it.
    Pod,
    /// The container is in the host's cgroup namespace.
    Host,
}
