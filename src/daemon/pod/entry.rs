//! A pod as the rest of the daemon reaches it: its snapshot for readers, and the way to its task.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, watch};

use super::command::Command;
use super::error::PodError;
use super::link::ShimLink;
use super::record::{ContainerRecord, PodRecord};
use holdfast_kernel::id::{ContainerId, PodId};

/// The state of a pod that readers see: immutable, replaced as a whole at every change.
#[derive(Debug, Clone)]
pub(crate) struct PodSnapshot {
    pub pod: Arc<PodRecord>,
    pub containers: BTreeMap<ContainerId, Arc<ContainerRecord>>,
}

/// The outcome of making a pod; `None` while it is under way.
pub(super) type CreationOutcome = Option<Result<(), Arc<PodError>>>;

#[derive(Debug)]
pub(super) struct PodEntry {
    pub id: PodId,
    pub snapshot: ArcSwap<PodSnapshot>,
    /// Requests to its task.
    pub mailbox: mpsc::UnboundedSender<Command>,
    /// How its making ended.
    pub creation_outcome: watch::Receiver<CreationOutcome>,
    /// Its shim, while there is one.
    pub link: ArcSwapOption<ShimLink>,
}

/// A new pod's place in the index, the requests that it will get and the word that it is made.
pub(super) fn new_entry(
    snapshot: PodSnapshot,
) -> (
    Arc<PodEntry>,
    mpsc::UnboundedReceiver<Command>,
    watch::Sender<CreationOutcome>,
) {
    let (sender, mailbox) = mpsc::unbounded_channel();
    let (told, made) = watch::channel(None);
    let entry = PodEntry {
        id: snapshot.pod.id,
        snapshot: ArcSwap::from_pointee(snapshot),
        mailbox: sender,
        creation_outcome: made,
        link: ArcSwapOption::empty(),
    };
    (Arc::new(entry), mailbox, told)
}
