//! Errors of control groups.

use nix::errno::Errno;

use super::Controller;
use std::fmt;

/// A failed operation on a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The given path is not a usable cgroup path.
    #[error("cgroup path `{path}` cannot be used: {reason}")]
    InvalidPath {
        /// The path as given, cut to 256 characters.
        path: String,
        /// Description of the fault.
        reason: &'static str,
    },
    /// A limit cannot be expressed to the kernel.
    #[error("cgroup limit {key} = `{value}` cannot be used: {reason}")]
    InvalidLimit {
        /// The limit, by its OCI name.
        key: String,
        /// The value as given.
        value: String,
        /// Description of the fault, and the allowed values.
        reason: &'static str,
    },
    /// The kernel does not take the value of a limit.
    #[error("{field}: invalid value {value:?}: {allowed}")]
    Refused {
        /// The limit, by the field of the request that it comes from.
        field: String,
        /// The value as it was written.
        value: String,
        /// The values that the kernel accepts here.
        allowed: String,
        /// The error that the kernel gave.
        #[source]
        source: Errno,
    },
    /// The kernel's list of mounts could not be read.
    #[error("cannot read /proc/self/mountinfo to find the cgroup hierarchies")]
    Mounts(#[source] std::io::Error),
    /// No cgroup file system is mounted.
    #[error(
        "no cgroup hierarchy is mounted; mount one, as in `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NoHierarchy,
    /// A system call on a group or one of its files failed.
    #[error("cannot {operation} {object}")]
    Kernel {
        /// The operation, with the value for a write.
        operation: String,
        /// The tree, the group and the file.
        object: String,
        /// The error that the kernel gave.
        #[source]
        source: Errno,
    },
    /// A limit needs a controller that the group does not have.
    #[error(
        "cgroup {path} has no {controller} controller, which its limits need; the kernel lacks it, or a parent does not hand it down in cgroup.subtree_control"
    )]
    Unavailable {
        /// The path of the group.
        path: String,
        /// The controller that is missing.
        controller: Controller,
    },
    /// A v2 parent holds processes, so that it cannot hand controllers to its children.
    #[error(
        "cgroup {path} holds processes itself, so the kernel does not let it hand controllers to children; choose another cgroup parent, or move its processes into a child"
    )]
    InternalProcesses {
        /// The parent that holds processes.
        path: String,
        /// The error that the kernel gave.
        #[source]
        source: Errno,
    },
    /// A memory limit lies below what is in use. Nothing was changed.
    #[error(
        "cgroup {path} uses {usage} bytes of memory, more than the wanted limit of {limit}; nothing was changed; free memory first or ask for a higher limit"
    )]
    BelowUsage {
        /// The path of the group.
        path: String,
        /// The wanted limit in bytes.
        limit: u64,
        /// The present use in bytes.
        usage: u64,
    },
    /// A group still holds processes after the time given to a removal.
    #[error(
        "cgroup {path} still holds {processes} processes, so it cannot be removed; kill them first"
    )]
    Busy {
        /// The tree and the group.
        path: String,
        /// How many processes it holds, at least.
        processes: usize,
    },
    /// Processes survived SIGKILL for longer than the time given.
    #[error(
        "{processes} processes of cgroup {path} have not died of SIGKILL yet; they may hang in the kernel (a dead NFS server, a stuck device)"
    )]
    Unkillable {
        /// The path of the group.
        path: String,
        /// How many are left.
        processes: usize,
    },
    /// The group was removed by someone else.
    #[error("cgroup {path} does not exist any more")]
    Gone {
        /// The path of the group.
        path: String,
    },
}

impl CgroupError {
    /// The error for a group that does not exist any more.
    pub(super) fn gone(path: &impl fmt::Display) -> Self {
        CgroupError::Gone {
            path: path.to_string(),
        }
    }

    /// The kernel's error number, where one is the cause.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            CgroupError::Kernel { source, .. }
            | CgroupError::Refused { source, .. }
            | CgroupError::InternalProcesses { source, .. } => Some(*source),
            CgroupError::InvalidPath { .. }
            | CgroupError::InvalidLimit { .. }
            | CgroupError::Mounts(_)
            | CgroupError::NoHierarchy
            | CgroupError::Unavailable { .. }
            | CgroupError::BelowUsage { .. }
            | CgroupError::Busy { .. }
            | CgroupError::Unkillable { .. }
            | CgroupError::Gone { .. } => None,
        }
    }
}
