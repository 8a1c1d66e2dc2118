//! Deletion of what nobody uses, and of what an interrupted process left.

use super::{Inner, StoreError};
use crate::disk::{Dir, DirError, EntryKind, FileName};
use crate::image::LayerName;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

/// The layers that have a directory.
pub(super) fn present_layers(layers: &Dir) -> Result<BTreeSet<LayerName>, DirError> {
    let entries = layers.entries()?;
    let directories = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory);
    Ok(directories
        .filter_map(|entry| entry.name.as_str()?.parse().ok())
        .collect())
}

impl Inner {
    /// Moves into the trash what no index knows, and empties the trash in the background.
    ///
    /// Moving is quick whatever is moved, so that a start does not wait for deletions.
    pub(super) fn sweep(self: &Arc<Self>, present: &BTreeSet<LayerName>) -> Result<(), StoreError> {
        let sweeping = StoreError::directory("sweep the leftovers of an earlier run");
        for entry in self.staging.entries().map_err(&sweeping)? {
            self.discard(&self.staging, &entry.name)
                .map_err(&sweeping)?;
        }
        for layer in present {
            if !self.snapshot().index.layers.contains_key(layer) {
                self.discard(&self.layers, &FileName::new(layer.as_str())?)
                    .map_err(&sweeping)?;
            }
        }
        self.empty_trash_in_background();
        Ok(())
    }

    /// Moves `name` out of `from` into the trash.
    pub(in crate::image) fn discard(&self, from: &Dir, name: &FileName) -> Result<(), DirError> {
        loop {
            let number = self.sequence.fetch_add(1, Ordering::Relaxed);
            let Ok(unique) = FileName::new(number.to_string()) else {
                return Ok(());
            };
            match from.rename_into(name, &self.trash, &unique) {
                // The trash of an earlier run has that number.
                Err(e) if e.is_already_exists() => {}
                Err(e) if e.is_not_found() => return Ok(()),
                other => return other,
            }
        }
    }

    /// Deletes what is in the trash on a thread of its own.
    pub(super) fn empty_trash_in_background(self: &Arc<Self>) {
        self.spawn("holdfast-sweep", |store| store.empty_trash());
    }

    /// Collects on a thread of its own, once collecting is allowed.
    pub(super) fn collect_in_background(self: &Arc<Self>) {
        if self.collecting.load(Ordering::Acquire) {
            self.spawn("holdfast-collect", |store| {
                if let Err(e) = store.collect_now() {
                    tracing::warn!(
                        error = &e as &dyn std::error::Error,
                        "cannot delete unused layers; trying again later"
                    );
                }
            });
        }
    }

    /// Deletes the layers and documents nobody uses.
    pub(super) fn collect_now(&self) -> Result<(), StoreError> {
        let retired = {
            let _writing = self.lock_writing();
            let snapshot = self.snapshot.load_full();
            let retired = self.lock_holds().retire(&snapshot.referenced());
            if !retired.is_empty() {
                let mut index = snapshot.index.clone();
                index.layers.retain(|name, _| !retired.contains(name));
                if let Err(e) = self.publish(index) {
                    let mut holds = self.lock_holds();
                    retired.into_iter().for_each(|layer| holds.add(layer));
                    return Err(e);
                }
            }
            self.remove_unused_documents()?;
            retired
        };
        for layer in &retired {
            let discarding = StoreError::directory("delete a layer");
            self.discard(&self.layers, &FileName::new(layer.as_str())?)
                .map_err(discarding)?;
        }
        self.empty_trash();
        Ok(())
    }

    /// To be called with `writing` held, so that no commit is between its documents and its index.
    fn remove_unused_documents(&self) -> Result<(), StoreError> {
        let removing = StoreError::directory("delete an unused document");
        let snapshot = self.snapshot();
        let used: BTreeSet<String> = snapshot
            .documents()
            .iter()
            .map(crate::image::Digest::hex)
            .collect();
        for entry in self.blobs.entries().map_err(&removing)? {
            if entry.name.as_str().is_none_or(|name| !used.contains(name)) {
                self.blobs.remove_tree(&entry.name).map_err(&removing)?;
            }
        }
        Ok(())
    }

    pub(super) fn lock_leftovers(&self) -> MutexGuard<'_, Vec<FileName>> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again to move what the disk has refused.
    fn discard_leftovers(&self) {
        let leftovers = std::mem::take(&mut *self.lock_leftovers());
        for name in leftovers {
            if self.discard(&self.staging, &name).is_err() {
                self.lock_leftovers().push(name);
            }
        }
    }

    /// Deletes what is in the trash; what cannot be deleted stays for the next time.
    fn empty_trash(&self) {
        self.discard_leftovers();
        let entries = match self.trash.entries() {
            Ok(entries) => entries,
            Err(e) => {
                return tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "cannot list the image trash"
                );
            }
        };
        for entry in entries {
            if let Err(e) = self.trash.remove_tree(&entry.name) {
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "cannot delete from the image trash"
                );
            }
        }
    }

    fn spawn(self: &Arc<Self>, name: &str, work: impl FnOnce(&Self) + Send + 'static) {
        let store = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&store));
        if let Err(e) = spawned {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "cannot start deleting; trying again later"
            );
        }
    }
}
