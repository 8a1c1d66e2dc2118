use proptest::prelude::*;

use super::*;

fn with(key: &str, value: &str) -> PodConfig {
    let mut pod = PodConfig::default();
    pod.sysctls.insert(key.into(), value.into());
    pod
}

fn accepted(key: &str, value: &str) -> bool {
    sysctl::for_pod(&with(key, value)).is_ok()
}

#[test]
fn namespaced_keys_in_both_spellings() {
    for key in [
        "kernel.shm_rmid_forced",
        "kernel/shmmax",
        "kernel.msgmax",
        "kernel.sem",
        "fs.mqueue.msg_max",
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.100/forwarding",
        "net.ipv4.conf.eth0/100.forwarding",
    ] {
        assert!(accepted(key, "1"), "{key}");
    }
    let both = sysctl::for_pod(&with("net.ipv4.conf.eth0/100.forwarding", "1")).unwrap();
    assert!(
        both.contains_key("net/ipv4/conf/eth0.100/forwarding"),
        "{both:?}"
    );
    let slashes = sysctl::for_pod(&with("net/ipv4/ip_forward", "1")).unwrap();
    assert_eq!(slashes["net.ipv4.ip_forward"], "1");
}

/// Keys of the host, openly or behind a path.
#[test]
fn keys_of_the_host_are_refused() {
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.shm..core_pattern",
        "kernel.shm/../core_pattern",
        "kernel.shmmax/../core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4//../kernel.core_pattern",
        "net.//.//.kernel.core_pattern",
        "kernel.hostname",
        "kernel/hostname",
        "kernel.domainname.x",
        "kernel.domain",
        "user",
        "users.max_user_namespaces",
        "vm.overcommit_memory",
        "fs.file-max",
        "kernel.semaphore",
        "kernel",
        "",
        ".",
        "/",
        "/net/ipv4/ip_forward",
        "net.ipv4.ip_forward\n",
        "net.ipv4.ip_forward=1+kernel.msgmnb",
        "net\0.x",
    ] {
        assert!(!accepted(key, "1"), "{key:?}");
    }
}

#[test]
fn values_are_printable_and_bounded() {
    assert!(accepted("net.ipv4.tcp_rmem", "4096\t87380 6291456"));
    // A second key is plain text to a typed value.
    assert!(accepted("kernel.shm_rmid_forced", "1+kernel.msgmnb=1"));
    for value in ["1\nkernel.msgmnb=1", "1\0", "\u{e9}", "\r"] {
        assert!(!accepted("kernel.shm_rmid_forced", value), "{value:?}");
    }
    assert!(!accepted("kernel.shm_rmid_forced", &"1".repeat(4096)));
}

#[test]
fn the_host_namespace_is_not_touched() {
    let mut pod = with("net.ipv4.ip_forward", "1");
    pod.namespaces.network = NetMode::Node;
    let error = sysctl::for_pod(&pod).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("in the node's network namespace"),
        "{error}"
    );
    let mut pod = with("fs.mqueue.msg_max", "1");
    pod.namespaces.ipc = IpcMode::Node;
    assert!(sysctl::for_pod(&pod).is_err());
}

