//! Pods in the network namespace of another pod.
//!
//! ```text
//!   owner   READY ─────────────────────────▶ stopped: its interface, addresses and ports go
//!                     │ namespace, by the descriptor of the owner's shim
//!   joiner            └─▶ READY ──────────────────▶ READY, with the loopback interface only ──▶ stopped
//! ```
//!
//! A joiner has nothing of the network that would have to be released: no address, no interface, no pin. The
//! kernel keeps the namespace for as long as a process is in it. That a joiner's addresses are its owner's is
//! never recorded: readers get what holds at the moment ([`shown`]), whatever daemons and boots did meanwhile.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::entry::PodSnapshot;
use super::error::{ExperimentRefusal, LaunchError, PodError, RequestError};
use super::launch_error::{shim, unexpected};
use super::link::{LinkError, ShimLink};
use super::node::Node;
use super::record::PodRecord;

use super::state::PodPhase;
use crate::spec::experiments::PodReference;
use crate::spec::{NetMode, PodConfig};
use holdfast_kernel::id::PodId;
use holdfast_wire::{Reply, Request};

/// What was attempted, in errors.
const DOING: &str = "get the network namespace of the pod that is to be joined";

/// The pod that owns the network namespace which a request asks to join; none when it asks for none.
///
/// # Errors
/// [`ExperimentRefusal`]: there is no such pod, there are several, it is not ready, or has the host's network.
pub(super) fn owner(node: &Node, config: &PodConfig) -> Result<Option<PodId>, PodError> {
    let Some(wanted) = &config.experiments.join_network else {
        return Ok(None);
    };
    let refused = |reason| refused(wanted, reason);
    let mut found = find(node, wanted)?;
    if let Some(id) = found.pod.network_owner {
        // Its namespace is that of a third pod.
        let gone = || refused("the pod whose network it joined itself has ended");
        let entry = node.index.pod(&id.to_string()).map_err(|_| gone())?;
        found = entry.snapshot.load_full();
        if found.pod.phase != PodPhase::Ready {
            return Err(gone());
        }
    }
    if found.pod.config.namespaces.network == NetMode::Node {
        return Err(refused(
            "it has the node's network; ask for that with hostNetwork (namespace_options.network: NODE)",
        ));
    }
    Ok(Some(found.pod.id))
}

fn refused(wanted: &PodReference, reason: &'static str) -> PodError {
    let wanted = wanted.to_string();
    PodError::Request(RequestError::Experiment(ExperimentRefusal::Join {
        wanted,
        reason,
    }))
}

/// The ready pod that a reference means.
fn find(node: &Node, wanted: &PodReference) -> Result<Arc<PodSnapshot>, PodError> {
    let refused = |reason| refused(wanted, reason);
    match wanted {
        PodReference::Id(id) => {
            let unknown = |error| {
                PodError::Request(RequestError::Experiment(ExperimentRefusal::JoinId {
                    wanted: id.clone(),
                    source: error,
                }))
            };
            let entry = node.index.pod(id).map_err(unknown)?;
            let found = entry.snapshot.load_full();
            if found.pod.phase != PodPhase::Ready {
                return Err(refused("it is not ready; run it first"));
            }
            Ok(found)
        }
        PodReference::Name { namespace, name } => {
            let entries = node.index.pods();
            let ready = entries.iter().map(|entry| entry.snapshot.load_full());
            let mut named: Vec<_> = ready
                .filter(|pod| {
                    let metadata = &pod.pod.config.metadata;
                    pod.pod.phase == PodPhase::Ready
                        && metadata.namespace == *namespace
                        && metadata.name == *name
                })
                .collect();
            match (named.pop(), named.len()) {
                (Some(found), 0) => Ok(found),
                (Some(_), _) => Err(refused(
                    "several ready pods have that name; give the id of one",
                )),
                (None, _) => Err(refused("no ready pod has that name; run it first")),
            }
        }
    }
}

/// The network namespace that a pod joins, as the shim of its owner has it.
///
/// # Errors
/// The owner has ended meanwhile.
pub(super) async fn namespace(node: &Node, pod: &PodRecord) -> Result<Option<OwnedFd>, PodError> {
    let Some(owner) = pod.network_owner else {
        return Ok(None);
    };
    let entry = node.index.pod(&owner.to_string())?;
    let link: Option<Arc<ShimLink>> = entry.link.load_full();
    let link = link.ok_or(PodError::Launch(LaunchError::Shim {
        doing: DOING,
        source: LinkError::Closed,
    }))?;
    let mut answer = link
        .ask(Request::Inventory, &[])
        .await
        .map_err(shim(DOING))?;
    match (&answer.body, answer.descriptors.pop()) {
        (Reply::Inventory { pause: Some(_), .. }, Some(namespace)) => Ok(Some(namespace)),
        _ => Err(unexpected(DOING, &answer).into()),
    }
}

/// Whether the network namespace that a pod joined is connected to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Its owner is ready.
    Up,
    /// Its owner has ended: there is the loopback interface, and nothing else.
    Lost,
}

pub(super) fn connected(node: &Node, owner: PodId) -> (Connection, Vec<IpAddr>) {
    let found = node.index.pod(&owner.to_string());
    let snapshot = found.map(|entry| entry.snapshot.load_full());
    match snapshot {
        Ok(owner) if owner.pod.phase == PodPhase::Ready => (Connection::Up, owner.pod.ips.clone()),
        _ => (Connection::Lost, Vec::new()),
    }
}

/// A pod as readers are to see it: with the addresses that its network namespace has now.
pub(super) fn shown(node: &Node, snapshot: Arc<PodSnapshot>) -> Arc<PodSnapshot> {
    let Some(owner) = snapshot.pod.network_owner else {
        return snapshot;
    };
    let mut pod = (*snapshot.pod).clone();
    if pod.phase == PodPhase::Ready {
        pod.ips = connected(node, owner).1;
    }
    Arc::new(PodSnapshot {
        pod: Arc::new(pod),
        containers: snapshot.containers.clone(),
    })
}
