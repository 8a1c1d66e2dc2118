//! What could not be released is owed: recorded, shown, and tried again until it succeeds.
//!
//! ```text
//!   release fails ── owe ──▶ due in 2 s ── pay ──▶ paid: forgotten
//!                              ▲            │
//!        4 s, 8 s, … 5 min ────┴── failed ──┘        a new daemon: due at once
//! ```
//!
//! A pod's own record stays such that the next daemon releases the pod again until its debt is on disk
//! ([`Debts::secure`]).
//!
//! A failing release never makes a stop or a removal fail for ever. Releasing is idempotent, so a debt is
//! just the pod that it belongs to; whatever of it is gone already costs nothing to try. Debts are below
//! root_dir, because what network plugins keep outlives the machine's boot.

mod pay;

pub(super) use pay::collect;

use holdfast_kernel::error_chain;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::now;
use super::error::{ConnectError, PodError, StorageError};
use super::record::{PodRecord, StateError};
use holdfast_disk::{Dir, DirError, Durability, FileName, Record};
use holdfast_kernel::id::{ContainerId, PodId};

/// Version and largest size of a debt on disk.
const RECORD: Record<DebtRecord> = Record::new(1, 8 << 20);

/// Time between two attempts: it doubles with each, up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The debts of one pod, as on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DebtRecord {
    pod: PodRecord,
    containers: Vec<ContainerId>,
    /// Why the last attempt failed, by what is stuck.
    items: BTreeMap<DebtKind, String>,
    since: i64,
    attempts: u32,
}

/// The part of a pod that could not be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DebtKind {
    /// Its address, interface, ports, or what plugins keep of it.
    Network,
    /// The pin of its network namespace, or something mounted where files are to be deleted.
    Mount,
    /// Its cgroups or scope, and what may still run in them.
    Cgroup,
    Files,
    /// Whatever else failed: threads or memory of the daemon.
    Other,
}

impl DebtKind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Network,
        Self::Mount,
        Self::Cgroup,
        Self::Files,
        Self::Other,
    ];

    fn from_error(failure: &PodError) -> Self {
        match failure {
            PodError::Connect(ConnectError::Netns(_))
            | PodError::Storage(StorageError::Dir(DirError::MountPoint { .. })) => Self::Mount,
            PodError::Connect(
                ConnectError::Bridge(_) | ConnectError::Cni(_) | ConnectError::Loopback(_),
            ) => Self::Network,
            PodError::Placement(_) => Self::Cgroup,
            PodError::Storage(_) => Self::Files,
            PodError::Connect(
                ConnectError::Bandwidth(_)
                | ConnectError::NoNetwork(_)
                | ConnectError::Range(_)
                | ConnectError::HostIp(_),
            )
            | PodError::Lookup(_)
            | PodError::Refused(_)
            | PodError::Request(_)
            | PodError::Image(_)
            | PodError::HostPath(_)
            | PodError::Seccomp(_)
            | PodError::Spawn(_)
            | PodError::Launch(_)
            | PodError::System { .. }
            | PodError::Port { .. }
            | PodError::ExecTimeout(_)
            | PodError::Overtaken { .. } => Self::Other,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Cgroup => "cgroup",
            Self::Files => "files",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for DebtKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A debt as people see it.
#[derive(Debug, Clone)]
pub(crate) struct Debt {
    /// The pod whose parts are still there.
    pub pod: PodId,
    /// The part of the pod that is still there.
    pub kind: DebtKind,
    /// Why the last attempt failed.
    pub reason: String,
    /// Since when: nanoseconds since the epoch.
    pub since: i64,
    /// How often it was tried again.
    pub attempts: u32,
    /// When it is tried again: nanoseconds since the epoch.
    pub next_attempt: i64,
}

/// A debt, and when it is tried again.
#[derive(Debug)]
struct DebtEntry {
    record: DebtRecord,
    /// The disk has it as it is now.
    saved: bool,
    due: Instant,
    /// An attempt is under way.
    attempt_running: bool,
}

#[derive(Debug)]
pub(super) struct Debts {
    dir: Dir,
    owed: Mutex<BTreeMap<PodId, DebtEntry>>,
    changed: Notify,
    attempts: AtomicU64,
}

/// How long after so many attempts the next one comes.
fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << attempts.min(8))
        .min(LONGEST_PAUSE)
}

