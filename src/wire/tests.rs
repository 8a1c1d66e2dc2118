use std::ffi::CString;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plan::{
    ClockOffsets, ExperimentPausePlan, IdMappings, IdRange, PausePlan, PauseSpecials, Sysctl,
};
use super::*;
use holdfast_kernel::id::ContainerId;

fn signal() -> ToShim {
    ToShim {
        id: 7,
        body: Request::Signal {
            container: ContainerId::random().unwrap(),
            signal: 15,
        },
    }
}

#[test]
fn a_message_survives_its_packet_in_each_version() {
    let sent = signal();
    for protocol in [Protocol::OLDEST, Protocol::CURRENT] {
        let packet = encode(protocol, &sent).unwrap();
        assert_eq!(decode::<ToShim>(&packet).unwrap(), (protocol, sent.clone()));
    }
}

#[test]
fn other_versions_and_other_bytes_are_refused() {
    let refused = |packet: &[u8]| decode::<ToShim>(packet).unwrap_err();
    assert!(matches!(refused(&[1]), FrameError::Short(1)));
    let next = Protocol::CURRENT.number() + 1;
    for number in [0, next, 0x0909] {
        let mut packet = encode(Protocol::CURRENT, &signal()).unwrap();
        packet[..2].copy_from_slice(&number.to_le_bytes());
        let error = refused(&packet);
        assert!(
            matches!(error, FrameError::Version(UnspokenProtocol(n)) if n == number),
            "{error:?}"
        );
    }
    let mut packet = encode(Protocol::CURRENT, &signal()).unwrap();
    packet.push(0);
    assert!(matches!(refused(&packet), FrameError::Trailing(1)));
    packet.truncate(packet.len() - 2);
    assert!(matches!(refused(&packet), FrameError::Encoding(_)));
}

#[test]
fn a_version_that_is_not_spoken_comes_with_the_remedy() {
    let newer = UnspokenProtocol(Protocol::CURRENT.number() + 1).to_string();
    assert!(
        newer.contains("start a newer holdfastd, or remove the pod"),
        "{newer}"
    );
    let older = UnspokenProtocol(0).to_string();
    assert!(
        older.contains("start the release before this one"),
        "{older}"
    );
}

#[test]
fn a_program_says_which_protocol_it_speaks() {
    let greeting = Greeting {
        protocol: Protocol::CURRENT,
        user_namespace_problem: "no".to_owned(),
    };
    assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
    let first = Greeting::decode(b"mno").unwrap();
    assert_eq!(
        (first.protocol, &*first.user_namespace_problem),
        (Protocol::FIRST, "no")
    );
    assert_eq!(Greeting::decode(b"v\xff\0"), Err(UnspokenProtocol(255)));
    assert_eq!(Greeting::decode(b""), Err(UnspokenProtocol(0)));
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
    assert!(matches!(
        encode(Protocol::CURRENT, &reply),
        Err(FrameError::Large(_))
    ));
}

#[test]
fn experiments_are_for_shims_that_know_them() {
    let pause = Request::StartExperimentPause { cgroup: vec![] };
    let container = Request::StartExperimentContainer {
        container: ContainerId::random().unwrap(),
        log: true,
        cgroup: vec![CgroupSlot::Unified],
    };
    for body in [pause, container] {
        assert_eq!(body.since(), Protocol::THIRD);
        let sent = ToShim { id: 1, body };
        let packet = encode(Protocol::THIRD, &sent).unwrap();
        assert_eq!(decode::<ToShim>(&packet).unwrap().1, sent);
    }
    assert_eq!(Request::Inventory.since(), Protocol::FIRST);
}

