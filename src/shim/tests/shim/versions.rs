//! Daemons of other releases than the shim's.

use std::fs;

use holdfast_kernel::id::ContainerId;
use holdfast_wire::*;

use crate::harness::*;

#[test]
fn a_daemon_of_the_oldest_version_is_served_in_it() {
    if !can_run() {
        return;
    }
    speak(Protocol::OLDEST);
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    harness.run(container, "echo ran; exit 3");
    let Event::Exited { status, .. } = harness.event() else {
        panic!("another event");
    };
    assert_eq!(status, ExitStatus::Code(3));
    let log = fs::read_to_string(harness.log_path(container)).unwrap();
    assert!(log.ends_with(" stdout F ran\n"), "{log}");
    harness.shut_down();
}

#[test]
fn what_is_not_understood_is_answered_and_changes_nothing() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    let pid = harness.run(container, "sleep 1000");
    let later = Protocol::CURRENT.number() + 1;
    let mut unknown = Protocol::CURRENT.number().to_le_bytes().to_vec();
    unknown.extend([9, 0x7f]);
    for packet in [&[1][..], &later.to_le_bytes(), &unknown] {
        harness.send_bytes(packet);
        let (
            FromShim::Reply {
                id: 0,
                body: Reply::Failed(failure),
            },
            _,
        ) = harness.receive()
        else {
            panic!("{packet:?} was understood");
        };
        assert_eq!(failure.step, Step::Admit);
    }
    // Neither is a plan of another version carried out.
    let plan = harness.plan(ContainerId::random().unwrap(), "true");
    speak(Protocol::OLDEST);
    let unmarked = plan_file(&plan);
    speak(Protocol::CURRENT);
    let exec = Request::StartContainer {
        container: ContainerId::random().unwrap(),
        log: false,
        cgroup: Vec::new(),
    };
    let Reply::Failed(failure) = harness.ask(exec, &[unmarked]).0 else {
        panic!("it started");
    };
    assert_eq!(failure.step, Step::Plan, "{failure:?}");
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    let Reply::Inventory { containers, .. } = harness.ask(Request::Inventory, &[]).0 else {
        panic!("no inventory");
    };
    assert_eq!(containers.len(), 1);
    harness.done(Request::Kill { container });
    harness.event();
    harness.shut_down();
}
