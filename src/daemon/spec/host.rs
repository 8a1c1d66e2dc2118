//! Facts of the machine and paths of the pod that shape a Spec. The caller finds them out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Facts of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// The version of cgroups that limits containers.
    pub cgroup_mode: CgroupMode,
    /// A container can be given its part of the cgroup tree: version 2, mounted with `nsdelegate`.
    pub cgroup_delegation: bool,
    /// Highest capability that the kernel knows: /proc/sys/kernel/cap_last_cap.
    pub last_cap: u8,
    /// Version of the kernel (major, minor): it gates rules of the default seccomp profile.
    pub kernel: (u32, u32),
    /// Recursive read-only mounts work (Linux 5.12).
    pub recursive_read_only: bool,
    /// Why pods cannot have user namespaces of their own on this node; none when they can.
    pub user_namespace_problem: Option<String>,
    /// There are time namespaces (Linux 5.6).
    pub time_namespaces: bool,
    /// The kernel has AppArmor enabled.
    pub apparmor: bool,
    /// Name of the default AppArmor profile, when the daemon has loaded one.
    pub apparmor_default: Option<String>,
    /// The kernel has SELinux enabled.
    pub selinux: bool,
    /// All devices below the host's /dev, for privileged containers.
    pub devices: Vec<HostDevice>,
}

#[cfg(any(test, feature = "fuzz"))]
impl HostFacts {
    /// The facts of a machine with everything that a request can ask for. Tests change what they are about.
    pub(crate) fn complete() -> Self {
        Self {
            cgroup_mode: CgroupMode::V2,
            cgroup_delegation: true,
            last_cap: 40,
            kernel: (6, 1),
            recursive_read_only: true,
            user_namespace_problem: None,
            time_namespaces: true,
            apparmor: true,
            apparmor_default: None,
            selinux: true,
            devices: Vec::new(),
        }
    }
}

/// The version of cgroups that limits containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupMode {
    /// The machine has cgroup version 1, with or without an unused version 2 tree beside it.
    V1,
    /// The machine has cgroup version 2 alone.
    V2,
}

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostDevice {
    /// Path of the host; in a container of a privileged pod it is the same.
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    /// Owning user; the container's user where the request names none.
    pub uid: Option<u32>,
    /// Owning group; the group of the container's user where the request names none.
    pub gid: Option<u32>,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceKind {
    Character,
    Block,
    Fifo,
}

/// Paths of the pod that its containers' Specs name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodPaths {
    /// The file that containers see as /etc/hosts.
    pub hosts: PathBuf,
    /// The file that containers see as /etc/hostname.
    pub hostname: PathBuf,
    /// The file that containers see as /etc/resolv.conf.
    pub resolv_conf: PathBuf,
    /// Name of the pod's shared memory in Specs. It is not a file of the host; `plan` must be given the same path.
    pub shm: PathBuf,
    /// Directory with the namespaces of the pause: `/proc/PID/ns`.
    pub namespaces: PathBuf,
    /// pid namespace of the target container, when the pid mode is TARGET: `/proc/PID/ns/pid`.
    pub target_pid: Option<PathBuf>,
}

/// A device that the caller looked up for a [`super::DeviceRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceGrant {
    /// The node; `path` is where it is to appear in the container.
    pub device: HostDevice,
    /// Permissions out of `r`, `w` and `m`. Empty, which only a CDI device may ask for, means a node without a rule of
    /// the cgroup.
    pub permissions: String,
}