/// The plain plan and the special one are different types: neither is read as the other.
#[test]
fn a_plan_with_experiments_is_no_plain_one() {
    let plan = ExperimentPausePlan {
        base: pause_plan(),
        special: PauseSpecials {
            join_net: true,
            new_cgroup: false,
            time: Some(ClockOffsets {
                monotonic: (-3600, 0),
                boottime: (i64::MAX, 999_999_999),
            }),
        },
    };
    let bytes = encode_plan(Protocol::THIRD, &plan).unwrap();
    assert_eq!(
        decode_plan::<ExperimentPausePlan>(Protocol::THIRD, &bytes).unwrap(),
        plan
    );
    assert!(decode_plan::<PausePlan>(Protocol::THIRD, &bytes).is_err());
    let plain = encode_plan(Protocol::THIRD, &plan.base).unwrap();
    assert!(decode_plan::<ExperimentPausePlan>(Protocol::THIRD, &plain).is_err());
    assert!(
        bytes.starts_with(&plain),
        "the plain part has another shape"
    );
}

fn pause_plan() -> PausePlan {
    let range = IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    PausePlan {
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
    }
}

#[test]
fn a_plan_survives_its_memfd() {
    let plan = pause_plan();
    let [first, current] =
        [Protocol::FIRST, Protocol::CURRENT].map(|protocol| encode_plan(protocol, &plan).unwrap());
    assert_eq!(
        decode_plan::<PausePlan>(Protocol::FIRST, &first).unwrap(),
        plan
    );
    assert_eq!(
        decode_plan::<PausePlan>(Protocol::CURRENT, &current).unwrap(),
        plan
    );
    for (protocol, bytes) in [(Protocol::FIRST, current), (Protocol::CURRENT, first)] {
        assert!(decode_plan::<PausePlan>(protocol, &bytes).is_err());
    }
}

/// The conversation that a version is: its bytes go on meaning the same.
#[test]
fn a_recorded_conversation_of_protocol_1_means_what_it_did() {
    means_what_it_did(Protocol::FIRST);
}

#[test]
fn a_recorded_conversation_of_protocol_4_means_what_it_did() {
    means_what_it_did(Protocol::FOURTH);
}

#[test]
fn a_recorded_conversation_of_protocol_3_means_what_it_did() {
    means_what_it_did(Protocol::THIRD);
}

fn means_what_it_did(protocol: Protocol) {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/recorded/protocol-{protocol}.txt");
    let recorded = std::fs::read_to_string(path).unwrap();
    let mut now = String::new();
    for line in recorded.lines().filter(|line| !line.starts_with("= ")) {
        now.push_str(line);
        now.push('\n');
        let Some((direction, packet)) = line.split_once(' ').filter(|(mark, _)| *mark != "#")
        else {
            continue;
        };
        let packet = hex::decode(packet.split(' ').next().unwrap()).unwrap();
        let (meaning, again) = match direction {
            ">" => reread::<ToShim>(protocol, &packet),
            _ => reread::<FromShim>(protocol, &packet),
        };
        assert_eq!(again, packet, "{line}");
        now.push_str(&format!("= {meaning}\n"));
    }
    assert_eq!(now, recorded, "it is now:\n{now}");
}

/// What a packet of a version says, and its bytes when it is written anew.
fn reread<T: Serialize + DeserializeOwned + std::fmt::Debug>(
    wanted: Protocol,
    packet: &[u8],
) -> (String, Vec<u8>) {
    let (protocol, message) = decode::<T>(packet).unwrap();
    assert_eq!(protocol, wanted);
    let again = encode(protocol, &message).unwrap();
    (format!("{message:?}"), again)
}

proptest! {
    /// What another release, or a broken one, may send.
    #[test]
    fn any_bytes_are_one_message_or_an_error(
        kind in 0..4_u16, body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let packet = [&kind.to_le_bytes()[..], &body].concat();
        if let Ok((protocol, message)) = decode::<ToShim>(&packet) {
            let again = encode(protocol, &message).unwrap();
            prop_assert_eq!(decode::<ToShim>(&again).unwrap(), (protocol, message));
        }
        if let Ok((protocol, message)) = decode::<FromShim>(&packet) {
            let again = encode(protocol, &message).unwrap();
            prop_assert_eq!(decode::<FromShim>(&again).unwrap(), (protocol, message));
        }
    }
}
