//! The request for a pod: CRI's `PodSandboxConfig`, checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::experiments::Experiments;
use super::{AppArmorChoice, GroupsPolicy, HostPath, Resources, SeccompChoice, SelinuxOptions};
use holdfast_kernel::id::ContainerId;
use holdfast_wire::plan::IdMappings;

/// A pod sandbox as requested. The pod's record keeps it, and its status echoes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodConfig {
    /// The key by which the kubelet knows the pod.
    pub metadata: PodMetadata,
    /// The requested host name; empty for the node's.
    pub hostname: String,
    /// Directory of the containers' logs; without it there are no logs.
    pub log_directory: Option<HostPath>,
    /// The content of resolv.conf. Without it the node's file is copied; an empty value makes an empty file.
    pub dns: Option<DnsConfig>,
    /// Ports of the host that lead into the pod.
    pub port_mappings: Vec<PortMapping>,
    /// Labels, which statuses echo.
    pub labels: BTreeMap<String, String>,
    /// Annotations, which statuses echo byte for byte.
    pub annotations: BTreeMap<String, String>,
    /// Parent cgroup; without it the daemon's default.
    pub cgroup_parent: Option<String>,
    /// Kernel parameters as written in the request; [`super::sysctl`] checks them.
    pub sysctls: BTreeMap<String, String>,
    /// The pod's or the node's namespace, for each kind.
    pub namespaces: NamespaceOptions,
    pub security: PodSecurity,
    /// Requested runtime handler; empty: the default one.
    pub runtime_handler: String,
    /// Sum of the containers' resources: kept and echoed, never written to a cgroup.
    pub resources: Option<Resources>,
    /// Overhead of the pod itself: kept and echoed.
    pub overhead: Option<Resources>,
    /// Experiments that the pod's annotations ask for.
    #[serde(default, skip_serializing_if = "Experiments::is_empty")]
    pub experiments: Experiments,
}

impl PodConfig {
    /// Whether the pod has a network namespace of its own: not the host's, and not another pod's.
    pub(crate) fn owns_network(&self) -> bool {
        self.namespaces.network == NetMode::Pod && self.experiments.join_network.is_none()
    }

    /// Whether the pod has a UTS namespace of its own, and so a host name. In the host's network it has one when it asks
    /// for a name, as with CRI-O; a kubelet asks for none there.
    pub(crate) fn has_own_uts(&self) -> bool {
        self.namespaces.network == NetMode::Pod || !self.hostname.is_empty()
    }

    /// User and group that are root inside the pod, as the host counts.
    pub(crate) fn root_owner(&self) -> (u32, u32) {
        let map = self.namespaces.userns.as_ref();
        let uid = map.and_then(|map| map.outside_user(0)).unwrap_or(0);
        let gid = map.and_then(|map| map.outside_group(0)).unwrap_or(0);
        (uid, gid)
    }
}

/// The key of a pod: two requests with the same metadata mean the same pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PodMetadata {
    /// Name of the pod.
    pub name: String,
    pub uid: String,
    pub namespace: String,
    /// Which attempt at this sandbox.
    pub attempt: u32,
}

/// The content of the pod's /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DnsConfig {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// A port of the host that leads into the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortMapping {
    pub protocol: Protocol,
    /// Port in the pod.
    pub container_port: u16,
    /// Port of the host; 0: none, the mapping is only echoed.
    pub host_port: u16,
    /// Address of the host; empty: all.
    pub host_ip: String,
}

/// Namespace modes of a pod: CRI `NamespaceOption`. Its zero value shares pid in the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespaceOptions {
    /// Network (and with it UTS).
    pub network: NetMode,
    /// System V IPC, POSIX message queues and /dev/shm.
    pub ipc: IpcMode,
    /// Whose process ids the containers see.
    pub pid: PidMode,
    /// Own user namespace; without it the host's.
    pub userns: Option<IdMappings>,
}

/// Network and UTS namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NetMode {
    /// The pod has a namespace of its own.
    #[default]
    Pod,
    /// The pod is in the host's namespace.
    Node,
}

/// Whose IPC namespace a pod is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IpcMode {
    /// The pod has a namespace of its own.
    #[default]
    Pod,
    /// The pod is in the host's namespace.
    Node,
}

/// Whose pid namespace a container is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PidMode {
    /// All containers of the pod share a namespace, whose process 1 is the pause.
    #[default]
    Pod,
    /// Each container has a namespace of its own.
    Container,
    /// The pod is in the host's namespace.
    Node,
    /// The container is in the namespace of another container of the same pod.
    Target(ContainerId),
}

/// The checked form of CRI's `LinuxSandboxSecurityContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodSecurity {
    /// User of the pause process.
    pub run_as_user: Option<u32>,
    /// Group of the pause process; it needs a user.
    pub run_as_group: Option<u32>,
    /// Supplementary groups of the pause process.
    pub supplemental_groups: Vec<u32>,
    /// How the image's memberships count; the pause has no image, so it is only echoed.
    pub supplemental_groups_policy: GroupsPolicy,
    /// Containers of this pod may be privileged.
    pub privileged: bool,
    /// The root of the pause is read-only; it always is.
    pub readonly_rootfs: bool,
    /// Profile of the pause process.
    pub seccomp: SeccompChoice,
    /// AppArmor profile of the pause process.
    pub apparmor: AppArmorChoice,
    /// SELinux label, inherited by containers that set none.
    pub selinux: Option<SelinuxOptions>,
}
