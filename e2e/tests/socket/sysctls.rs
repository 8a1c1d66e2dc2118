//! Kernel parameters of a pod.

use cri_api::runtime::v1::NamespaceMode;
use e2e::request::{PodParts, idle};
use e2e::{Daemon, fails};
use std::fs;
use tonic::Code;

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
