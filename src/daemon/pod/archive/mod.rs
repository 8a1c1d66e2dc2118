//! Copies of the pods' records on the disk: what a reboot leaves of them.
//!
//! ```text
//!   task ── record ──▶ run_dir (tmpfs)        at once: the truth as long as the machine runs
//!     └── changed(id) ──▶ a moment later ──▶ draft, sync, rename ──▶ root_dir/pods/ID.json
//!   removal ── forget(id) ──▶ unlink          at once, before the record in run_dir goes
//! ```
//!
//! A pod and its containers are one file, written from the snapshot that readers see, so however much changed
//! in that moment is one write. Nobody waits for it: a daemon that dies before loses nothing, because run_dir
//! has it, and a pod that is gone by then never touches the disk. What a power failure can take is what
//! happened in the last moment; what it tears is as good as absent.
//!
//! This module must never decide what becomes of a pod: `recover` does.

mod keep;

pub(super) use keep::{flush_now, keep};

use holdfast_kernel::error_chain;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::entry::PodSnapshot;
use super::error::{PodError, StorageError};
use super::index::Index;
use super::record::{ContainerRecord, PodRecord, StateError};
use holdfast_disk::{Dir, Draft, FileName, FileNameError, Record, RecordError};
use holdfast_kernel::id::PodId;

/// Version and largest size of a file: a pod with some dozens of large containers.
const RECORD: Record<ArchivedPod> = Record::new(1, 64 << 20);
/// The ending of the names of pods' files.
const SUFFIX: &str = ".json";
/// Most pods of one write: they are in memory and have an open file each.
const PODS_PER_WRITE: usize = 64;

/// A pod as its file has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ArchivedPod {
    pub pod: Arc<PodRecord>,
    pub containers: Vec<Arc<ContainerRecord>>,
}

impl From<&PodSnapshot> for ArchivedPod {
    fn from(snapshot: &PodSnapshot) -> Self {
        Self {
            pod: Arc::clone(&snapshot.pod),
            containers: snapshot.containers.values().cloned().collect(),
        }
    }
}

/// The files of all pods.
#[derive(Debug)]
pub(super) struct Archive {
    dir: Dir,
    state: Mutex<ArchiveQueue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct ArchiveQueue {
    /// To be written, or deleted when there is no such pod any more.
    changed: BTreeSet<PodId>,
    /// Being written; a pod that is forgotten meanwhile leaves it.
    writing: BTreeSet<PodId>,
    /// Pods that have a file.
    kept: BTreeSet<PodId>,
}

fn file_name(id: PodId) -> Result<FileName, FileNameError> {
    FileName::new(format!("{id}{SUFFIX}"))
}

fn failed(error: RecordError) -> PodError {
    PodError::Storage(StorageError::State(StateError::Record(error)))
}

impl Archive {
    /// Opens the directory below `root`.
    pub(super) fn open(root: &Dir) -> Result<Self, PodError> {
        let dir = root.create_subdir(&FileName::new("pods")?, 0o700)?;
        dir.sweep_temporaries()?;
        let entries = dir.entries()?;
        let names = entries.iter().filter_map(|entry| entry.name.as_str());
        let ids = names.filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        let kept = ids.collect();
        Ok(Self {
            dir,
            state: Mutex::new(ArchiveQueue {
                kept,
                ..ArchiveQueue::default()
            }),
            wake: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, ArchiveQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all files. One that is torn or of another pod is deleted: there is nothing in it. Blocks.
    pub(super) fn load(&self) -> Result<BTreeMap<PodId, ArchivedPod>, PodError> {
        let mut found = BTreeMap::new();
        let kept = self.state().kept.clone();
        for id in kept {
            match RECORD.load(&self.dir, &file_name(id)?) {
                Ok(Some(archived)) if archived.pod.id == id => {
                    found.insert(id, archived);
                }
                Ok(_) => self.forget(id)?,
                Err(error @ RecordError::Damaged { .. }) => {
                    tracing::warn!(pod = %id, error = error_chain(&error), "cannot read the archived record of a pod");
                    self.forget(id)?;
                }
                // Written by a later release, or the disk fails: somebody else may be able to read it.
                Err(error) => {
                    tracing::error!(pod = %id, error = error_chain(&error), "cannot read the file of a pod")
                }
            }
        }
        Ok(found)
    }

    /// The snapshot of a pod was replaced.
    pub(super) fn changed(&self, id: PodId) {
        let mut state = self.state();
        let first = state.changed.is_empty();
        state.changed.insert(id);
        if first {
            self.wake.notify_one();
        }
    }

    /// Deletes a pod's file, if it has one, and lets no write that is under way bring it back.
    pub(super) fn forget(&self, id: PodId) -> Result<(), PodError> {
        let mut state = self.state();
        state.changed.remove(&id);
        state.writing.remove(&id);
        if state.kept.contains(&id) {
            self.dir.remove_file(&file_name(id)?)?;
            state.kept.remove(&id);
        }
        Ok(())
    }

    /// Writes what has changed until now, and makes it durable. Blocks.
    pub(super) fn flush(&self, index: &Index) -> Result<(), PodError> {
        let changed = {
            let mut state = self.state();
            let changed = std::mem::take(&mut state.changed);
            state.writing.extend(&changed);
            changed
        };
        let changed: Vec<_> = changed.into_iter().collect();
        let written = changed
            .chunks(PODS_PER_WRITE)
            .try_for_each(|batch| self.write(index, batch));
        let mut state = self.state();
        // What was not reached is as changed as before.
        let mut rest = std::mem::take(&mut state.writing);
        state.changed.append(&mut rest);
        written
    }

    fn write(&self, index: &Index, batch: &[PodId]) -> Result<(), PodError> {
        let mut written = Vec::new();
        let mut drafts = Vec::new();
        for id in batch {
            if !index.has_pod(*id) {
                self.forget(*id)?;
            } else if let Some(draft) = self.draft(index, *id)? {
                written.push(*id);
                drafts.push(draft);
            } else {
                self.state().writing.remove(id);
            }
        }
        if drafts.is_empty() {
            return Ok(());
        }
        self.dir.sync_drafts(&drafts)?;
        for (id, draft) in written.into_iter().zip(drafts) {
            let mut state = self.state();
            if state.writing.contains(&id) {
                draft.publish()?;
                state.writing.remove(&id);
                state.kept.insert(id);
            }
        }
        Ok(self.dir.sync()?)
    }

    /// The new content of a pod's file; none when the file has this content already.
    fn draft(&self, index: &Index, id: PodId) -> Result<Option<Draft<'_>>, PodError> {
        let Ok(entry) = index.pod(&id.to_string()) else {
            return Ok(None);
        };
        let name = file_name(id)?;
        let archived = ArchivedPod::from(&*entry.snapshot.load_full());
        let bytes = RECORD.encode(&self.dir, &name, &archived).map_err(failed)?;
        let known = self.state().kept.contains(&id);
        if known
            && self
                .dir
                .read_file(&name, bytes.len())
                .ok()
                .flatten()
                .as_ref()
                == Some(&bytes)
        {
            return Ok(None);
        }
        Ok(Some(self.dir.draft(&name, &bytes)?))
    }
}

#[cfg(test)]
mod tests;
