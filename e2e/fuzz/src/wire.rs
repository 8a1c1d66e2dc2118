//! Both directions of the wire, plans and exits: what is read is written as it was read.

use holdfast_wire::plan::{
    ContainerPlan, ExecPlan, ExperimentContainerPlan, ExperimentPausePlan, PausePlan,
};
use holdfast_wire::{
    FromShim, Protocol, ToShim, decode, decode_exit, decode_plan, encode, encode_exit, encode_plan,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte says what the rest is.
pub fn packet(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
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
        5 => plan::<ExperimentPausePlan>(bytes),
        6 => plan::<ExperimentContainerPlan>(bytes),
        _ => plan::<ExecPlan>(bytes),
    }
}

fn plan<T>(bytes: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for protocol in [Protocol::OLDEST, Protocol::CURRENT] {
        if let Ok(plan) = decode_plan::<T>(protocol, bytes) {
            let again = encode_plan(protocol, &plan).expect("it was a plan");
            assert_eq!(
                decode_plan::<T>(protocol, &again).expect("it was written"),
                plan
            );
        }
    }
}
