//! Placing a pod and its containers in cgroups.

use super::ErrorKind;
use crate::systemd::{SliceError, SystemdError};
use holdfast_kernel::cgroup::CgroupError;

/// Why a cgroup cannot be made, limited or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacementError {
    /// The kernel refuses a cgroup or a limit.
    #[error("cannot limit resources")]
    Cgroup(#[from] CgroupError),
    /// systemd did not do what it was asked for the pod's cgroup.
    #[error("cannot make the pod's systemd scope")]
    Systemd(#[from] SystemdError),
    /// The cgroup parent is no slice, and systemd manages the cgroups.
    #[error("cannot place the pod's cgroup")]
    Slice(#[from] SliceError),
    /// The systemd driver is configured on a machine with cgroup v1.
    #[error(
        "cgroup.driver = \"systemd\" needs cgroup v2 alone; boot with systemd.unified_cgroup_hierarchy=1, or set \"cgroupfs\""
    )]
    DriverMode,
}

impl PlacementError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Cgroup(error) => of_cgroup(error),
            Self::Systemd(SystemdError::Connect(_) | SystemdError::Deadline { .. }) => {
                ErrorKind::Unavailable
            }
            Self::Slice(_) => ErrorKind::InvalidArgument,
            Self::Systemd(_) | Self::DriverMode => ErrorKind::Internal,
        }
    }
}

fn of_cgroup(error: &CgroupError) -> ErrorKind {
    match error {
        CgroupError::InvalidPath { .. }
        | CgroupError::InvalidLimit { .. }
        | CgroupError::Refused { .. }
        | CgroupError::Unavailable { .. } => ErrorKind::InvalidArgument,
        CgroupError::BelowUsage { .. } | CgroupError::Gone { .. } => ErrorKind::FailedPrecondition,
        CgroupError::Mounts(_)
        | CgroupError::NoHierarchy
        | CgroupError::Kernel { .. }
        | CgroupError::InternalProcesses { .. }
        | CgroupError::Busy { .. }
        | CgroupError::Unkillable { .. } => ErrorKind::Internal,
    }
}
