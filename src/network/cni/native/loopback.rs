//! The plugin `loopback`: brings the interface `lo` of a pod up.

use serde_json::{Map, Value, json};

use super::error::NativeError;
use super::message::{self, Held};
use super::place;
use super::pod::Pod;
use crate::link::{self, LOOPBACK};
use crate::netlink::Batch;

const NAME: &str = "lo";

/// Whether this is all that a configuration says.
pub(super) fn holds(config: &Map<String, Value>) -> bool {
    let known = ["type", "name", "cniVersion", "prevResult"];
    config.keys().all(|key| known.contains(&key.as_str()))
}

/// Brings the interface up. The result is that of the plugin before, or else the interface's own.
///
/// # Errors
/// [`NativeError`], also for an address on it that no loopback has.
pub(super) fn add(pod: &Pod, previous: Option<&Value>) -> Result<Value, NativeError> {
    let netns = &pod.netns;
    let mut inside = place::enter(&place::open(netns)?, netns)?;
    let mut batch = Batch::new();
    link::push_loopback_up(&mut batch);
    inside.run(batch)?;
    let mut ips = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let found = message::addresses(&mut inside, (LOOPBACK, NAME), family)?;
        if let Some(other) = found.iter().find(|held| !held.ip.is_loopback()) {
            let wrong = other.ip;
            return Err(NativeError::State(format!(
                "interface lo has the address {wrong}, which is not one of a loopback; remove it"
            )));
        }
        ips.extend(found.first().map(address));
    }
    if let Some(previous) = previous {
        return Ok(previous.clone());
    }
    let interface = json!({ "name": NAME, "mac": "00:00:00:00:00:00", "sandbox": netns });
    Ok(json!({ "cniVersion": "1.0.0", "interfaces": [interface], "ips": ips }))
}

fn address(held: &Held) -> Value {
    json!({ "address": format!("{}/{}", held.ip, held.prefix), "interface": 0 })
}

/// Whether the interface is up still.
///
/// # Errors
/// [`NativeError`], also when it is not.
pub(super) fn check(pod: &Pod) -> Result<(), NativeError> {
    let mut inside = place::enter(&place::open(&pod.netns)?, &pod.netns)?;
    let up = link::find_index(&mut inside, LOOPBACK)?.is_some_and(|lo| lo.flags & link::UP != 0);
    up.then_some(())
        .ok_or_else(|| NativeError::State("interface lo of the pod is down".to_owned()))
}

/// Takes the interface down.
///
/// # Errors
/// [`NativeError`].
pub(super) fn del(pod: &Pod) -> Result<(), NativeError> {
    if pod.is_gone() {
        return Ok(());
    }
    let mut inside = place::enter(&place::open(&pod.netns)?, &pod.netns)?;
    let mut batch = Batch::new();
    message::push_down(&mut batch, LOOPBACK, NAME);
    Ok(inside.run(batch)?)
}
