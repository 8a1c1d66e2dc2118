//! Pods and containers as a kubelet asks for them, the same for every runtime.

use cri_api::runtime::v1::{
    ContainerConfig, DnsConfig, LinuxContainerResources, PodSandboxConfig, SecurityProfile,
    security_profile::ProfileType,
};
use e2e::place::Place;
use e2e::request::{self, ContainerParts, PodParts};
use e2e::{BUSYBOX, machine};

use crate::measures::Network;

/// Paths that the kubelet masks in /proc and /sys of every container that is not privileged.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Paths that the kubelet mounts read-only in such a container.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// A pod, with its cgroup below that of the place.
pub fn pod(place: &Place, name: &str, network: Network) -> PodSandboxConfig {
    let mut config = request::pod(place, name);
    if network == Network::Host {
        config.namespaces().network = cri_api::runtime::v1::NamespaceMode::Node.into();
        config.hostname.clear();
    }
    config.security().seccomp = Some(runtime_default());
    config.linux().cgroup_parent = place.cgroup();
    config.dns_config = Some(DnsConfig {
        servers: vec!["10.96.0.10".to_owned()],
        searches: [
            "e2e.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
        ]
        .map(str::to_owned)
        .to_vec(),
        options: vec!["ndots:5".to_owned()],
    });
    for (key, value) in [("name", name), ("namespace", "e2e"), ("uid", name)] {
        let key = format!("io.kubernetes.pod.{key}");
        config.labels.insert(key, value.to_owned());
    }
    config
}

/// A container with limits, the two files that the kubelet mounts, and masked paths.
pub fn container(place: &Place, command: &[&str]) -> ContainerConfig {
    let mut config = request::container("main", BUSYBOX, command);
    let file = |name: &str| {
        let path = place.dir.join(name);
        if !path.exists() {
            std::fs::write(&path, "127.0.0.1 localhost\n")
                .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        }
        path
    };
    config.mounts = vec![
        request::mount(file("hosts"), "/etc/hosts"),
        request::mount(file("termination-log"), "/dev/termination-log"),
    ];
    config.envs = vec![
        request::variable("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        request::variable("KUBERNETES_SERVICE_PORT", "443"),
    ];
    let security = config.security();
    security.seccomp = Some(runtime_default());
    security.masked_paths = MASKED.map(str::to_owned).to_vec();
    security.readonly_paths = READ_ONLY.map(str::to_owned).to_vec();
    *config.resources() = resources();
    config
}

/// One processor and 256 MiB, where the cgroups of this machine can limit them.
fn resources() -> LinuxContainerResources {
    let mut resources = LinuxContainerResources {
        oom_score_adj: 900,
        ..LinuxContainerResources::default()
    };
    if can_limit() {
        resources.cpu_period = 100_000;
        resources.cpu_quota = 100_000;
        resources.cpu_shares = 512;
        resources.memory_limit_in_bytes = 256 << 20;
    }
    resources
}

/// Whether there is a memory controller in the cgroup tree that is mounted.
pub fn can_limit() -> bool {
    machine::cgroup_roots().iter().any(|(root, controllers)| {
        let unified = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let mut all = controllers.iter().map(String::as_str);
        all.any(|name| name == "memory") || unified.split_whitespace().any(|name| name == "memory")
    })
}

fn runtime_default() -> SecurityProfile {
    SecurityProfile {
        profile_type: ProfileType::RuntimeDefault.into(),
        ..SecurityProfile::default()
    }
}
