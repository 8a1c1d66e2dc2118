//! DEL: a pod leaves the bridge.

use std::time::Instant;

use nix::errno::Errno;

use super::config::Bridge;
use crate::cni::native::error::NativeError;
use crate::cni::native::place;
use crate::cni::native::pod::Pod;
use crate::cni::native::rules::Rules;
use crate::cni::pod::INTERFACE;
use crate::link;
use crate::netlink::{Batch, NetlinkError};

/// Disconnects a pod, and says whether interfaces are left for the background to delete.
///
/// # Errors
/// [`NativeError`]; it can be repeated.
pub(in crate::cni::native) fn del(
    config: &Bridge,
    pod: &Pod,
    (deadline, rules): (Instant, &Rules),
) -> Result<bool, NativeError> {
    // First, as long as the thread is in the host's namespace.
    if let Some(masquerading) = &config.masquerading {
        masquerading.remove(&pod.id, rules)?;
    }
    let marked = if pod.is_gone() {
        false
    } else {
        disconnect(pod)?
    };
    config.leases.release(pod, deadline)?;
    Ok(marked)
}

/// Takes the host's end of the pod's interface down, off its bridge and marks it for deletion, which takes the kernel
/// some 20 ms. An interface whose other end is not on the host is deleted here.
fn disconnect(pod: &Pod) -> Result<bool, NativeError> {
    let mut host = place::socket()?;
    let namespace = place::open(&pod.netns)?;
    let mut inside = place::enter(&namespace, &pod.netns)?;
    let Some(eth0) = link::find(&mut inside, INTERFACE)? else {
        return Ok(false);
    };
    let peer = match eth0.peer.filter(|_| eth0.kind == "veth") {
        Some(index) => link::find_index(&mut host, index)?,
        None => None,
    };
    let is_other_end = |peer: &link::Link| peer.kind == "veth" && peer.peer == Some(eth0.index);
    let mut batch = Batch::new();
    if let Some(peer) = peer.filter(is_other_end) {
        link::push_mark_for_deletion(&mut batch, &peer.name);
        missing_is_fine(host.run(batch))?;
        return Ok(true);
    }
    link::push_delete(&mut batch, INTERFACE);
    missing_is_fine(inside.run(batch))?;
    Ok(false)
}

/// An interface that is gone already is what its removal is to reach.
fn missing_is_fine(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match outcome {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        other => other,
    }
}