/// Failures by what is stuck.
fn items(failures: &[PodError]) -> BTreeMap<DebtKind, String> {
    let mut items = BTreeMap::new();
    for failure in failures {
        let text: &mut String = items.entry(DebtKind::from_error(failure)).or_default();
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&error_chain(failure));
    }
    items
}

impl Debts {
    /// Reads the debts of an earlier daemon. They are due at once.
    pub(super) fn open(root: &Dir) -> Result<Self, PodError> {
        let dir = root.create_subdir(&FileName::new("debts")?, 0o700)?;
        dir.sweep_temporaries()?;
        let mut owed = BTreeMap::new();
        for entry in dir.entries()? {
            match RECORD.load(&dir, &entry.name) {
                Ok(Some(record)) => {
                    let debt = DebtEntry {
                        record,
                        saved: true,
                        due: Instant::now(),
                        attempt_running: false,
                    };
                    owed.insert(debt.record.pod.id, debt);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = error_chain(&error), "cannot read a debt")
                }
            }
        }
        Ok(Self {
            dir,
            owed: Mutex::new(owed),
            changed: Notify::new(),
            attempts: AtomicU64::new(0),
        })
    }

    fn owed(&self) -> MutexGuard<'_, BTreeMap<PodId, DebtEntry>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what a release left. No failures is no debt.
    pub(super) fn record_debts(
        &self,
        pod: &PodRecord,
        containers: &[ContainerId],
        failures: Vec<PodError>,
    ) {
        if failures.is_empty() {
            return;
        }
        let items = items(&failures);
        tracing::warn!(pod = %pod.id, reason = ?items, "cannot release all parts of a pod; Holdfast tries again");
        let mut owed = self.owed();
        let debt = owed.entry(pod.id).or_insert_with(|| DebtEntry {
            record: DebtRecord {
                pod: pod.clone(),
                containers: Vec::new(),
                items: BTreeMap::new(),
                since: now(),
                attempts: 0,
            },
            saved: false,
            due: Instant::now() + FIRST_PAUSE,
            attempt_running: false,
        });
        debt.record.items.extend(items);
        debt.record.containers.extend(containers);
        debt.record.containers.sort();
        debt.record.containers.dedup();
        self.keep(debt);
        self.changed.notify_one();
    }

    /// Writes a debt. Until the disk takes it, [`Debts::secure`] keeps what else tells of it.
    fn keep(&self, debt: &mut DebtEntry) {
        if let Err(error) = self.store(debt) {
            tracing::error!(
                error = error_chain(&error),
                "cannot record a debt; it is kept in memory"
            );
        }
    }

    fn store(&self, debt: &mut DebtEntry) -> Result<(), PodError> {
        let name = FileName::new(debt.record.pod.id.to_string())?;
        // A power failure may take it: the plugins' own record is durable, and of the rest it leaves nothing
        // that could be owed.
        let stored = RECORD.store(&self.dir, &name, &debt.record, Durability::Volatile);
        debt.saved = stored.is_ok();
        stored.map_err(|error| PodError::Storage(StorageError::State(StateError::Record(error))))
    }

    /// Sees to it that what is owed for a pod is on disk. Whoever is about to write that nothing is to be done for
    /// the pod any more, or to delete its record, asks here first: a daemon that dies forgets what is only in its
    /// memory. No debt is success.
    ///
    /// # Errors
    /// [`StorageError::State`] when the disk refuses the debt.
    pub(super) fn secure(&self, pod: PodId) -> Result<(), PodError> {
        match self.owed().get_mut(&pod) {
            Some(debt) if !debt.saved => self.store(debt),
            _ => Ok(()),
        }
    }

    /// An attempt has ended.
    fn note_attempt(&self, tried: &DebtRecord, failures: &[PodError], boot_id: &str) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut owed = self.owed();
        let Some(debt) = owed.get_mut(&tried.pod.id) else {
            return;
        };
        debt.attempt_running = false;
        // What came on top meanwhile was not tried.
        let grown = debt.record.containers != tried.containers || debt.record.items != tried.items;
        let mut failures = items(failures);
        if failures.is_empty() && !grown {
            let Err(error) = self.forget(tried.pod.id) else {
                owed.remove(&tried.pod.id);
                return tracing::info!(pod = %tried.pod.id, "released what was still owed for a pod");
            };
            // Its record is all that is left of it.
            failures = items(&[error]);
        }
        debt.record.attempts += 1;
        debt.due = Instant::now() + pause(debt.record.attempts);
        debt.record.pod.boot_id = boot_id.to_owned();
        if !failures.is_empty() {
            debt.record.items = failures;
        }
        self.keep(debt);
    }

    fn forget(&self, pod: PodId) -> Result<(), PodError> {
        Ok(self.dir.remove_file(&FileName::new(pod.to_string())?)?)
    }

    /// No attempt was made after all.
    fn postpone(&self, pod: PodId) {
        if let Some(debt) = self.owed().get_mut(&pod) {
            debt.attempt_running = false;
            debt.due = Instant::now() + FIRST_PAUSE;
        }
    }

    /// The debts that are due, from now on being tried; at most so many.
    fn take_due(&self, now: Instant, most: usize) -> Vec<DebtRecord> {
        let mut owed = self.owed();
        let due = owed
            .values_mut()
            .filter(|debt| !debt.attempt_running && debt.due <= now);
        let take = |debt: &mut DebtEntry| {
            debt.attempt_running = true;
            debt.record.clone()
        };
        due.take(most).map(take).collect()
    }

    /// When the next debt is due.
    fn next_due(&self) -> Option<Instant> {
        let owed = self.owed();
        let waiting = owed.values().filter(|debt| !debt.attempt_running);
        waiting.map(|debt| debt.due).min()
    }

    /// Whether anything is owed for a pod.
    pub(super) fn is_owed(&self, pod: PodId) -> bool {
        self.owed().contains_key(&pod)
    }

    /// Pods of other boots for which something is owed.
    pub(super) fn of_other_boots(&self, boot_id: &str) -> Vec<PodId> {
        let owed = self.owed();
        let pods = owed.values().map(|debt| &debt.record.pod);
        pods.filter(|pod| pod.boot_id != boot_id)
            .map(|pod| pod.id)
            .collect()
    }

    /// How often debts were tried again since the daemon's start.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Lists all debts, the oldest first.
    pub(super) fn list(&self) -> Vec<Debt> {
        let mut list: Vec<Debt> = self.owed().values().flat_map(DebtEntry::show).collect();
        list.sort_by_key(|debt| (debt.since, debt.pod, debt.kind));
        list
    }
}

impl DebtEntry {
    fn show(&self) -> Vec<Debt> {
        let wait = self.due.saturating_duration_since(Instant::now());
        let next_attempt = now() + i64::try_from(wait.as_nanos()).unwrap_or(0);
        let DebtRecord {
            pod,
            items,
            since,
            attempts,
            ..
        } = &self.record;
        let show = |(kind, reason): (&DebtKind, &String)| Debt {
            pod: pod.id,
            kind: *kind,
            reason: reason.clone(),
            since: *since,
            attempts: *attempts,
            next_attempt,
        };
        items.iter().map(show).collect()
    }
}

#[cfg(test)]
mod tests;
