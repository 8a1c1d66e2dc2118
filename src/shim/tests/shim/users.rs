//! User namespaces, filters and what else privileges are about.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;

use holdfast_kernel::id::ContainerId;
use holdfast_wire::plan::*;
use holdfast_wire::*;

use crate::harness::*;

/// First host id of the pod's user namespace.
const BASE: u32 = 100_000;

fn mappings() -> IdMappings {
    let range = IdRange {
        inside: 0,
        outside: BASE,
        count: 65_536,
    };
    IdMappings {
        uids: vec![range],
        gids: vec![range],
    }
}

#[test]
fn a_pod_with_a_user_namespace_is_root_only_inside() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|plan| plan.user = Some(mappings()));
    let container = ContainerId::random().unwrap();
    let script = "id -u; stat -c '%u:%g' /bin/busybox /dev/shm /tmp; echo x > /tmp/x && stat -c %u /tmp/x;
        cat /proc/self/uid_map; echo y > /dev/null; ls -ln /dev/zero; touch /dev/shm/y; hostname; cat /proc/kcore; ls /sys/class/net; sleep 0.2";
    let mut plan = harness.plan(container, script);
    plan.user = Some(mappings());
    let upper = harness
        .directory
        .path()
        .join(container.short())
        .join("upper");
    chown(&upper, Some(BASE), Some(BASE)).unwrap();
    let (reply, _) = harness.start(container, &plan);
    let Reply::Started { pid, .. } = reply else {
        panic!("{reply:?}")
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(
        status.contains(&format!("Uid:\t{BASE}\t{BASE}")),
        "{status}"
    );
    assert_eq!(namespace(pid, "user"), namespace(harness.pause_pid, "user"));
    assert_eq!(harness.wait(container), ExitStatus::Code(0));
    let output = harness.log(container);
    assert!(output.starts_with("0\n0:0\n0:0\n0:0\n0\n"), "{output}");
    for expected in ["0     100000      65536", "the-pod", "\nlo\n"] {
        assert!(output.contains(expected), "{expected:?} not in {output}");
    }
    harness.shut_down();
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privileges() {
    if !can_run() {
        return;
    }
    // Every system call but uname(2), which fails with EACCES.
    let uname = u32::try_from(libc::SYS_uname).unwrap();
    let instructions: [(u16, u8, u8, u32); 4] = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, uname),
        (0x06, 0, 0, 0x0005_000d),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let mut program = Vec::new();
    for (code, yes, no, value) in instructions {
        program.extend(code.to_ne_bytes());
        program.extend([yes, no]);
        program.extend(value.to_ne_bytes());
    }
    let mut harness = Harness::with_pause(|_| {});
    for no_new_privileges in [true, false] {
        let container = ContainerId::random().unwrap();
        let mut plan = harness.plan(
            container,
            "grep NoNewPrivs /proc/self/status; uname; hostname",
        );
        plan.process.seccomp = Some(SeccompFilter {
            program: program.clone(),
            flags: 0,
        });
        plan.process.no_new_privileges = no_new_privileges;
        plan.process.uid = 1000;
        assert!(matches!(
            harness.start(container, &plan).0,
            Reply::Started { .. }
        ));
        harness.wait(container);
        let output = harness.log(container);
        assert!(
            output.contains(&format!("NoNewPrivs:\t{}", u8::from(no_new_privileges))),
            "{output}"
        );
        assert!(!output.contains("the-pod"), "{output}");
    }
    harness.shut_down();
}

#[test]
fn ambient_capabilities_reach_a_plain_user() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    let mut plan = harness.plan(container, "grep Cap /proc/self/status");
    let bind = 1 << 10;
    plan.process.uid = 1000;
    plan.process.capabilities = Capabilities {
        bounding: bind,
        effective: bind,
        permitted: bind,
        inheritable: bind,
        ambient: bind,
    };
    assert!(matches!(
        harness.start(container, &plan).0,
        Reply::Started { .. }
    ));
    harness.wait(container);
    let output = harness.log(container);
    assert_eq!(output.matches("0000000000000400").count(), 5, "{output}");
    harness.shut_down();
}

#[test]
fn what_the_machine_refuses_is_left_out_and_said() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    let mut plan = harness.plan(container, "true");
    // Above /proc/sys/fs/nr_open nobody may go.
    plan.process.rlimits = vec![(7, 1 << 40, 1 << 40)];
    let Reply::Started { degraded, .. } = harness.start(container, &plan).0 else {
        panic!()
    };
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    assert!(degraded[0].step == Step::Rlimit, "{degraded:?}");
    harness.shut_down();
}

#[test]
fn content_is_copied_up_into_a_new_file_system() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let layer = harness.directory.path().join("layer/data");
    fs::create_dir_all(layer.join("sub")).unwrap();
    write!(fs::File::create(layer.join("sub/file")).unwrap(), "content").unwrap();
    std::os::unix::fs::symlink("sub/file", layer.join("link")).unwrap();
    chown(layer.join("sub"), Some(7), Some(8)).unwrap();
    let container = ContainerId::random().unwrap();
    let mut plan = harness.plan(
        container,
        "cat /data/link; stat -c %u:%g:%F /data/sub; grep ' /data ' /proc/mounts",
    );
    let mut mount = new_mount("/data", "tmpfs", &[], 0);
    if let MountSource::New { copy_up, .. } = &mut mount.source {
        *copy_up = true;
    }
    plan.mounts.push(mount);
    assert!(matches!(
        harness.start(container, &plan).0,
        Reply::Started { .. }
    ));
    harness.wait(container);
    let output = harness.log(container);
    assert!(
        output.contains("content7:8:directory") && output.contains("tmpfs /data tmpfs"),
        "{output}"
    );
    harness.shut_down();
}
