//! Files of the kernel that decide over the host.

use std::fs;

use e2e::evidence::{self, status};
use e2e::request::{container, idle};
use e2e::{BUSYBOX, Daemon};

use super::image;

/// What the kernel takes orders from is mounted read-only, and no container can mount it again.
#[test]
fn a_container_gives_the_kernel_no_orders() {
    let daemon = Daemon::start();
    let reference = image(&daemon, "orders", |_| {});
    let pod = daemon.run_named("orders");
    let run = pod
        .attempt(container("c", &reference, &["sleep", "1000"]))
        .unwrap();
    let info = run.sh("cat /proc/self/mountinfo");
    let mut seen = 0;
    for line in info.lines() {
        let point = line.split(' ').nth(4).unwrap();
        // The directory in which the hierarchies of version 1 lie is no file of the kernel.
        let kernels = !line.contains(" - tmpfs ");
        let orders = point.starts_with("/sys") || point.starts_with("/proc/sys");
        if orders && kernels {
            seen += 1;
            let options = line.split(' ').nth(5).unwrap();
            assert!(options.split(',').any(|option| option == "ro"), "{line}");
        }
    }
    assert!(seen >= 3, "{info}");
    // CAP_SYS_ADMIN is bit 21.
    let capabilities = u64::from_str_radix(&status(run.pid(), "CapBnd"), 16).unwrap();
    assert_eq!(capabilities >> 21 & 1, 0, "{capabilities:x}");
    for kind in ["tmpfs", "sysfs", "proc"] {
        let mounted = run.exec(&["mount", "-t", kind, "none", "/tmp"]);
        assert_ne!(mounted.code, 0, "{kind}: {mounted:?}");
    }
    let mounts = evidence::mounts(run.pid());
    assert!(
        mounts
            .iter()
            .all(|mount| mount.point.to_str() != Some("/tmp")),
        "{mounts:?}"
    );
}

/// What looks like two keys or two values is refused, and the host's values stay.
#[test]
fn a_sysctl_has_one_key_and_one_value() {
    let daemon = Daemon::start();
    let host = || fs::read_to_string("/proc/sys/kernel/msgmnb").unwrap();
    let before = host();
    let other: u64 = before.trim().parse::<u64>().unwrap() + 1;
    for (key, value) in [
        ("kernel.shm_rmid_forced", format!("1+kernel.msgmnb={other}")),
        (
            "kernel.shm_rmid_forced",
            format!("1\nkernel.msgmnb={other}"),
        ),
        ("kernel.shm_rmid_forced+kernel.msgmnb", other.to_string()),
        ("net/../kernel/msgmnb", other.to_string()),
    ] {
        let mut config = daemon.pod("sysctl");
        let sysctls = &mut config.linux.as_mut().unwrap().sysctls;
        sysctls.insert(key.to_owned(), value.clone());
        assert!(daemon.try_run(&config).is_err(), "{key}={value}");
    }
    assert_eq!(host(), before);
    daemon.provide(BUSYBOX);
    daemon.run_named("after").start(idle("c"));
}
