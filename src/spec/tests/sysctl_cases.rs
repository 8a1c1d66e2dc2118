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
        "kernel.domainname",
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
            .contains("shares the node's network namespace"),
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
