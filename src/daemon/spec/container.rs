//! The request for a container: CRI's `ContainerConfig`, checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AppArmorChoice, ContainerPath, GroupsPolicy, HostPath, ImageSpec, PidMode, Resources,
    SeccompChoice, SelinuxOptions, Signal, VolumeMount,
};

/// A container as requested. The container's record keeps it, and its status echoes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerConfig {
    /// The container's name and attempt, its key in the pod.
    pub metadata: ContainerMetadata,
    /// The image as requested, which statuses echo.
    pub image: ImageSpec,
    /// Replaces the image's entry point.
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// Working directory; without it the image's.
    pub working_dir: Option<String>,
    /// Environment: name and value. Values are bytes and need not be UTF-8.
    pub envs: Vec<(String, Vec<u8>)>,
    /// The volumes of the request, in its order.
    pub mounts: Vec<VolumeMount>,
    /// Requested devices of the host.
    pub devices: Vec<DeviceRequest>,
    /// Requested devices by the Container Device Interface.
    pub cdi_devices: Vec<String>,
    /// Labels, which statuses echo.
    pub labels: BTreeMap<String, String>,
    /// Annotations, which statuses echo byte for byte.
    pub annotations: BTreeMap<String, String>,
    /// Log file, relative to the pod's log directory; empty: none.
    pub log_path: String,
    /// Standard input is kept open for clients that attach.
    pub stdin: bool,
    /// Standard input ends when the first attached client goes.
    pub stdin_once: bool,
    /// A terminal is the process's standard streams.
    pub tty: bool,
    pub resources: Resources,
    pub security: ContainerSecurity,
    /// Signal that asks it to stop; without it the image's, else SIGTERM.
    pub stop_signal: Option<Signal>,
}

/// The key of a container in its pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ContainerMetadata {
    /// Name of the container.
    pub name: String,
    /// Which attempt at this container.
    pub attempt: u32,
}

/// A device of the host: CRI `Device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRequest {
    /// Path in the container.
    pub container_path: ContainerPath,
    /// Path of the host.
    pub host_path: HostPath,
    /// Permissions out of `r`, `w` and `m`.
    pub permissions: String,
}

/// The checked form of CRI's `LinuxContainerSecurityContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerSecurity {
    /// Capabilities to add, with or without `CAP_`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop, or `ALL`.
    pub drop_capabilities: Vec<String>,
    /// Ambient capabilities to add.
    pub add_ambient_capabilities: Vec<String>,
    /// Whether the container has all capabilities and devices of the host, and neither masked paths nor filters.
    pub privileged: bool,
    /// Pid mode of this container; the others are the pod's.
    pub pid: PidMode,
    /// The requested user and groups of the process.
    pub run_as: RunAs,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// Whether the process cannot gain privileges: no_new_privs of prctl(2).
    pub no_new_privs: bool,
    /// Paths to hide, verbatim.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only, verbatim.
    pub readonly_paths: Vec<String>,
    pub seccomp: SeccompChoice,
    pub apparmor: AppArmorChoice,
    /// SELinux label; without it the pod's.
    pub selinux: Option<SelinuxOptions>,
    /// The requested cgroup namespace. Without a request, a privileged container is in the host's and another has its
    /// own.
    #[serde(default)]
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// Whether the container can write to its cgroups.
    #[serde(default)]
    pub cgroup_access: CgroupAccess,
}

/// Whose cgroup namespace a container is in: CRI's `CgroupNamespace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupNamespace {
    /// The container has a namespace of its own, with its cgroup as the root: CRI's CONTAINER.
    Own,
    /// The container is in the host's namespace: CRI's NODE.
    Host,
}

/// How a container sees the cgroup file system: CRI `CgroupMountMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupAccess {
    /// A privileged container can write to its cgroups, another cannot.
    #[default]
    Usual,
    /// The container cannot write to its cgroups.
    ReadOnly,
    /// The container can write to its cgroups.
    ReadWrite,
}

/// The user and groups of a process, as requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunAs {
    pub user: RequestedUser,
    /// The primary group; it needs a user.
    pub group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    /// Whether group memberships of the image's /etc/group are added.
    pub policy: GroupsPolicy,
}

/// The user of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestedUser {
    /// The user that the image names.
    #[default]
    Image,
    /// By number; it need not exist in the image.
    Id(u32),
    /// By name; it must exist in the image's /etc/passwd.
    Name(String),
}
