//! Daemons of other releases than the shim's.

use std::fs;

use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::memfd;
use holdfast_wire::*;

use crate::harness::*;

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
    // Neither is a plan with a field of a later release carried out.
    let other = ContainerId::random().unwrap();
    let plan = harness.plan(other, "true");
    let mut bytes = encode_plan(Protocol::CURRENT, &plan).unwrap();
    bytes.extend([200, 1, 0, 0, 0, 1]);
    let file = memfd::create_sealed(c"plan", &bytes).unwrap();
    let start = Request::StartContainer {
        container: other,
        log: false,
        cgroup: Vec::new(),
    };
    let Reply::Failed(failure) = harness.ask(start, &[file]).0 else {
        panic!("it started");
    };
    assert_eq!(failure.step, Step::Plan, "{failure:?}");
    assert!(failure.to_string().contains("field 200"), "{failure:?}");
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    let Reply::Inventory { containers, .. } = harness.ask(Request::Inventory, &[]).0 else {
        panic!("no inventory");
    };
    assert_eq!(containers.len(), 1);
    harness.done(Request::Kill { container });
    harness.event();
    harness.shut_down();
}
