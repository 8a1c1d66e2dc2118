//! CHECK: is a pod joined to the bridge as it was?

use std::time::Instant;

use serde_json::Value;

use super::config::Bridge;
use crate::cni::native::error::NativeError;
use crate::cni::native::joined::{Joined, shown};
use crate::cni::native::message;
use crate::cni::native::place;
use crate::cni::native::pod::Pod;
use crate::link;

/// Looks whether a pod is joined as its result says.
///
/// Two things make the programs fail that are no fault of the pod's network, and are not looked at here: the MAC address
/// of a bridge without its own, which is that of its lowest port, and a bridge whose frames somebody watches.
///
/// # Errors
/// [`NativeError`], also with what has changed.
pub(in crate::cni::native) fn check(
    config: &Bridge,
    (pod, result): (&Pod, &Value),
    deadline: Instant,
) -> Result<(), NativeError> {
    config.leases.check(pod, deadline)?;
    let joined = Joined(result);
    let mut host = place::socket()?;
    let wrong = |why: String| Err(NativeError::State(why));
    let name = &config.name;
    let bridge = match link::find(&mut host, name)? {
        Some(bridge) if bridge.kind == "bridge" => bridge,
        _ => return wrong(format!("bridge {name} is gone")),
    };
    if config.promiscuous && bridge.flags & message::PROMISCUOUS == 0 {
        return wrong(format!("bridge {name} is not promiscuous any more"));
    }
    let mut inside = place::enter(&place::open(&pod.netns)?, &pod.netns)?;
    let eth0 = joined.interface(&mut inside)?;
    let port = match eth0.peer {
        Some(index) => link::find_index(&mut host, index)?,
        None => None,
    };
    let is_port = |port: &link::Link| {
        let mut told = joined.on_host();
        let known = told.any(|(name, mac)| name == port.name && mac == shown(&port.mac));
        known && port.peer == Some(eth0.index) && port.bridge == Some(bridge.index)
    };
    if !port.is_some_and(|port| is_port(&port)) {
        return wrong(format!(
            "no port of bridge {name} leads to the pod any more"
        ));
    }
    joined.addresses(&mut inside, &eth0)
}