#[test]
fn defaults_yield_to_the_request_and_to_host_network() {
    let plain = sysctl::for_pod(&PodConfig::default()).unwrap();
    assert_eq!(plain["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(plain["net.ipv4.ping_group_range"], "0 2147483647");
    let pod = with("net/ipv4/ip_unprivileged_port_start", "1024");
    let asked = sysctl::for_pod(&pod).unwrap();
    assert_eq!(asked["net.ipv4.ip_unprivileged_port_start"], "1024");
    assert_eq!(asked.len(), 2);
    let mut pod = PodConfig::default();
    pod.namespaces.network = NetMode::Node;
    assert!(sysctl::for_pod(&pod).unwrap().is_empty());
}

/// `kernel.domainname` was refused with the advice to use the field hostname, and every `user.*` as one of the node's.
/// Who accepts what: Kubernetes 1.37, component-helpers/node/util/sysctl (kernel.domainname is of the UTS namespace,
/// user.* of the user namespace); runc 1.5 takes user.* in a user namespace only; the CRI shares UTS with the network.
#[test]
fn each_namespace_of_the_pods_own_has_its_parameters() {
    let range = holdfast_wire::plan::IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    let userns = holdfast_wire::plan::IdMappings {
        uids: vec![range],
        gids: vec![range],
    };
    // Key, and whether a plain pod takes it, one with a user namespace, one on the host's network, one in the host's IPC.
    let table = [
        ("kernel.domainname", [true, true, false, true]),
        ("kernel/domainname", [true, true, false, true]),
        ("user.max_user_namespaces", [false, true, false, false]),
        ("user/max_inotify_watches", [false, true, false, false]),
        ("user.max_net_namespaces", [false, true, false, false]),
        ("kernel.shmall", [true, true, true, false]),
        ("kernel/msgmnb", [true, true, true, false]),
        ("kernel.sem", [true, true, true, false]),
        ("fs.mqueue.queues_max", [true, true, true, false]),
        ("fs/mqueue/msgsize_max", [true, true, true, false]),
        ("net.ipv4.ip_forward", [true, true, false, true]),
        ("net/ipv6/conf/eth0/accept_ra", [true, true, false, true]),
        ("kernel.hostname", [false, false, false, false]),
        ("kernel.pid_max", [false, false, false, false]),
    ];
    for (key, wanted) in table {
        let pods = [0, 1, 2, 3].map(|kind| {
            let mut pod = with(key, "1");
            match kind {
                1 => pod.namespaces.userns = Some(userns.clone()),
                2 => pod.namespaces.network = NetMode::Node,
                3 => pod.namespaces.ipc = IpcMode::Node,
                _ => {}
            }
            sysctl::for_pod(&pod)
        });
        for (pod, wanted) in pods.into_iter().zip(wanted) {
            assert_eq!(pod.is_ok(), wanted, "{key}: {pod:?}");
            if let Err(error) = pod {
                assert!(error.to_string().contains(key), "{error}");
            }
        }
    }
    let user = sysctl::for_pod(&with("user.max_user_namespaces", "1")).unwrap_err();
    assert!(
        user.to_string().contains("in the node's user namespace"),
        "{user}"
    );
}

#[test]
fn one_parameter_in_two_spellings_has_one_value() {
    let both = |second: &str| {
        let mut pod = with("net.ipv4.ip_forward", "1");
        pod.sysctls
            .insert("net/ipv4/ip_forward".into(), second.into());
        sysctl::for_pod(&pod)
    };
    assert_eq!(both("1").unwrap()["net.ipv4.ip_forward"], "1");
    let error = both("0").unwrap_err().to_string();
    assert!(
        error.contains("net.ipv4.ip_forward") && error.contains("net/ipv4/ip_forward"),
        "{error}"
    );
}

/// Addresses that a pod's own sysctls take away are not its addresses.
#[test]
fn a_pod_may_do_without_ipv6() {
    for (key, value, gone) in [
        ("net.ipv6.conf.all.disable_ipv6", "1", true),
        ("net/ipv6/conf/all/disable_ipv6", " 1", true),
        ("net.ipv6.conf.eth0.disable_ipv6", "2", true),
        ("net.ipv6.conf.all.disable_ipv6", "0", false),
        // It is for interfaces that come later.
        ("net.ipv6.conf.default.disable_ipv6", "1", false),
        ("net.ipv6.conf.lo.disable_ipv6", "1", false),
        ("net.ipv6.conf.all.disable_ipv6", "yes", false),
        ("net.ipv4.conf.all.rp_filter", "1", false),
    ] {
        let pod = with(key, value);
        assert_eq!(sysctl::disables_ipv6(&pod, "eth0"), gone, "{key}={value}");
    }
}

proptest! {
    /// Whatever is accepted stays below its own part of /proc/sys.
    #[test]
    fn no_key_climbs(tail in "[a-z./]{0,20}", head in "(net|kernel|kernel.sem|fs.mqueue)[./]") {
        if let Ok(all) = sysctl::for_pod(&with(&format!("{head}{tail}"), "1")) {
            for key in all.keys() {
                let path = if key.contains('/') { key.clone() } else { key.replace('.', "/") };
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{}", path);
                let inside = ["net/", "fs/mqueue/", "kernel/sem", "kernel/shm", "kernel/msg"];
                prop_assert!(inside.iter().any(|start| path.starts_with(start)), "{}", path);
            }
        }
    }
}
