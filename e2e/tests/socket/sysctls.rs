//! Kernel parameters of a pod.

use cri_api::runtime::v1::{IdMapping, NamespaceMode, PodSandboxConfig, UserNamespace};
use e2e::daemon::Options;
use e2e::request::{BUSYBOX, PodParts, idle};
use e2e::{Daemon, Pod, cni, fails, must, skip};
use std::fs;
use tonic::Code;

/// A request for a pod with these kernel parameters.
fn with(daemon: &Daemon, name: &str, sysctls: &[(&str, &str)]) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    for (key, value) in sysctls {
        config
            .linux()
            .sysctls
            .insert((*key).into(), (*value).into());
    }
    config
}

fn in_user_namespace(mut config: PodSandboxConfig) -> PodSandboxConfig {
    let range = IdMapping {
        host_id: 700_000,
        container_id: 0,
        length: 65_536,
    };
    config.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    });
    config
}

/// A dual-stack network gives its addresses before a pod's sysctls are set, as with containerd. When they came first,
/// the kernel refused the IPv6 address and the pod did not start.
#[test]
fn a_pod_may_turn_ipv6_off_on_a_network_that_has_it() {
    let daemon = Daemon::start();
    for (name, key) in [
        ("all", "net.ipv6.conf.all.disable_ipv6"),
        ("eth0", "net/ipv6/conf/eth0/disable_ipv6"),
    ] {
        let pod = daemon.run(with(&daemon, name, &[(key, "1")]));
        let network = pod.status().network.unwrap();
        let prefix = daemon.place.subnet4.trim_end_matches("0/24");
        assert!(network.ip.starts_with(prefix), "{network:?}");
        assert!(network.additional_ips.is_empty(), "{network:?}");
        let run = pod.start(idle("c"));
        assert_eq!(run.sh("ip -6 addr show eth0"), "", "{key}");
        run.sh(&format!("ping -c 1 -W 3 {prefix}1"));
    }
    // What is said of interfaces to come is not about eth0, which is there.
    let later = with(
        &daemon,
        "later",
        &[("net.ipv6.conf.default.disable_ipv6", "1")],
    );
    let later = daemon.run(later);
    assert!(later.ip6().starts_with("fd68:"), "{}", later.ip6());
    assert!(
        later
            .start(idle("c"))
            .sh("ip -6 addr show eth0")
            .contains(&later.ip6())
    );
}

/// `net.ipv4.conf.eth0` is there once the network is. What is said of one interface stands against what is said of
/// all of them, in whatever order the request has them.
#[test]
fn parameters_of_interfaces_stand() {
    let daemon = Daemon::start();
    let wanted = [
        ("net.ipv4.conf.eth0.rp_filter", "2"),
        ("net.ipv4.conf.eth0.forwarding", "0"),
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.default.arp_ignore", "1"),
        ("net.ipv6.conf.eth0.accept_ra", "0"),
        ("net.ipv6.conf.eth0.accept_dad", "0"),
        ("net.ipv6.conf.all.accept_redirects", "0"),
        ("net/ipv4/neigh/eth0/base_reachable_time_ms", "40000"),
        ("net.core.somaxconn", "777"),
        ("kernel.shm_rmid_forced", "1"),
    ];
    for user_namespace in [false, true] {
        let mut config = with(&daemon, "stand", &wanted);
        if user_namespace {
            config = in_user_namespace(config);
            config.metadata.as_mut().unwrap().name = "mapped".to_owned();
        }
        let pod = match daemon.try_run(&config) {
            Err(status) if user_namespace && status.code() == Code::FailedPrecondition => {
                skip!("user namespaces: {}", status.message())
            }
            // Asked for again, it is the same pod.
            _ => daemon.run(config),
        };
        let run = pod.start(idle("c"));
        for (key, value) in wanted {
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            assert_eq!(run.sh(&format!("cat {path}")).trim(), value, "{key}");
        }
        assert_eq!(
            run.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
                .trim(),
            if user_namespace { "1024" } else { "0" }
        );
        run.sh(&format!(
            "ping -c 1 -W 3 {}",
            daemon.place.subnet4.replace("0/24", "1")
        ));
    }
}

