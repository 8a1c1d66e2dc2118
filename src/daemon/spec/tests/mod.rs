//! Tests that convert requests to Specs.

mod build_cases;
mod cgroup_cases;
mod experiment_cases;
mod pod_cases;
mod seccomp_cases;
mod sysctl_cases;
mod user_cases;
mod values;

use std::path::PathBuf;

use super::*;
use holdfast_kernel::id::{ContainerId, PodId};

/// A request whose parts a test changes before it builds.
struct World {
    pod_id: PodId,
    pod: PodConfig,
    container: ContainerConfig,
    image: ImageDefaults,
    identity: Identity,
    host: HostFacts,
    paths: PodPaths,
    devices: Vec<DeviceGrant>,
    cdi: CdiEdits,
    volumes: Vec<(ContainerPath, HostPath)>,
    joined_network: Option<PathBuf>,
}

impl World {
    fn new() -> Self {
        let ns = PathBuf::from("/proc/77/ns");
        Self {
            pod_id: "11".repeat(32).parse().unwrap(),
            pod: PodConfig {
                hostname: "box".into(),
                ..PodConfig::default()
            },
            container: ContainerConfig {
                command: vec!["sh".into()],
                ..ContainerConfig::default()
            },
            image: ImageDefaults::default(),
            identity: Identity {
                groups: vec![0],
                ..Identity::default()
            },
            host: HostFacts {
                cgroup_delegation: false,
                apparmor: false,
                selinux: false,
                ..HostFacts::complete()
            },
            paths: PodPaths {
                hosts: "/run/pod/hosts".into(),
                hostname: "/run/pod/hostname".into(),
                resolv_conf: "/run/pod/resolv.conf".into(),
                shm: "/run/pod/shm".into(),
                namespaces: ns,
                target_pid: None,
            },
            devices: Vec::new(),
            cdi: CdiEdits::default(),
            volumes: Vec::new(),
            joined_network: None,
        }
    }

    fn build(&self) -> Result<oci_spec::runtime::Spec, SpecError> {
        build(&SpecRequest {
            pod_id: &self.pod_id,
            pod: &self.pod,
            container: &self.container,
            image: &self.image,
            identity: &self.identity,
            host: &self.host,
            paths: &self.paths,
            node_hostname: "node",
            cgroups_path: "/kubepods/x",
            localhost_seccomp: None,
            devices: &self.devices,
            cdi: &self.cdi,
            volumes: &self.volumes,
        })
    }

    fn build_pod(&self) -> Result<oci_spec::runtime::Spec, SpecError> {
        build_pod(&PodSpecRequest {
            pod_id: &self.pod_id,
            pod: &self.pod,
            host: &self.host,
            node_hostname: "node",
            cgroups_path: "/kubepods/x",
            localhost_seccomp: None,
            joined_network: self.joined_network.as_deref(),
        })
    }

    fn volume(&mut self, container_path: &str, host_path: &str) -> &mut VolumeMount {
        let volume = VolumeMount::writable(container_path, host_path);
        self.container.mounts.push(volume);
        self.container.mounts.last_mut().unwrap()
    }
}

/// Destination, type, source and options of each mount.
fn mounts(spec: &oci_spec::runtime::Spec) -> Vec<(String, String, String, Vec<String>)> {
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    spec.mounts()
        .iter()
        .flatten()
        .map(|mount| {
            (
                text(mount.destination()),
                mount.typ().clone().unwrap(),
                text(mount.source().as_ref().unwrap()),
                mount.options().clone().unwrap(),
            )
        })
        .collect()
}

fn mount_at(spec: &oci_spec::runtime::Spec, at: &str) -> (String, String, Vec<String>) {
    let all = mounts(spec);
    let found: Vec<_> = all
        .into_iter()
        .filter(|(target, ..)| target == at)
        .collect();
    assert_eq!(found.len(), 1, "{at}: {found:?}");
    let (_, kind, source, options) = found.into_iter().next().unwrap();
    (kind, source, options)
}
