//! What CRI asks of a container: `ContainerConfig`, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    AppArmorChoice, ContainerPath, GroupsPolicy, HostPath, PidMode, SeccompChoice, SelinuxOptions,
    Signal,
};
use holdfast_wire::plan::IdMappings;

/// A container as requested. It is kept in the container's record and echoed in its status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerConfig {
    /// Who it is in its pod.
    pub metadata: ContainerMetadata,
    /// Image as requested, echoed.
    pub image: ImageSpec,
    /// Replaces the image's entry point.
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// Working directory; without it the image's.
    pub working_dir: Option<String>,
    /// Environment: name and value. Values are bytes and need not be UTF-8.
    pub envs: Vec<(String, Vec<u8>)>,
    /// Volumes.
    pub mounts: Vec<VolumeMount>,
    /// Devices of the host.
    pub devices: Vec<DeviceRequest>,
    /// Names of CDI devices.
    pub cdi_devices: Vec<String>,
    /// Labels, echoed.
    pub labels: BTreeMap<String, String>,
    /// Annotations, echoed byte for byte.
    pub annotations: BTreeMap<String, String>,
    /// Log file, relative to the pod's log directory; empty: none.
    pub log_path: String,
    /// Standard input is kept open for clients that attach.
    pub stdin: bool,
    /// Standard input ends when the first attached client goes.
    pub stdin_once: bool,
    /// A terminal is the process's standard streams.
    pub tty: bool,
    /// Resource limits.
    pub resources: Resources,
    /// Security context.
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

/// The image reference of a request, echoed in statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageSpec {
    /// Reference; usually an image id.
    pub image: String,
    /// What the user wrote.
    pub user_specified_image: String,
    /// Runtime handler whose image this is.
    pub runtime_handler: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A volume: CRI `Mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeMount {
    /// Where, in the container.
    pub container_path: ContainerPath,
    /// What.
    pub source: VolumeSource,
    /// Read-only.
    pub readonly: bool,
    /// Mounts below are read-only as well.
    pub recursive_read_only: bool,
    /// Mount propagation.
    pub propagation: VolumePropagation,
    /// The files get the container's SELinux label.
    pub selinux_relabel: bool,
    /// Id mappings for this mount alone.
    pub id_map: Option<IdMappings>,
    /// What else the mount forbids.
    #[serde(default)]
    pub options: Vec<MountOption>,
}

/// What a mount can forbid: CRI `Mount.mount_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::enum_variant_names,
    reason = "the options of mount(8) have these names"
)]
pub(crate) enum MountOption {
    /// Nothing on it is executed.
    NoExec,
    /// Its device nodes are no devices.
    NoDev,
    /// Its set-user-id and set-group-id bits and file capabilities have no effect.
    NoSuid,
}

impl MountOption {
    /// All that there are.
    pub(crate) const ALL: [Self; 3] = [Self::NoExec, Self::NoDev, Self::NoSuid];

    /// Its name, which CRI and OCI share.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoExec => "noexec",
            Self::NoDev => "nodev",
            Self::NoSuid => "nosuid",
        }
    }
}

/// Where a volume's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeSource {
    /// A path of the host; a missing one becomes a directory, as in containerd.
    Host(HostPath),
    /// An image, with a path below its root (empty: all of it).
    Image {
        /// Reference of the image.
        image: ImageSpec,
        /// Path below the image's root.
        sub_path: String,
    },
}

impl VolumeSource {
    /// What the Spec calls it: the path, or for an image its reference with the path below it.
    pub(crate) fn spec_name(&self) -> PathBuf {
        match self {
            Self::Host(path) => path.as_path().to_owned(),
            Self::Image { image, sub_path } => Path::new(&image.image).join(sub_path),
        }
    }
}

/// CRI `MountPropagation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumePropagation {
    /// None: `rprivate`.
    #[default]
    Private,
    /// Later mounts of the host show up: `rslave`.
    HostToContainer,
    /// In both directions: `rshared`.
    Bidirectional,
}

/// A device of the host: CRI `Device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRequest {
    /// Where, in the container.
    pub container_path: ContainerPath,
    /// Path of the host.
    pub host_path: HostPath,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// CRI `LinuxContainerResources`. Zero means unspecified, as in the protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resources {
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds; -1: unlimited.
    pub cpu_quota: i64,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: i64,
    /// Memory limit in bytes.
    pub memory_limit: i64,
    /// Memory plus swap limit in bytes; -1: unlimited.
    pub memory_swap_limit: i64,
    /// Value for /proc/PID/oom_score_adj.
    pub oom_score_adj: i64,
    /// CPUs, in the list format of cpuset(7).
    pub cpuset_cpus: String,
    /// Memory nodes, in the list format.
    pub cpuset_mems: String,
    /// Huge page limits: (page size such as `2MB`, bytes).
    pub hugepage_limits: Vec<(String, u64)>,
    /// Files of cgroup v2 and their values.
    pub unified: BTreeMap<String, String>,
}

/// CRI `LinuxContainerSecurityContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerSecurity {
    /// Capabilities to add, with or without `CAP_`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop, or `ALL`.
    pub drop_capabilities: Vec<String>,
    /// Ambient capabilities to add.
    pub add_ambient_capabilities: Vec<String>,
    /// All of the host: capabilities, devices, no masks, no filters.
    pub privileged: bool,
    /// Pid mode of this container; the others are the pod's.
    pub pid: PidMode,
    /// User and group.
    pub run_as: RunAs,
    /// The root is read-only.
    pub readonly_rootfs: bool,
    /// Set no_new_privs.
    pub no_new_privs: bool,
    /// Paths to hide, verbatim.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only, verbatim.
    pub readonly_paths: Vec<String>,
    /// Seccomp profile.
    pub seccomp: SeccompChoice,
    /// AppArmor profile.
    pub apparmor: AppArmorChoice,
    /// SELinux label; without it the pod's.
    pub selinux: Option<SelinuxOptions>,
    /// Cgroup namespace; without it its own, and the host's for a privileged container.
    #[serde(default)]
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// How it sees its cgroups.
    #[serde(default)]
    pub cgroup_access: CgroupAccess,
}

/// Whose cgroup namespace a container is in: CRI `CgroupNamespace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupNamespace {
    /// Its own, with its cgroup as the root: CRI's CONTAINER.
    Own,
    /// The host's: CRI's NODE.
    Host,
}

/// How a container sees the cgroup file system: CRI `CgroupMountMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupAccess {
    /// Read-only, and writable for a privileged container.
    #[default]
    Usual,
    /// Read-only.
    ReadOnly,
    /// Writable.
    ReadWrite,
}

/// Who the process is to be, as requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunAs {
    /// The user.
    pub user: RequestedUser,
    /// The primary group; it needs a user.
    pub group: Option<u32>,
    /// Supplementary groups.
    pub supplemental_groups: Vec<u32>,
    /// How the image's memberships count.
    pub policy: GroupsPolicy,
}

/// The user of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestedUser {
    /// The image's user.
    #[default]
    Image,
    /// By number; it need not exist in the image.
    Id(u32),
    /// By name; it must exist in the image's /etc/passwd.
    Name(String),
}