/// What is not there is said with the key, the value and where to look, and nothing is left of the pod.
#[test]
fn parameters_that_are_not_there_are_named() {
    let daemon = Daemon::start();
    for (key, value, words) in [
        (
            "net.ipv4.conf.eth1.rp_filter",
            "1",
            "no parameter of this name",
        ),
        (
            "net/ipv4/conf/eth0.100/rp_filter",
            "1",
            "no parameter of this name",
        ),
        ("net.ipv4.no_such_key", "1", "no parameter of this name"),
        ("net.ipv4.conf", "1", "group of parameters"),
        (
            "net.ipv4.ip_forward",
            "x",
            "give a value that the kernel takes",
        ),
        ("kernel.shmmax", "x", "give a value that the kernel takes"),
        ("fs.mqueue.no_such_key", "1", "no parameter of this name"),
    ] {
        let config = with(&daemon, "missing", &[(key, value)]);
        let said = fails(
            daemon.try_run(&config),
            Code::InvalidArgument,
            &["linux.sysctls[", words],
        );
        assert!(
            said.contains(&format!("{key:?}")) && said.contains(&format!("{value:?}")),
            "{said}"
        );
        assert!(daemon.pods().is_empty(), "{key}");
    }
}

/// `network.kind = "none"`: a pod has its own network namespace with lo alone.
#[test]
fn a_pod_without_a_network_has_its_parameters() {
    let daemon = Daemon::with(Options::default().set("network.kind", "none"));
    let wanted = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.lo.rp_filter", "2"),
        ("net.ipv6.conf.all.disable_ipv6", "1"),
    ];
    let run = daemon.run(with(&daemon, "lo", &wanted)).start(idle("c"));
    for (key, value) in wanted {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        assert_eq!(run.sh(&format!("cat {path}")).trim(), value, "{key}");
    }
    let absent = with(&daemon, "absent", &[("net.ipv4.conf.eth0.rp_filter", "1")]);
    fails(
        daemon.try_run(&absent),
        Code::InvalidArgument,
        &["net.ipv4.conf.eth0.rp_filter"],
    );
}

/// Plugins come first too, and what a plugin sets yields to the request.
#[test]
fn parameters_are_set_after_the_plugins() {
    let (daemon, plugins) = cni::start(Options::default());
    plugins.configure(
        "10-ptp.conflist",
        r#"{"cniVersion":"1.0.0","name":"ptp","plugins":[
          {"type":"ptp","ipam":{"type":"host-local","dataDir":"LEASES",
            "ranges":[[{"subnet":"10.96.0.0/24"}],[{"subnet":"fd96::/64"}]]}},
          {"type":"tuning","sysctl":{"net.core.somaxconn":"500","net.ipv4.conf.eth0.arp_ignore":"1"}}]}"#,
    );
    let wanted = [
        ("net.core.somaxconn", "600"),
        ("net.ipv4.conf.eth0.rp_filter", "2"),
        ("net.ipv6.conf.all.disable_ipv6", "1"),
    ];
    let pod = daemon.run(with(&daemon, "tuned", &wanted));
    let network = pod.status().network.unwrap();
    assert!(
        network.ip.starts_with("10.96.0.") && network.additional_ips.is_empty(),
        "{network:?}"
    );
    let run = pod.start(idle("c"));
    for (key, value) in wanted
        .into_iter()
        .chain([("net.ipv4.conf.eth0.arp_ignore", "1")])
    {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        assert_eq!(run.sh(&format!("cat {path}")).trim(), value, "{key}");
    }
    pod.remove();
    assert!(plugins.leased().is_empty(), "{:?}", plugins.leased());
}

