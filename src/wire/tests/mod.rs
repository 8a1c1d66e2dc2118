mod growth;
mod recorded;

use proptest::prelude::*;

use super::plan::{ContainerPlan, ExecPlan, PausePlan};
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
fn a_message_survives_its_packet() {
    let sent = signal();
    let packet = encode(Protocol::CURRENT, &sent).unwrap();
    let received = decode::<ToShim>(&packet).unwrap();
    assert_eq!(received, (Protocol::CURRENT, sent));
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
fn daemon_and_shim_agree_on_the_newest_version_that_both_speak() {
    let Protocols {
        oldest: first,
        newest: last,
    } = Protocols::OWN;
    for (oldest, newest, common) in [
        (first, last, Ok(Protocol::CURRENT)),
        // A shim of a later release that still speaks ours.
        (last, last + 7, Ok(Protocol::CURRENT)),
        (last + 1, last + 7, Err(UnspokenProtocol(last + 1))),
        // A shim that never said what it speaks, as the records of no release have it.
        (0, 0, Err(UnspokenProtocol(0))),
    ] {
        let protocols = Protocols { oldest, newest };
        assert_eq!(protocols.common(), common, "{protocols}");
        let greeting = Greeting {
            protocols,
            user_namespace_problem: "no".to_owned(),
        };
        let packet = greeting.encode();
        let wanted = common.map(|_| greeting);
        assert_eq!(Greeting::decode(&packet), wanted, "{protocols}");
    }
    for packet in [&b""[..], b"mno", b"v\x01\0\x01"] {
        assert_eq!(Greeting::decode(packet), Err(UnspokenProtocol(0)));
    }
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let object = "x".repeat(MAX_PACKET);
    let failure = Failure::errno(Step::Exec, 2, object);
    let reply = FromShim::Reply {
        id: 1,
        body: Reply::Failed(failure),
    };
    assert!(matches!(
        encode(Protocol::CURRENT, &reply),
        Err(FrameError::Large(_))
    ));
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

    #[test]
    fn any_bytes_are_one_plan_or_an_error(
        fields in proptest::collection::vec((0..20_u8, proptest::collection::vec(any::<u8>(), 0..9)), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (number, value) in fields {
            bytes.push(number);
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend(value);
        }
        prop_assert!(survives::<PausePlan>(&bytes));
        prop_assert!(survives::<ContainerPlan>(&bytes));
        prop_assert!(survives::<ExecPlan>(&bytes));
    }
}

/// What can be read is written so that it is read again.
fn survives<T: Growing + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(plan) = decode_plan::<T>(bytes) else {
        return true;
    };
    let again = encode_plan(Protocol::CURRENT, &plan).unwrap();
    decode_plan::<T>(&again).unwrap() == plan
}
