//! The three ways from a Spec to a plan.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::seccomp::FilterCache;
use crate::wire::plan::{ContainerPlan, ExecPlan, PausePlan, PidNamespace};

/// What a Spec does not say and the launcher has to know.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// Layers, highest first, as the shim sees them below [`crate::wire::plan::STORE_MOUNT`].
    pub lower: &'a [PathBuf],
    /// Upper directory, likewise.
    pub upper: &'a Path,
    /// Work directory, likewise.
    pub work: &'a Path,
    /// Name of the pod's shared memory in the Spec: a mount of it comes from the pause.
    pub pod_shm: &'a Path,
    /// What a pid namespace with a path means; a Spec without one makes its own or uses the host's.
    pub joined_pid: Option<PidNamespace>,
    /// How cgroups are mounted in containers of this machine.
    pub cgroups: &'a CgroupMounts,
    /// Environment values that are not UTF-8: the Spec has them with replacement characters.
    pub exact_env: &'a [(String, Vec<u8>)],
    /// Standard input.
    pub stdin: Stdin,
    /// Compiled filters.
    pub filters: &'a FilterCache,
}

/// What standard input is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdin {
    /// /dev/null.
    #[default]
    Null,
    /// Kept open for clients that attach.
    Open,
    /// Ends when the first attached client goes.
    Once,
}

/// How cgroups are mounted in containers of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupMounts {
    /// A tmpfs with one mount for each hierarchy.
    V1(Vec<CgroupHierarchy>),
    /// The one tree, with the mount options of the host's (`nsdelegate`, …): the kernel applies those of the
    /// latest mount to all.
    V2 {
        /// Options of the host's mount.
        options: Vec<String>,
    },
}

/// A hierarchy of cgroup v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHierarchy {
    /// Its directory below /sys/fs/cgroup: `cpu,cpuacct`, `systemd`.
    pub directory: String,
    /// Mount options that select it: `cpu`, `cpuacct`, or `none` and `name=systemd`.
    pub options: Vec<String>,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest<'a> {
    /// The command.
    pub args: &'a [String],
    /// A terminal is its standard streams.
    pub terminal: bool,
    /// As in [`PlanContext`].
    pub exact_env: &'a [(String, Vec<u8>)],
}

/// Why a Spec cannot become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A string has a NUL byte.
    #[error("{field} has a NUL byte: {text:?}")]
    Nul {
        /// Field of the Spec.
        field: String,
        /// Its first characters.
        text: String,
    },
    /// A part of the Spec that the launcher cannot do.
    #[error("{field}: {reason}")]
    Unsupported {
        /// Field of the Spec.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The launch plan of a container.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub fn compile(spec: &Spec, context: &PlanContext<'_>) -> Result<ContainerPlan, PlanError> {
    let _ = (spec, context);
    Err(PlanError::Unsupported {
        field: "spec".into(),
        reason: "not compiled".into(),
    })
}

/// The launch plan of a further process: the container's own process with another command.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub fn exec(
    spec: &Spec,
    request: &ExecRequest<'_>,
    filters: &FilterCache,
) -> Result<ExecPlan, PlanError> {
    let _ = (spec, request, filters);
    Err(PlanError::Unsupported {
        field: "spec".into(),
        reason: "not compiled".into(),
    })
}

/// The launch plan of a pause, from the Spec of its pod.
///
/// # Errors
/// [`PlanError`] names the field of the Spec.
pub fn pause(spec: &Spec, filters: &FilterCache) -> Result<PausePlan, PlanError> {
    let _ = (spec, filters);
    Err(PlanError::Unsupported {
        field: "spec".into(),
        reason: "not compiled".into(),
    })
}