/// Kubernetes 1.37 calls kernel.domainname namespaced (UTS); it has no field of its own.
#[test]
fn a_pod_has_a_domain_name_of_its_own() {
    let daemon = Daemon::start();
    let before = fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    let mut configs = vec![
        with(&daemon, "dotted", &[("kernel.domainname", "example.org")]),
        with(&daemon, "slashed", &[("kernel/domainname", "example.org")]),
    ];
    let mapped = in_user_namespace(with(
        &daemon,
        "mapped",
        &[("kernel.domainname", "example.org")],
    ));
    if daemon.try_run(&mapped).is_ok() {
        configs.push(mapped);
    }
    for config in configs {
        let run = daemon.run(config).start(idle("c"));
        assert_eq!(run.sh("cat /proc/sys/kernel/domainname"), "example.org\n");
    }
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/domainname").unwrap(),
        before
    );
    let long = with(&daemon, "long", &[("kernel.domainname", &"x".repeat(65))]);
    fails(
        daemon.try_run(&long),
        Code::InvalidArgument,
        &["kernel.domainname"],
    );
    let mut host = with(&daemon, "host", &[("kernel.domainname", "example.org")]);
    host.namespaces().network = NamespaceMode::Node.into();
    fails(
        daemon.try_run(&host),
        Code::InvalidArgument,
        &["kernel.domainname", "uts"],
    );
}

/// user.* are limits of a user namespace: set in a pod that has its own, refused in one that has the node's.
#[test]
fn a_user_namespace_has_limits_of_its_own() {
    let daemon = Daemon::start();
    let wanted = [
        ("user.max_user_namespaces", "3"),
        ("user/max_inotify_watches", "1000"),
        ("kernel.msgmax", "4096"),
        ("kernel.sem", "250\t32000\t32\t128"),
        ("fs.mqueue.msg_max", "20"),
    ];
    let plain = with(&daemon, "plain", &wanted);
    fails(
        daemon.try_run(&plain),
        Code::InvalidArgument,
        &["user", "user namespace"],
    );
    let config = in_user_namespace(with(&daemon, "limited", &wanted));
    if let Err(status) = daemon.try_run(&config)
        && status.code() == Code::FailedPrecondition
    {
        skip!("user namespaces: {}", status.message());
    }
    let run = daemon.run(config).start(idle("c"));
    for (key, value) in wanted {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        assert_eq!(run.sh(&format!("cat {path}")).trim(), value, "{key}");
    }
    let missing = in_user_namespace(with(&daemon, "missing", &[("user.no_such_limit", "1")]));
    fails(
        daemon.try_run(&missing),
        Code::InvalidArgument,
        &["user.no_such_limit", "no parameter of this name"],
    );
}

/// A limit that forbids the pod itself was told as a disk that is full, and INTERNAL. What is refused leaves nothing: the
/// leak check at the daemon's end looks.
#[test]
fn limits_that_forbid_the_pod_itself_are_told() {
    let daemon = Daemon::start();
    let probe = in_user_namespace(daemon.pod("probe"));
    if let Err(status) = daemon.try_run(&probe)
        && status.code() == Code::FailedPrecondition
    {
        skip!("user namespaces: {}", status.message());
    }
    daemon.provide(BUSYBOX);
    for (key, value, runs) in [
        ("user.max_mnt_namespaces", "0", false),
        ("user.max_mnt_namespaces", "1", false),
        ("user/max_mnt_namespaces", "0", false),
        ("user.max_cgroup_namespaces", "0", false),
        ("user.max_mnt_namespaces", "256", true),
        ("user.max_cgroup_namespaces", "1", true),
        ("user.max_user_namespaces", "0", true),
        ("user.max_net_namespaces", "0", true),
    ] {
        let name = format!("{}-{value}", key.replace(['.', '/', '_'], "-"));
        let config = in_user_namespace(with(&daemon, &name, &[(key, value)]));
        let made = daemon.try_run(&config).and_then(|id| {
            let pod = Pod {
                daemon: &daemon,
                id,
                config,
            };
            let started = pod.attempt(idle("c")).map(drop);
            pod.remove();
            started
        });
        if runs {
            must(&name, made);
        } else {
            let limit = format!("{key}={value}");
            fails(made, Code::FailedPrecondition, &[&limit, "at least 256"]);
        }
    }
}

