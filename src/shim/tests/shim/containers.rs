//! Containers: namespaces, root file system, privileges, ends.

use std::fs;
use std::os::fd::AsFd;

use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pidfd;
use holdfast_wire::plan::*;
use holdfast_wire::*;

use crate::harness::*;

fn id() -> ContainerId {
    ContainerId::random().unwrap()
}

#[test]
fn two_containers_share_net_ipc_uts_and_nothing_else() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let (first, second) = (id(), id());
    let a = harness.run(first, "sleep 60");
    let b = harness.run(second, "sleep 60");
    for name in ["net", "ipc", "uts"] {
        assert_eq!(
            namespace(a, name),
            namespace(harness.pause_pid, name),
            "{name}"
        );
        assert_eq!(namespace(a, name), namespace(b, name), "{name}");
    }
    for name in ["pid", "mnt", "cgroup"] {
        assert_ne!(namespace(a, name), namespace(b, name), "{name}");
        assert_ne!(
            namespace(a, name),
            namespace(harness.pause_pid, name),
            "{name}"
        );
    }
    harness.done(Request::Kill { container: first });
    assert_eq!(harness.wait(first), ExitStatus::Signal(9));
    harness.done(Request::Signal {
        container: second,
        signal: 9,
    });
    assert_eq!(harness.wait(second), ExitStatus::Signal(9));
    harness.shut_down();
}

#[test]
fn a_container_sees_its_own_world() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let script = "hostname; echo $$; echo $COLOUR; pwd; id -u; cat /proc/self/oom_score_adj; ls /proc/self/fd;
        ls /dev; cat /proc/kcore; ls /sys/firmware; echo 1 > /proc/sys/kernel/domainname; echo x > /dev/shm/x && echo shm;
        cat /etc/resolv.conf; touch /made && ls /made; stat -c %a /dev/null; echo err >&2; umask; cat /proc/self/cgroup | head -1
        grep -c . /proc/self/mountinfo; grep Cap /proc/self/status; exit 7";
    let (status, output) = harness.output(script);
    assert_eq!(status, ExitStatus::Code(7), "{output}");
    for expected in [
        "the-pod\n1\nblue\n/root\n0\n500\n0\n1\n2\n",
        "Read-only file system",
        "\nshm\n",
        "\n666\n",
        "\nerr\n",
        "\n0022\n",
        "CapBnd:\t00000000a80425fb",
        "CapInh:\t0000000000000000",
    ] {
        assert!(output.contains(expected), "{expected:?} not in {output}");
    }
    let hostname = fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert!(output.contains(hostname.trim()), "{output}");
    harness.shut_down();
}

#[test]
fn a_failed_step_names_step_errno_and_object() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let mut broken = |change: &dyn Fn(&mut ContainerPlan)| {
        let container = id();
        let mut plan = harness.plan(container, "true");
        change(&mut plan);
        match harness.start(container, &plan).0 {
            Reply::Failed(failure) => (
                failure.step,
                failure.number().unwrap(),
                failure.object.to_string(),
            ),
            other => panic!("{other:?}"),
        }
    };
    let missing = broken(&|plan| plan.process.candidates = vec![text("/bin/nonsense")]);
    assert_eq!(missing, (Step::Exec, libc::ENOENT, "/bin/sh".to_owned()));
    let missing = broken(&|plan| {
        plan.mounts
            .push(tree_mount("/data", TreeOrigin::Host, "/nowhere/data", 0))
    });
    assert_eq!(
        missing,
        (
            Step::HostPath,
            libc::ENOENT,
            "/nowhere/data on /data".to_owned()
        )
    );
    let missing = broken(&|plan| plan.mounts.push(new_mount("/data", "nonsensefs", &[], 0)));
    assert_eq!(
        missing,
        (Step::Mount, libc::ENODEV, "nonsensefs on /data".to_owned())
    );
    let missing = broken(&|plan| plan.lower.push(text("/store/nolayer")));
    assert_eq!(
        missing,
        (Step::Rootfs, libc::ENOENT, "/store/nolayer".to_owned())
    );
    let private = broken(&|plan| {
        let mut mount = tree_mount("/data", TreeOrigin::Store, "/store/layer", 0);
        mount.propagation = Propagation::Slave;
        plan.mounts.push(mount);
    });
    assert_eq!(
        private,
        (
            Step::HostPath,
            libc::EINVAL,
            "/store/layer on /data".to_owned()
        )
    );
    let directory = broken(&|plan| plan.process.cwd = text("/bin/busybox"));
    assert_eq!(
        directory,
        (
            Step::WorkingDirectory,
            libc::ENOTDIR,
            "/bin/busybox".to_owned()
        )
    );
    harness.shut_down();
}

