//! Deletes layers and documents that no image uses, and what an interrupted process left.

use super::error::StoreError;
use super::root::Store;
use crate::digest::Digest;
use crate::image::LayerName;
use holdfast_disk::{Dir, DirError, EntryKind, FileName};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// First and longest pause before a deletion is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Tries to delete until nothing is left to be deleted. Between two attempts it does not keep the store open.
fn clean_until_done(weak: &Weak<Store>, store: Arc<Store>) {
    drop(store);
    let mut pause = PAUSES.0;
    loop {
        std::thread::sleep(pause);
        let Some(store) = weak.upgrade() else { return };
        // Whoever fails from here on tries again by itself.
        store.retrying.store(false, Ordering::Release);
        if store.clean_again().is_ok() || store.retrying.swap(true, Ordering::AcqRel) {
            return;
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

impl Store {
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
    pub(crate) fn discard(&self, from: &Dir, name: &FileName) -> Result<(), DirError> {
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
        self.clean("holdfast-sweep", Self::empty_trash);
    }

    /// Collects on a thread of its own, once collecting is allowed.
    pub(super) fn collect_in_background(self: &Arc<Self>) {
        if self.collecting.load(Ordering::Acquire) {
            self.clean("holdfast-collect", Self::collect_now);
        }
    }

    /// Allows deletions, and deletes in the background what no image and no hold uses.
    pub(crate) fn collect(self: &Arc<Self>) {
        self.collecting.store(true, Ordering::Release);
        self.collect_in_background();
    }

    /// Removes an image with all its names, given any of them. Blocks.
    pub(crate) fn remove(self: &Arc<Self>, any: &str) -> Result<(), StoreError> {
        {
            let _writing = self.lock_writing();
            let snapshot = self.snapshot.load_full();
            let Some(image) = snapshot.resolve(any) else {
                return Ok(());
            };
            let mut index = snapshot.index.clone();
            index.forget(&image.id);
            self.publish(index)?;
        }
        self.collect_in_background();
        Ok(())
    }

    /// Deletes the layers and documents nobody uses.
    pub(super) fn collect_now(&self) -> Result<(), StoreError> {
        {
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
            self.discard_unused_layers()?;
            self.remove_unused_documents()?;
        }
        self.empty_trash()
    }

    /// Moves the layers that no index knows into the trash. To be called with `writing` held.
    fn discard_unused_layers(&self) -> Result<(), StoreError> {
        let discarding = StoreError::directory("delete a layer");
        let snapshot = self.snapshot();
        for layer in present_layers(&self.layers).map_err(&discarding)? {
            if !snapshot.index.layers.contains_key(&layer) {
                self.discard(&self.layers, &FileName::new(layer.as_str())?)
                    .map_err(&discarding)?;
            }
        }
        Ok(())
    }

    /// To be called with `writing` held, so that no commit is between its documents and its index.
    fn remove_unused_documents(&self) -> Result<(), StoreError> {
        let removing = StoreError::directory("delete an unused document");
        let snapshot = self.snapshot();
        let used: BTreeSet<String> = snapshot.documents().iter().map(Digest::hex).collect();
        for entry in self.blobs.entries().map_err(&removing)? {
            if entry.name.as_str().is_none_or(|name| !used.contains(name)) {
                self.blobs.remove_tree(&entry.name).map_err(&removing)?;
            }
        }
        Ok(())
    }

    /// Locks the list of entries that could not be moved.
    pub(super) fn lock_leftovers(&self) -> MutexGuard<'_, Vec<FileName>> {
        self.leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again to move what the disk has refused. Gives the first refusal, after all were tried.
    fn discard_leftovers(&self) -> Result<(), DirError> {
        let leftovers = std::mem::take(&mut *self.lock_leftovers());
        let mut outcome = Ok(());
        for name in leftovers {
            if let Err(error) = self.discard(&self.staging, &name) {
                self.lock_leftovers().push(name);
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }

    /// Deletes what is in the trash. Gives the first refusal, after all was tried.
    fn empty_trash(&self) -> Result<(), StoreError> {
        let _alone = self.emptying.lock().unwrap_or_else(PoisonError::into_inner);
        let deleting = StoreError::directory("empty the trash");
        let mut outcome = self.discard_leftovers();
        for entry in self.trash.entries().map_err(&deleting)? {
            outcome = outcome.and(self.trash.remove_tree(&entry.name));
        }
        outcome.map_err(deleting)
    }

    /// Deletes what is in the trash before a failure is answered: who hears of a full disk and tries something
    /// smaller must not meet the space that the failed attempt still held. Blocks.
    pub(crate) fn release_space(&self) {
        // The thread that every discard starts says what the disk refuses, and tries it again.
        let _ = self.empty_trash();
    }

    /// Deletes everything that an earlier collection could not delete.
    fn clean_again(&self) -> Result<(), StoreError> {
        if self.collecting.load(Ordering::Acquire) {
            self.collect_now()
        } else {
            self.empty_trash()
        }
    }

    /// Deletes on a thread of its own. What the disk refuses is tried again until it is gone, or the store is.
    fn clean(self: &Arc<Self>, name: &str, work: fn(&Self) -> Result<(), StoreError>) {
        let store = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let Err(error) = work(&store) else { return };
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot delete unused layers; trying again"
                );
                if !store.retrying.swap(true, Ordering::AcqRel) {
                    clean_until_done(&Arc::downgrade(&store), store);
                }
            });
        if let Err(e) = spawned {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "cannot start a thread that deletes unused layers; trying again later"
            );
        }
    }
}
