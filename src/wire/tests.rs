use std::ffi::CString;

use super::plan::{IdMappings, IdRange, PausePlan, Sysctl};
use super::*;
use crate::id::ContainerId;

#[test]
fn a_message_survives_its_packet() {
    let container = ContainerId::random().unwrap();
    let sent = ToShim {
        id: 7,
        body: Request::Signal {
            container,
            signal: 15,
        },
    };
    let packet = encode(&sent).unwrap();
    assert_eq!(decode::<ToShim>(&packet).unwrap(), sent);
}

#[test]
fn other_versions_and_other_bytes_are_refused() {
    assert!(matches!(decode::<ToShim>(&[1]), Err(FrameError::Short(1))));
    assert!(matches!(
        decode::<ToShim>(&[9, 9, 0]),
        Err(FrameError::Version(0x0909))
    ));
    let mut packet = encode(&ToShim {
        id: 1,
        body: Request::Inventory,
    })
    .unwrap();
    packet.truncate(packet.len() - 1);
    assert!(matches!(
        decode::<ToShim>(&packet),
        Err(FrameError::Encoding(_))
    ));
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let object = "x".repeat(MAX_PACKET);
    let failure = Failure {
        step: Step::Exec,
        errno: 2,
        object,
    };
    let reply = FromShim::Reply {
        id: 1,
        body: Reply::Failed(failure),
    };
    assert!(matches!(encode(&reply), Err(FrameError::Large(_))));
}

#[test]
fn a_plan_survives_its_memfd() {
    let range = IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    let plan = PausePlan {
        new_net: true,
        new_ipc: true,
        new_uts: true,
        new_pid: false,
        user: Some(IdMappings {
            uids: vec![range],
            gids: vec![range],
        }),
        hostname: Some(CString::new("pod").unwrap()),
        sysctls: vec![Sysctl {
            path: CString::new("net/ipv4/ip_forward").unwrap(),
            value: CString::new("1").unwrap(),
        }],
        shm_bytes: 64 << 20,
        uid: 65_535,
        gid: 65_535,
        groups: vec![],
        seccomp: None,
        oom_score_adj: Some(-998),
    };
    let bytes = postcard::to_stdvec(&plan).unwrap();
    assert_eq!(postcard::from_bytes::<PausePlan>(&bytes).unwrap(), plan);
}
