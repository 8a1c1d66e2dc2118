//! Both directions of the wire, plans and exits: what is read is written as it was read.

use holdfast_wire::plan::{ContainerPlan, ExecPlan, PausePlan};
use holdfast_wire::{
    FromShim, Greeting, Growing, Protocol, ToShim, decode, decode_exit, decode_plan, encode,
    encode_exit, encode_plan,
};

/// The first byte says what the rest is.
pub fn packet(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 7 {
        0 => {
            if let Ok((protocol, message)) = decode::<ToShim>(bytes) {
                let again = encode(protocol, &message).expect("it was a packet");
                assert_eq!(decode::<ToShim>(&again).expect("it was written").1, message);
                assert!(message.body.since() <= Protocol::CURRENT);
            }
        }
        1 => {
            if let Ok((protocol, message)) = decode::<FromShim>(bytes) {
                let again = encode(protocol, &message).expect("it was a packet");
                assert_eq!(
                    decode::<FromShim>(&again).expect("it was written").1,
                    message
                );
            }
        }
        2 => {
            if let Ok(event) = decode_exit(bytes) {
                let again = encode_exit(&event).expect("it was an event");
                assert_eq!(decode_exit(&again).expect("it was written"), event);
            }
        }
        3 => plan::<PausePlan>(bytes),
        4 => plan::<ContainerPlan>(bytes),
        5 => plan::<ExecPlan>(bytes),
        _ => {
            if let Ok(greeting) = Greeting::decode(bytes) {
                let again = Greeting::decode(&greeting.encode());
                assert_eq!(again.expect("it was written"), greeting);
            }
        }
    }
}

fn plan<T: Growing + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(plan) = decode_plan::<T>(bytes) {
        let again = encode_plan(Protocol::CURRENT, &plan).expect("it was a plan");
        assert_eq!(decode_plan::<T>(&again).expect("it was written"), plan);
    }
}
