//! Paying debts in the background.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::DebtRecord;
use crate::pod::blocking::blocking;
use crate::pod::node::Node;
use crate::pod::state::PodPhase;
use crate::pod::{container, sandbox};

/// Debts that are tried at the same time: one that hangs does not hold up the others.
const MAX_PARALLEL_ATTEMPTS: usize = 8;

/// Tries debts again for as long as the daemon lives.
pub(in crate::pod) async fn collect(node: Arc<Node>) {
    let mut attempts = FuturesUnordered::new();
    loop {
        for debt in node
            .debts
            .take_due(Instant::now(), MAX_PARALLEL_ATTEMPTS - attempts.len())
        {
            attempts.push(pay(&node, debt));
        }
        let due = node
            .debts
            .next_due()
            .filter(|_| attempts.len() < MAX_PARALLEL_ATTEMPTS);
        tokio::select! {
            Some(()) = attempts.next(), if !attempts.is_empty() => {}
            () = node.debts.changed.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

async fn pay(node: &Arc<Node>, debt: DebtRecord) {
    let entry = node.index.pod(&debt.pod.id.to_string());
    // The debt's own copy of the pod is from before the stop had ended.
    let phase = entry.map(|entry| entry.snapshot.load().pod.phase).ok();
    let known = phase.is_some();
    let mut failures = Vec::new();
    match phase {
        // The pod's own task is at it, and may leave the same again.
        Some(PodPhase::Creating | PodPhase::Stopping | PodPhase::Removing) => {
            return node.debts.postpone(debt.pod.id);
        }
        // Only what was of removed containers is owed.
        Some(PodPhase::Ready) => {}
        Some(PodPhase::NotReady) | None => {
            failures.extend(sandbox::release(node, &debt.pod, debt.containers.clone(), None).await);
        }
    }
    let (owner, copy, released) = (Arc::clone(node), debt.clone(), failures.is_empty());
    let deleted = blocking(move || {
        let mut failures = Vec::new();
        for id in &copy.containers {
            if owner.index.container(&id.to_string()).is_err() {
                failures.extend(container::delete(&owner, &copy.pod, *id));
            }
        }
        if !known && released && failures.is_empty() {
            // What the debt was is paid, whether the disk has taken it or not.
            failures.extend(owner.forget_pod_dir(copy.pod.id).err());
        }
        Ok(failures)
    });
    failures.extend(deleted.await.unwrap_or_else(|error| vec![error]));
    node.debts.note_attempt(&debt, &failures, &node.boot_id);
    node.readiness.released(debt.pod.id);
}
