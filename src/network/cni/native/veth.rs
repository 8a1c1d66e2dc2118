//! The pair of interfaces that joins a pod to the host.

use nix::errno::Errno;

use super::error::NativeError;
use super::message;
use super::place::{self, Routes};
use super::pod::Pod;
use crate::cni::pod::INTERFACE;
use crate::link::{self, Link};
use crate::netlink::{Batch, NetlinkError};

/// How often another name is tried for the host's end.
const NAME_ATTEMPTS: usize = 10;

/// Makes a pair by the requests that `push` adds for a name of the host's end, and gives the name.
///
/// # Errors
/// [`NativeError`], also when the pod has such an interface.
pub(super) fn pair(
    host: &mut Routes,
    push: impl Fn(&mut Batch, &str),
) -> Result<String, NativeError> {
    for _ in 0..NAME_ATTEMPTS {
        let name = message::random_name()?;
        let mut batch = Batch::new();
        push(&mut batch, &name);
        match host.run(batch) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                if link::find(host, &name)?.is_none() {
                    return Err(NativeError::State(format!(
                        "the pod has an interface {INTERFACE} already; another plugin may have made it"
                    )));
                }
            }
            made => return Ok(made.map(|()| name)?),
        }
    }
    let why =
        "no name is free for the host's end of a veth pair; delete interfaces that begin with veth";
    Err(NativeError::State(why.to_owned()))
}

/// The link of a name, which has to be there.
///
/// # Errors
/// [`NativeError`], also when it is not.
pub(super) fn found(socket: &mut Routes, name: &str) -> Result<Link, NativeError> {
    let link = link::find(socket, name)?;
    link.ok_or_else(|| NativeError::State(format!("interface {name} is gone; somebody deleted it")))
}

/// Takes the host's end of the pod's interface down, off its bridge and marks it for deletion, which takes the kernel
/// some 20 ms. An interface whose other end is not on the host is deleted here.
///
/// # Errors
/// [`NativeError`]; it can be repeated.
pub(super) fn disconnect(pod: &Pod) -> Result<bool, NativeError> {
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
