//! The store itself: what its directory holds, what readers see, and how a new index becomes visible.

use super::error::StoreError;
use super::holds::Holds;
use super::settings::ImageSettings;
use super::verified::Verified;
use crate::index::{Index, RECORD, Snapshot};
use crate::unpack::Limits;
use arc_swap::ArcSwap;
use holdfast_disk::{Dir, FileName, LockFile};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The file name of the index.
pub(super) const INDEX: &str = "index.json";

/// Disk usage of the images on their file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsUsage {
    /// The directory the layers are in.
    pub path: PathBuf,
    /// The space of the layers, in bytes.
    pub used_bytes: u64,
    /// The files and directories of the layers.
    pub inodes_used: u64,
    /// When this was true.
    pub timestamp: SystemTime,
}

/// The images of this node on disk: the directories, the index, and the locks that order its writers.
#[derive(Debug)]
pub(crate) struct Store {
    pub root: Dir,
    pub layers: Dir,
    pub blobs: Dir,
    pub staging: Dir,
    pub trash: Dir,
    pub settings: ImageSettings,
    pub(super) snapshot: ArcSwap<Snapshot>,
    /// Held by whoever replaces the index; guards nothing but the order of the replacements.
    pub(super) writing: Mutex<()>,
    pub(super) holds: Mutex<Holds>,
    pub(super) verified: Verified,
    /// Whether all users of layers have been heard of since the start.
    pub(super) collecting: AtomicBool,
    pub(super) sequence: AtomicU64,
    /// Held by whoever empties the trash: the next one that returns knows that nothing of it is left.
    pub(super) emptying: Mutex<()>,
    /// A thread tries deletions again.
    pub(super) retrying: AtomicBool,
    /// Entries that the disk refused to move out of the staging directory.
    pub(super) leftovers: Mutex<Vec<FileName>>,
    pub(super) _lock: LockFile,
}

impl Store {
    /// The present state for readers.
    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The limits of one layer.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            entries: self.settings.max_layer_entries,
            bytes: self.settings.max_layer_bytes,
        }
    }

    /// Makes a new index durable, then visible. To be called with `writing` held.
    pub(super) fn publish(&self, index: Index) -> Result<(), StoreError> {
        let before = self.snapshot.load();
        RECORD.store(
            &self.root,
            &FileName::new(INDEX)?,
            &index,
            holdfast_disk::Durability::Synced,
        )?;
        let snapshot = Snapshot::build(index, &before, &self.blobs, &self.settings.pinned);
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Takes the lock that lets one thread at a time change the index.
    pub(super) fn lock_writing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The disk usage of the images. Cheap, because it comes from the records.
    pub(crate) fn fs_usage(&self) -> FsUsage {
        let snapshot = self.snapshot();
        let (used_bytes, inodes_used) = snapshot
            .index
            .layers
            .values()
            .fold((0, 0), |(bytes, inodes), layer| {
                (bytes + layer.bytes, inodes + layer.inodes)
            });
        FsUsage {
            path: self.layers.path().to_owned(),
            used_bytes,
            inodes_used,
            timestamp: SystemTime::now(),
        }
    }
}
