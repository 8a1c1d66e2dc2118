//! Files of the kernel that decide over the host.

use std::fs;

use e2e::program::sh;
use e2e::request::{container, idle};
use e2e::{BUSYBOX, Daemon};

use super::image;

/// The programs that the kernel calls when a cgroup of version 1 is empty.
fn release_agents() -> String {
    sh("cat /sys/fs/cgroup/*/release_agent 2>/dev/null || true")
}

/// CVE-2022-0492: with a cgroup hierarchy of version 1, a container wrote the program that the kernel starts on
/// the host as root when a cgroup is empty.
#[test]
fn cve_2022_0492_no_container_writes_a_release_agent() {
    let daemon = Daemon::start();
    let reference = image(&daemon, "agent", |_| {});
    let pod = daemon.run_named("agent");
    let before = release_agents();
    let script = "
        for file in $(find / -xdev -name release_agent 2>/dev/null; find /sys/fs/cgroup -name release_agent); do
            (echo /tmp/evil >$file) 2>/dev/null && echo wrote $file
        done
        for controller in memory pids cpu devices rdma misc; do
            mkdir -p /tmp/$controller
            unshare -UrmC sh -c \"mount -t cgroup -o $controller none /tmp/$controller &&
                echo /tmp/evil >/tmp/$controller/release_agent && echo wrote $controller\" 2>/dev/null
            (mount -t cgroup -o $controller none /tmp/$controller &&
                echo /tmp/evil >/tmp/$controller/release_agent && echo wrote $controller) 2>/dev/null
        done
        echo tried";
    let run = pod
        .attempt(container("c", &reference, &["sleep", "1000"]))
        .unwrap();
    assert_eq!(run.sh(script), "tried\n");
    assert_eq!(release_agents(), before);
}

/// CVE-2022-0811: a sysctl's value carried a second sysctl, which was the host's.
#[test]
fn cve_2022_0811_a_value_smuggles_no_second_key() {
    let daemon = Daemon::start();
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = pattern();
    for (key, value) in [
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/tmp/evil"),
        (
            "kernel.shm_rmid_forced",
            "1\nkernel.core_pattern=|/tmp/evil",
        ),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "|/tmp/evil"),
        (
            "net.ipv4.ip_forward/../../kernel/core_pattern",
            "|/tmp/evil",
        ),
        ("net/../kernel/core_pattern", "|/tmp/evil"),
        ("kernel.core_pattern", "|/tmp/evil"),
    ] {
        let mut config = daemon.pod("sysctl");
        config
            .linux
            .as_mut()
            .unwrap()
            .sysctls
            .insert(key.to_owned(), value.to_owned());
        assert!(daemon.try_run(&config).is_err(), "{key}={value}");
    }
    assert_eq!(pattern(), before);
    daemon.provide(BUSYBOX);
    daemon.run_named("after").start(idle("c"));
}