#[test]
fn users_terminals_and_read_only_roots() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = id();
    let mut plan = harness.plan(container, "id; tty; touch /x; echo out > /dev/stdout; cat /proc/self/fdinfo/3; test -w /dev/console && echo console; ls -l /dev/console; sleep 0.1");
    plan.process.uid = 1000;
    plan.process.gid = 1001;
    plan.process.groups = vec![1001, 7];
    plan.process.terminal = true;
    plan.process.cwd = text("/a/new/directory");
    plan.process.capabilities.effective = 0;
    plan.process.capabilities.permitted = 0;
    plan.readonly_rootfs = true;
    let (reply, _) = harness.start(container, &plan);
    assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    harness.done(Request::Resize {
        container,
        exec: None,
        height: 30,
        width: 90,
    });
    assert_eq!(harness.wait(container), ExitStatus::Code(0));
    let output = harness.log(container);
    for expected in [
        "uid=1000 gid=1001 groups=7,1001",
        "/dev/pts/0",
        "Read-only file system",
        "\nout",
        "console",
    ] {
        assert!(output.contains(expected), "{expected:?} not in {output}");
    }
    harness.shut_down();
}

#[test]
fn pid_namespaces_are_the_pods_the_hosts_or_anothers() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|plan| plan.new_pid = true);
    let first = id();
    let mut plan = harness.plan(first, "sleep 60 & sleep 60");
    plan.pid = PidNamespace::Pod;
    let (reply, mut descriptors) = harness.start(first, &plan);
    let Reply::Started { pid, .. } = reply else {
        panic!("{reply:?}")
    };
    let first_process = descriptors.remove(0);
    assert_eq!(namespace(pid, "pid"), namespace(harness.pause_pid, "pid"));
    let own = id();
    let own_pid = harness.run(own, "sleep 60");
    assert_ne!(namespace(own_pid, "pid"), namespace(pid, "pid"));
    let target = id();
    let mut plan = harness.plan(target, "ps; sleep 60");
    plan.pid = PidNamespace::Container(own);
    let Reply::Started {
        pid: target_pid, ..
    } = harness.start(target, &plan).0
    else {
        panic!()
    };
    assert_eq!(namespace(target_pid, "pid"), namespace(own_pid, "pid"));
    let host = id();
    let mut plan = harness.plan(host, "echo $$");
    plan.pid = PidNamespace::Host;
    let Reply::Started { pid: host_pid, .. } = harness.start(host, &plan).0 else {
        panic!()
    };
    assert_eq!(harness.wait(host), ExitStatus::Code(0));
    assert_eq!(harness.log(host).trim(), host_pid.to_string());
    // The first process' end takes the one in the background with it, though their namespace lives on.
    pidfd::send_signal(first_process.as_fd(), 9).unwrap();
    assert_eq!(harness.wait(first), ExitStatus::Signal(9));
    let procs = harness
        .cgroup(CgroupSlot::Unified, &first.short())
        .join("cgroup.procs");
    wait_until("the cgroup is empty", || {
        fs::read_to_string(&procs).unwrap().is_empty()
    });
    harness.shut_down();
}

#[test]
fn an_exit_is_kept_for_the_next_daemon() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = id();
    harness.run(container, "sleep 0.2; echo last words; exit 3");
    harness.reconnect();
    let first = harness.event();
    harness.reconnect();
    assert_eq!(harness.event(), first);
    let Event::Exited {
        sequence, status, ..
    } = first
    else {
        panic!("{first:?}")
    };
    assert_eq!(status, ExitStatus::Code(3));
    assert_eq!(harness.log(container), "last words\n");
    let record = harness
        .directory
        .path()
        .join(format!("state/exit.{container}"));
    let record: Event = holdfast_wire::decode_exit(&fs::read(record).unwrap()).unwrap();
    assert_eq!(record, first);
    let Reply::Inventory { pause, containers } = harness.ask(Request::Inventory, &[]).0 else {
        panic!()
    };
    assert_eq!(pause.unwrap().pid, harness.pause_pid);
    assert_eq!(
        containers,
        [ContainerReport {
            container,
            phase: Phase::Exited
        }]
    );
    harness.done(Request::Acknowledge { sequence });
    harness.reconnect();
    harness.done(Request::Forget { container });
    let Reply::Inventory { containers, .. } = harness.ask(Request::Inventory, &[]).0 else {
        panic!()
    };
    assert_eq!(containers, []);
    harness.shut_down();
}

#[test]
fn a_start_that_lost_its_daemon_is_joined_by_the_next() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    for _ in 0..20 {
        let container = id();
        let plan = harness.plan(container, "echo once; sleep 100");
        harness.reconnect();
        let (request, descriptors) = harness.start_request(container, &plan);
        harness.send(request, &descriptors);
        harness.reconnect();
        // The new daemon's first request has the number that the old one's start had.
        let (answer, _) = harness.ask(Request::Inventory, &[]);
        assert!(matches!(answer, Reply::Inventory { .. }), "{answer:?}");
        let (first, _) = harness.start(container, &plan);
        let (second, _) = harness.start(container, &plan);
        assert!(matches!(first, Reply::Started { .. }), "{first:?}");
        assert_eq!(first, second);
        wait_until("its line", || harness.log(container) == "once\n");
    }
    harness.shut_down();
}

#[test]
fn shutdown_takes_running_containers_along() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let pid = harness.run(id(), "sleep 60");
    harness.shut_down();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
