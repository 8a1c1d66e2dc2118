use oci_spec::runtime::LinuxNamespaceType;

use super::*;

fn kinds(spec: &oci_spec::runtime::Spec) -> Vec<LinuxNamespaceType> {
    let linux = spec.linux().as_ref().unwrap();
    linux
        .namespaces()
        .iter()
        .flatten()
        .map(|namespace| namespace.typ())
        .collect()
}

#[test]
fn a_pod_makes_its_own_namespaces() {
    use LinuxNamespaceType::{Ipc, Mount, Network, Pid, Uts};
    let world = World::new();
    let spec = world.build_pod().unwrap();
    assert_eq!(kinds(&spec), [Mount, Network, Uts, Ipc, Pid]);
    assert_eq!(spec.hostname().as_deref(), Some("box"));
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.oom_score_adj(), Some(-998));
    let (kind, _, options) = mount_at(&spec, "/dev/shm");
    assert_eq!(kind, "tmpfs");
    assert!(options.contains(&"size=65536k".to_owned()));
    assert_eq!(
        spec.annotations().as_ref().unwrap()["io.kubernetes.cri.container-type"],
        "sandbox"
    );
}

#[test]
fn a_host_network_pod_keeps_the_node_name() {
    let mut world = World::new();
    world.pod.namespaces.network = NetMode::Node;
    world.pod.namespaces.ipc = IpcMode::Node;
    world.pod.namespaces.pid = PidMode::Container;
    // With a name of its own it needs a UTS namespace of its own, as in CRI-O.
    let spec = world.build_pod().unwrap();
    assert_eq!(
        kinds(&spec),
        [LinuxNamespaceType::Mount, LinuxNamespaceType::Uts]
    );
    assert_eq!(spec.hostname().as_deref(), Some("box"));
    world.pod.hostname.clear();
    let spec = world.build_pod().unwrap();
    assert_eq!(kinds(&spec), [LinuxNamespaceType::Mount]);
    assert_eq!(spec.hostname(), &None);
    assert!(
        spec.linux()
            .as_ref()
            .unwrap()
            .sysctl()
            .as_ref()
            .unwrap()
            .is_empty()
    );
    assert!(mounts(&spec).is_empty());
}

#[test]
fn host_names_are_checked() {
    let mut world = World::new();
    world.pod.hostname = String::new();
    assert_eq!(
        world.build_pod().unwrap().hostname().as_deref(),
        Some("node")
    );
    for bad in ["a\nb", "a b", "a/b", &"x".repeat(65)] {
        world.pod.hostname = bad.to_owned();
        let error = world.build_pod().unwrap_err();
        assert!(error.to_string().starts_with("hostname:"), "{error}");
    }
}

#[test]
fn the_pause_has_the_requested_user_and_filter() {
    let mut world = World::new();
    world.pod.security.run_as_user = Some(65535);
    world.pod.security.supplemental_groups = vec![7, 0];
    world.pod.security.seccomp = SeccompChoice::RuntimeDefault;
    let spec = world.build_pod().unwrap();
    let user = spec.process().as_ref().unwrap().user();
    assert_eq!((user.uid(), user.gid()), (65535, 0));
    assert_eq!(user.additional_gids().as_deref(), Some(&[0, 7][..]));
    assert!(spec.linux().as_ref().unwrap().seccomp().is_some());
    world.pod.security.run_as_user = None;
    world.pod.security.run_as_group = Some(1);
    assert!(
        world
            .build_pod()
            .unwrap_err()
            .to_string()
            .contains("run_as_user")
    );
}

#[test]
fn the_pod_decides_what_its_pid_namespace_is() {
    let mut world = World::new();
    let target: ContainerId = "22".repeat(32).parse().unwrap();
    for (pod, wish, expected) in [
        (PidMode::Pod, PidMode::Pod, PidMode::Pod),
        (PidMode::Container, PidMode::Pod, PidMode::Container),
        (PidMode::Node, PidMode::Pod, PidMode::Node),
        (PidMode::Pod, PidMode::Container, PidMode::Container),
        (PidMode::Pod, PidMode::Node, PidMode::Node),
        (
            PidMode::Container,
            PidMode::Target(target),
            PidMode::Target(target),
        ),
    ] {
        world.pod.namespaces.pid = pod;
        world.container.security.pid = wish;
        assert_eq!(namespaces::pid_mode(&world.pod, &world.container), expected);
    }
}
