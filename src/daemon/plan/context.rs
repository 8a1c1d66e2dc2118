//! Facts about a container and the machine that a Spec has no place for.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;

use super::seccomp::FilterCache;
use holdfast_wire::plan::PidNamespace;

/// Facts that the launcher has to know and a Spec has no place for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanContext<'a> {
    /// Layers, highest first, as the shim sees them below [`holdfast_wire::plan::STORE_MOUNT`].
    pub lower: &'a [PathBuf],
    /// Upper directory, as the shim sees it.
    pub upper: &'a Path,
    /// Work directory, as the shim sees it.
    pub work: &'a Path,
    /// Name of the pod's shared memory in the Spec: a mount of it comes from the pause.
    pub pod_shm: &'a Path,
    /// Images that mounts of type [`IMAGE_MOUNT`] name as their sources.
    pub images: &'a [ImageTree],
    /// The meaning of a pid namespace with a path. A container whose Spec has no path makes its own or uses the host's.
    pub joined_pid: Option<PidNamespace>,
    /// How cgroups are mounted in containers of this machine.
    pub cgroups: &'a CgroupMounts,
    /// Environment values that are not UTF-8: the Spec has them with replacement characters.
    pub exact_env: &'a [(String, Vec<u8>)],
    /// The file that becomes standard input.
    pub stdin: Stdin,
    /// The cache of compiled filters.
    pub filters: &'a FilterCache,
    /// A second profile, which also has to allow each system call that the Spec's filter allows.
    pub seccomp_base: Option<&'a LinuxSeccomp>,
}

/// Type of a mount of the Spec that is an image's layers. OCI has none: runtimes mount images themselves.
pub(crate) const IMAGE_MOUNT: &str = "image";

/// An image that is a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageTree {
    /// The source of the mount, as the Spec names it.
    pub source: PathBuf,
    /// Layers, highest first, as the shim sees them.
    pub lower: Vec<PathBuf>,
    /// A directory inside the image's root; empty for the root itself.
    pub sub_path: String,
}

/// The file that becomes standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// Standard input is /dev/null.
    #[default]
    Null,
    /// Kept open for clients that attach.
    Open,
    /// Ends when the first attached client goes.
    Once,
}

/// How cgroups are mounted in containers of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CgroupMounts {
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
pub(crate) struct CgroupHierarchy {
    /// Its directory below /sys/fs/cgroup: `cpu,cpuacct`, `systemd`.
    pub directory: String,
    /// Mount options that select it: `cpu`, `cpuacct`, or `none` and `name=systemd`.
    pub options: Vec<String>,
}
