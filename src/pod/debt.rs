//! What could not be released is owed: recorded, shown, and tried again until it succeeds.
//!
//! A failing release never makes a stop or a removal fail for ever. Releasing is idempotent, so a debt is
//! just the pod that it belongs to; whatever of it is gone already costs nothing to try.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::PodError;
use super::node::{Node, blocking, now};
use super::record::PodRecord;
use super::state::PodPhase;
use super::{container, sandbox};
use crate::disk::{Dir, Durability, FileName, Record};
use crate::id::{ContainerId, PodId};

/// Version and largest size of a debt on disk.
const RECORD: Record<DebtRecord> = Record::new(1, 8 << 20);

/// Time between two rounds of trying: it grows with the debt's attempts, up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is owed for one pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DebtRecord {
    pod: PodRecord,
    containers: Vec<ContainerId>,
    reason: String,
    since: i64,
    attempts: u32,
}

/// A debt as people see it.
#[derive(Debug, Clone)]
pub struct Debt {
    /// The pod whose parts are still there.
    pub pod: PodId,
    /// Why the last attempt failed.
    pub reason: String,
    /// Since when: nanoseconds since the epoch.
    pub since: i64,
    /// How often it was tried again.
    pub attempts: u32,
}

/// All debts.
#[derive(Debug)]
pub(super) struct Debts {
    dir: Dir,
    owed: Mutex<BTreeMap<PodId, DebtRecord>>,
}

impl Debts {
    /// Reads the debts of an earlier daemon.
    pub fn open(run: &Dir) -> Result<Self, PodError> {
        let dir = run.create_subdir(&FileName::new("debts")?, 0o700)?;
        dir.sweep_temporaries()?;
        let mut owed = BTreeMap::new();
        for entry in dir.entries()? {
            match RECORD.load(&dir, &entry.name) {
                Ok(Some(debt)) => {
                    owed.insert(debt.pod.id, debt);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = super::chain(&error), "a debt cannot be read")
                }
            }
        }
        Ok(Self {
            dir,
            owed: Mutex::new(owed),
        })
    }

    fn owed(&self) -> MutexGuard<'_, BTreeMap<PodId, DebtRecord>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what a release left. No failures is no debt.
    pub fn owe(&self, pod: &PodRecord, containers: &[ContainerId], failures: Vec<PodError>) {
        let reasons: Vec<_> = failures
            .iter()
            .map(|failure| super::chain(failure))
            .collect();
        if reasons.is_empty() {
            return;
        }
        let reason = reasons.join("; ");
        tracing::warn!(pod = %pod.id, reason, "not everything could be released; it is tried again");
        let mut owed = self.owed();
        let debt = owed.entry(pod.id).or_insert_with(|| DebtRecord {
            pod: pod.clone(),
            containers: Vec::new(),
            reason: String::new(),
            since: now(),
            attempts: 0,
        });
        debt.reason = reason;
        debt.containers.extend(containers);
        debt.containers.sort();
        debt.containers.dedup();
        self.keep(debt);
    }

    fn keep(&self, debt: &DebtRecord) {
        let kept = FileName::new(debt.pod.id.to_string())
            .map_err(PodError::from)
            .and_then(|name| {
                RECORD
                    .store(&self.dir, &name, debt, Durability::Volatile)
                    .map_err(|error| PodError::State(super::record::StateError::Record(error)))
            });
        if let Err(error) = kept {
            tracing::error!(error = super::chain(&error), "a debt is not recorded");
        }
    }

    fn paid(&self, pod: PodId) {
        self.owed().remove(&pod);
        if let Ok(name) = FileName::new(pod.to_string())
            && let Err(error) = self.dir.remove_file(&name)
        {
            tracing::error!(error = super::chain(&error), "a paid debt is not forgotten");
        }
    }

    fn failed(&self, pod: PodId, reason: String) {
        if let Some(debt) = self.owed().get_mut(&pod) {
            debt.reason = reason;
            debt.attempts += 1;
            self.keep(debt);
        }
    }

    /// Whether anything is owed for a pod.
    pub fn is_owed(&self, pod: PodId) -> bool {
        self.owed().contains_key(&pod)
    }

    /// What is owed.
    pub fn list(&self) -> Vec<Debt> {
        let show = |debt: &DebtRecord| Debt {
            pod: debt.pod.id,
            reason: debt.reason.clone(),
            since: debt.since,
            attempts: debt.attempts,
        };
        self.owed().values().map(show).collect()
    }
}

/// Tries debts again for as long as the daemon lives.
pub(super) async fn collect(node: Arc<Node>) {
    loop {
        let fewest = node
            .debts
            .owed()
            .values()
            .map(|debt| debt.attempts)
            .min()
            .unwrap_or(0);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << fewest.min(8))
            .min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        let owed: Vec<_> = node.debts.owed().values().cloned().collect();
        for debt in owed {
            pay(&node, debt).await;
        }
    }
}

async fn pay(node: &Arc<Node>, debt: DebtRecord) {
    let entry = node.index.pod(&debt.pod.id.to_string());
    let known = entry.is_ok();
    // The debt's own copy of the pod is from before the stop had ended.
    let stopped = entry.is_ok_and(|entry| entry.snapshot.load().pod.phase == PodPhase::NotReady);
    let mut failures = Vec::new();
    if !known || stopped {
        failures.extend(sandbox::release(node, &debt.pod, debt.containers.clone(), None).await);
    }
    let (owner, copy) = (Arc::clone(node), debt.clone());
    let deleted = blocking(move || {
        let mut failures = Vec::new();
        for id in &copy.containers {
            if owner.index.container(&id.to_string()).is_err() {
                failures.extend(container::delete(&owner, &copy.pod, *id));
            }
        }
        if !known {
            failures.extend(owner.delete_pod_dir(copy.pod.id).err());
        }
        Ok(failures)
    });
    failures.extend(deleted.await.unwrap_or_else(|error| vec![error]));
    match failures.first() {
        None => node.debts.paid(debt.pod.id),
        Some(failure) => node.debts.failed(debt.pod.id, super::chain(failure)),
    }
}
