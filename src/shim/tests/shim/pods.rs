//! The pause and the shim's own life.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use holdfast_wire::*;

use crate::harness::*;
use holdfast_kernel::sys::pid::Pid;

#[test]
fn a_pause_holds_namespaces_and_goes_with_its_shim() {
    if !can_run() {
        return;
    }
    let harness = Harness::with_pause(|_| {});
    let pause = harness.pause_pid;
    let own = Pid::own();
    for name in ["net", "ipc", "uts", "mnt"] {
        assert_ne!(namespace(pause, name), namespace(own, name), "{name}");
    }
    for name in ["pid", "user", "cgroup"] {
        assert_eq!(namespace(pause, name), namespace(own, name), "{name}");
    }
    // The pause gives itself its name, and is known to run as soon as it is executed.
    wait_until("the pause has its name", || {
        fs::read_to_string(format!("/proc/{pause}/comm")).unwrap() == "holdfast-pause\n"
    });
    let status = fs::read_to_string(format!("/proc/{pause}/status")).unwrap();
    for expected in [
        "Uid:\t65535\t65535",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(expected), "{expected} in {status}");
    }
    assert_eq!(
        fs::read_dir(format!("/proc/{pause}/fd")).unwrap().count(),
        3
    );
    let mounts = fs::read_to_string(format!("/proc/{pause}/mounts")).unwrap();
    assert_eq!(mounts.lines().count(), 2, "{mounts}");
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", harness.shim_pid)).unwrap();
    assert_eq!(mounts.lines().count(), 3, "{mounts}");
    harness.shut_down();
}

#[test]
fn a_sysctl_that_does_not_exist_is_named() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::new();
    let mut plan = pause_plan();
    plan.sysctls[0].path = text("net/ipv4/nonsense");
    let Reply::Failed(failure) = harness.start_pause(&plan).0 else {
        panic!("it started");
    };
    assert_eq!(failure.step, Step::Sysctl);
    assert_eq!(failure.number(), Some(2));
    assert_eq!(failure.object.to_string(), "net/ipv4/nonsense=1");
    assert_eq!(harness.ask(Request::Shutdown, &[]).0, Reply::Done);
}

#[test]
fn a_network_made_ahead_is_the_one_that_the_pause_joins() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::new();
    let (reply, descriptors) = harness.ask(Request::MakeNetwork, &[]);
    assert_eq!((reply, descriptors.len()), (Reply::NetworkMade, 2));
    let made = fs::File::from(descriptors.into_iter().next().unwrap());
    let made = made.metadata().unwrap().ino();
    let Reply::Failed(failure) = harness.ask(Request::MakeNetwork, &[]).0 else {
        panic!("a second one was made");
    };
    assert_eq!(failure.step, Step::Admit);
    let mut plan = pause_plan();
    (plan.new_net, plan.join_net) = (false, true);
    let Reply::PauseStarted(report) = harness.start_pause(&plan).0 else {
        panic!("it did not start");
    };
    let inode = |pid| fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    assert_eq!(inode(report.pid), made);
    let own = Pid::own();
    assert_eq!(inode(report.shim_pid), inode(own), "the shim came back");
    assert_eq!(harness.ask(Request::Shutdown, &[]).0, Reply::Done);
}

#[test]
fn a_network_whose_pause_never_comes_goes_with_the_shim() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::new();
    let (reply, _) = harness.ask(Request::MakeNetwork, &[]);
    assert_eq!(reply, Reply::NetworkMade);
    let Reply::Identity(shim) = harness.ask(Request::Identify, &[]).0 else {
        panic!("the shim does not say who it is");
    };
    assert_eq!(harness.ask(Request::Shutdown, &[]).0, Reply::Done);
    wait_until("the shim is gone", || {
        !PathBuf::from(format!("/proc/{shim}")).exists()
    });
}