#[test]
fn safe_parameters_are_set_in_the_pod_only() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("safe");
    let wanted = [
        ("kernel.shm_rmid_forced", "1"),
        ("net.ipv4.ip_local_port_range", "40000\t50000"),
        ("net.ipv4.tcp_syncookies", "0"),
        ("net/ipv4/ip_forward", "1"),
        ("kernel.msgmax", "4096"),
        ("fs.mqueue.msg_max", "25"),
        ("net.ipv4.ip_unprivileged_port_start", "1000"),
    ];
    for (key, value) in wanted {
        config.linux().sysctls.insert(key.into(), value.into());
    }
    let paths = wanted.map(|(key, _)| format!("/proc/sys/{}", key.replace('.', "/")));
    let before = paths
        .each_ref()
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let container = daemon.run(config).start(idle("c"));
    for ((_, value), path) in wanted.iter().zip(&paths) {
        assert_eq!(
            container.sh(&format!("cat {path}")).trim(),
            *value,
            "{path}"
        );
    }
    let after = paths
        .each_ref()
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    assert_eq!(after, before, "the host's changed");
}

#[test]
fn low_ports_and_ping_work_without_capabilities() {
    let daemon = Daemon::start();
    let container = daemon.run_named("defaults").start(idle("c"));
    assert_eq!(
        container.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"),
        "0\n"
    );
    assert_eq!(
        container
            .sh("cat /proc/sys/net/ipv4/ping_group_range")
            .trim(),
        "0\t2147483647"
    );
}

#[test]
fn unsafe_and_hostile_parameters_are_refused_with_their_name() {
    let daemon = Daemon::start();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let cases = [
        ("kernel.core_pattern", "|/tmp/x"),
        ("kernel.hostname", "other"),
        ("kernel.sysrq", "1"),
        ("vm.overcommit_memory", "1"),
        ("fs.file-max", "1"),
        ("net.ipv4.../../kernel.core_pattern", "x"),
        ("net/../kernel/core_pattern", "x"),
        ("net..ipv4", "1"),
        ("", "1"),
        (".", "1"),
        ("net", "1"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/tmp/x\n"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=x"),
        ("kernel.shm_rmid_forced\nkernel.core_pattern", "1"),
        ("kernel.shm_rmid_forced", "1\u{0}2"),
        ("no.such.parameter", "1"),
    ];
    for (key, value) in cases {
        let mut config = daemon.pod("unsafe");
        config.linux().sysctls.insert(key.into(), value.into());
        fails(daemon.try_run(&config), Code::InvalidArgument, &["sysctls"]);
    }
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        pattern
    );
    assert!(daemon.pods().is_empty());
}

#[test]
fn a_value_the_kernel_refuses_fails_with_the_key() {
    let daemon = Daemon::start();
    for (key, value) in [
        ("net.ipv4.ip_forward", "no-number"),
        ("net.ipv4.no_such_key", "1"),
    ] {
        let mut config = daemon.pod("kernel");
        config.linux().sysctls.insert(key.into(), value.into());
        let status = daemon.try_run(&config).unwrap_err();
        let spelled = key.replace('.', "/");
        assert!(
            status.message().contains(key) || status.message().contains(&spelled),
            "{status}"
        );
    }
    assert!(daemon.pods().is_empty());
}

#[test]
fn parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("host");
    config.namespaces().network = NamespaceMode::Node.into();
    config
        .linux()
        .sysctls
        .insert("net.ipv4.ip_forward".into(), "1".into());
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["net.ipv4.ip_forward", "network"],
    );
    let mut config = daemon.pod("host");
    config.namespaces().ipc = NamespaceMode::Node.into();
    config
        .linux()
        .sysctls
        .insert("kernel.shm_rmid_forced".into(), "1".into());
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["kernel.shm_rmid_forced", "ipc"],
    );
}
