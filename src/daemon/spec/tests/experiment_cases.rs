use oci_spec::runtime::LinuxNamespaceType;

use super::*;
use crate::spec::experiments::{Experiments, PREFIX};

/// A pod with annotations below the prefix.
fn with(annotations: &[(&str, &str)]) -> World {
    let mut world = World::new();
    let annotations = annotations.iter();
    let annotations =
        annotations.map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
    world.pod.experiments = Experiments::parse(&annotations.collect()).unwrap();
    world.joined_network = world
        .pod
        .experiments
        .join_network
        .is_some()
        .then(|| "/run/netns/other".into());
    world
}

/// The path of a namespace of a Spec: none when it is made, an empty one when it is not there at all.
fn path_of(spec: &oci_spec::runtime::Spec, kind: LinuxNamespaceType) -> Option<String> {
    let linux = spec.linux().as_ref().unwrap();
    let all = linux.namespaces().iter().flatten();
    let found = all.clone().find(|namespace| namespace.typ() == kind);
    let Some(found) = found else {
        return Some(String::new());
    };
    let path = found.path().as_ref()?;
    Some(path.to_str().unwrap().to_owned())
}

#[test]
fn a_joiner_is_in_the_other_pods_network_and_sets_nothing_of_it() {
    let world = with(&[("join-network", "default/web")]);
    let spec = world.build_pod().unwrap();
    assert_eq!(
        path_of(&spec, LinuxNamespaceType::Network).as_deref(),
        Some("/run/netns/other")
    );
    assert_eq!(path_of(&spec, LinuxNamespaceType::Uts), None);
    let sysctls = spec.linux().as_ref().unwrap().sysctl().clone().unwrap();
    assert!(sysctls.is_empty(), "{sysctls:?}");
    assert!(!world.pod.owns_network());
}

#[test]
fn what_belongs_to_the_owner_of_a_network_is_refused_to_a_joiner() {
    let refused = |change: &dyn Fn(&mut World), field: &str| {
        let mut world = with(&[("join-network", "default/web")]);
        change(&mut world);
        let error = world.build_pod().unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
        assert!(error.contains("join-network"), "{error}");
    };
    let options = "linux.security_context.namespace_options";
    refused(
        &|world| world.pod.namespaces.network = NetMode::Node,
        &format!("{options}.network"),
    );
    let range = holdfast_wire::plan::IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    refused(
        &|world| {
            world.pod.namespaces.userns = Some(holdfast_wire::plan::IdMappings {
                uids: vec![range],
                gids: vec![range],
            });
        },
        &format!("{options}.userns_options"),
    );
    let port = |host_port| crate::spec::PortMapping {
        protocol: crate::spec::Protocol::Tcp,
        container_port: 80,
        host_port,
        host_ip: String::new(),
    };
    refused(
        &|world| world.pod.port_mappings = vec![port(0), port(8080)],
        "port_mappings[1].host_port",
    );
    for key in ["net.ipv4.ip_forward", "net/ipv4/ip_forward"] {
        refused(
            &|world| _ = world.pod.sysctls.insert(key.into(), "1".into()),
            "linux.sysctls[",
        );
    }
    let mut world = with(&[("join-network", "default/web")]);
    world.pod.port_mappings = vec![port(0)];
    world
        .pod
        .sysctls
        .insert("kernel.msgmax".into(), "4096".into());
    assert!(world.build_pod().is_ok());
}

#[test]
fn clocks_are_the_pauses_and_containers_join_them() {
    let mut world = with(&[("time-offsets", "monotonic=-1500000000ns")]);
    let spec = world.build_pod().unwrap();
    assert_eq!(path_of(&spec, LinuxNamespaceType::Time), None);
    let offsets = spec
        .linux()
        .as_ref()
        .unwrap()
        .time_offsets()
        .clone()
        .unwrap();
    assert_eq!(offsets["monotonic"].secs(), Some(-2));
    assert_eq!(offsets["monotonic"].nanosecs(), Some(500_000_000));
    assert_eq!(offsets["boottime"].secs(), Some(0));
    let container = world.build().unwrap();
    assert_eq!(
        path_of(&container, LinuxNamespaceType::Time).as_deref(),
        Some("/proc/77/ns/time")
    );
    world.host.time_namespaces = false;
    let error = world.build_pod().unwrap_err();
    assert!(matches!(error, SpecError::Unsupported { .. }));
    assert!(error.to_string().contains("time-offsets"), "{error}");
}

#[test]
fn a_container_has_the_namespaces_that_it_is_told() {
    use LinuxNamespaceType::{Cgroup, Ipc, Uts};
    let mut world = with(&[("namespaces.web", "uts=own ipc=own cgroup=pod")]);
    let shared =
        |world: &World| [Uts, Ipc, Cgroup].map(|kind| path_of(&world.build().unwrap(), kind));
    let text = |path: &str| Some(path.to_owned());
    assert_eq!(
        shared(&world),
        [text("/proc/77/ns/uts"), text("/proc/77/ns/ipc"), None],
        "a container of another name"
    );
    world.container.metadata.name = "web".into();
    assert_eq!(shared(&world), [None, None, text("/proc/77/ns/cgroup")]);
    let spec = world.build().unwrap();
    let (kind, _, options) = mount_at(&spec, "/dev/shm");
    assert_eq!(kind, "tmpfs");
    assert!(options.contains(&"size=65536k".to_owned()));
    assert_eq!(path_of(&world.build_pod().unwrap(), Cgroup), None);

    let mut world = with(&[("namespaces.web", "cgroup=host")]);
    world.container.metadata.name = "web".into();
    assert_eq!(shared(&world)[2], text(""));
    assert_eq!(path_of(&world.build_pod().unwrap(), Cgroup), text(""));
}
