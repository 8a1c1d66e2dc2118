use std::collections::HashMap;

use oci_spec::runtime::{LinuxIdMappingBuilder, Mount};

use super::*;

fn pod(kinds: &[LinuxNamespaceType]) -> Spec {
    let mut spec = spec();
    let own = kinds.iter().map(|kind| namespace(*kind, None)).collect();
    linux(&mut spec).set_namespaces(Some(own));
    spec
}

fn plan(spec: &Spec) -> Result<holdfast_wire::plan::PausePlan, PlanError> {
    pause(spec, None, &FilterCache::default())
}

#[test]
fn namespaces_and_names() {
    let mut spec = pod(&[
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Uts,
    ]);
    spec.set_hostname(Some("box".into()));
    process(&mut spec)
        .set_oom_score_adj(Some(-998))
        .user_mut()
        .set_uid(65535);
    let plan = plan(&spec).unwrap();
    assert!(plan.new_net && plan.new_uts && !plan.new_ipc && !plan.new_pid);
    assert_eq!(plan.hostname.as_deref(), Some(c"box"));
    assert_eq!(
        (plan.uid, plan.oom_score_adj, plan.shm_bytes),
        (65535, Some(-998), 64 << 20)
    );
}

#[test]
fn sysctls_become_sorted_paths() {
    let mut spec = pod(&[LinuxNamespaceType::Network]);
    linux(&mut spec).set_sysctl(Some(HashMap::from([
        ("net.ipv4.ip_forward".into(), "1".into()),
        ("net/ipv4/conf/eth0.100/forwarding".into(), "0".into()),
        ("kernel.shm_rmid_forced".into(), "1".into()),
    ])));
    let plan = plan(&spec).unwrap();
    let paths: Vec<_> = plan
        .sysctls
        .iter()
        .map(|sysctl| sysctl.path.to_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "kernel/shm_rmid_forced",
            "net/ipv4/ip_forward",
            "net/ipv4/conf/eth0.100/forwarding"
        ]
    );
    for key in ["net/../kernel/core_pattern", "net..x", "plain", "/net/x"] {
        linux(&mut spec).set_sysctl(Some(HashMap::from([(key.into(), "1".into())])));
        assert!(
            super::pause(&spec, None, &FilterCache::default()).is_err(),
            "{key}"
        );
    }
}

/// Written in the order of their names, `ip_forward` would undo what is said of one interface.
#[test]
fn what_is_said_of_one_interface_is_written_last() {
    let wanted = [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv6/conf/all/disable_ipv6",
        "net/ipv4/conf/default/rp_filter",
        "net/ipv4/conf/aaa/forwarding",
        "net/ipv4/conf/eth0.100/rp_filter",
        "net/ipv6/conf/eth0/disable_ipv6",
    ];
    let mut spec = pod(&[LinuxNamespaceType::Network]);
    let given = wanted.map(|path| (path.to_owned(), "1".to_owned()));
    linux(&mut spec).set_sysctl(Some(HashMap::from(given)));
    let plan = plan(&spec).unwrap();
    let paths = plan
        .sysctls
        .iter()
        .map(|sysctl| sysctl.path.to_str().unwrap());
    assert_eq!(paths.collect::<Vec<_>>(), wanted);
}

#[test]
fn shared_memory_has_the_size_of_the_spec() {
    let mut spec = pod(&[LinuxNamespaceType::Ipc]);
    for (size, expected) in [
        ("65536k", Some(64 << 20)),
        ("1g", Some(1 << 30)),
        ("4096", Some(4096)),
        ("50%", None),
        ("0", None),
    ] {
        let mut shm = Mount::default();
        shm.set_destination("/dev/shm".into())
            .set_typ(Some("tmpfs".into()))
            .set_options(Some(vec![format!("size={size}")]));
        spec.set_mounts(Some(vec![shm]));
        assert_eq!(
            plan(&spec).ok().map(|plan| plan.shm_bytes),
            expected,
            "{size}"
        );
    }
}

#[test]
fn a_user_namespace_needs_its_mappings() {
    let mut spec = pod(&[LinuxNamespaceType::User]);
    assert!(plan(&spec).is_err());
    let map = LinuxIdMappingBuilder::default()
        .host_id(100_000_u32)
        .size(65536_u32)
        .build()
        .unwrap();
    linux(&mut spec)
        .set_uid_mappings(Some(vec![map]))
        .set_gid_mappings(Some(vec![map]));
    let user = plan(&spec).unwrap().user.unwrap();
    assert_eq!((user.uids[0].outside, user.gids[0].count), (100_000, 65536));
}

#[test]
fn what_a_pause_cannot_be() {
    let mut joined = pod(&[]);
    let ipc = namespace(LinuxNamespaceType::Ipc, Some("/proc/1/ns/ipc"));
    linux(&mut joined).set_namespaces(Some(vec![ipc]));
    assert!(plan(&joined).is_err());
    assert!(plan(&pod(&[LinuxNamespaceType::Time])).is_err());
    let mut named = pod(&[]);
    named.set_hostname(Some("box".into()));
    assert!(
        plan(&named)
            .unwrap_err()
            .to_string()
            .starts_with("hostname:")
    );
}
