//! Whether layers are still what was committed: looked at once a boot, at the first use.
//!
//! ```text
//!   commit: fingerprint of the tree ──▶ index          open: boot id other than verified.json's?
//!                                                            │ no: as it says     yes: nothing is verified
//!   use: verified? ──yes──▶ go on                            ▼
//!           └──no──▶ walk the tree ── the same ──▶ verified  (also what this boot has committed)
//!                                 └── not ──▶ the layer and its images are forgotten: pulled anew
//! ```
//!
//! A commit ends with syncfs(2), so this is for disks that lie and for what a repair of the file system took.
//! What is compared are names, kinds and sizes; content is not read.

use super::error::StoreError;
use super::hold::ImageHold;
use super::root::Store;
use super::verified::{FILE, RECORD};
use crate::image::{ImageId, LayerName};
use crate::index::LayerKey;
use crate::overlay::DIFF;
use holdfast_disk::{DirError, Durability, FileName};
use holdfast_kernel::error_chain;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The result of comparing a layer with its fingerprint.
enum LayerCheck {
    Same,
    Torn(String),
}

impl Store {
    /// Records that these layers are what was committed: they were compared, or have just been made. A daemon that
    /// does not find them in the record compares them again.
    pub(super) fn verified(&self, layers: &[LayerName]) {
        let snapshot = self.snapshot();
        let mut boot = self.verified.boot();
        boot.layers.extend(layers.iter().cloned());
        boot.layers
            .retain(|layer| snapshot.index.layers.contains_key(layer));
        let kept = FileName::new(FILE)
            .map_err(StoreError::from)
            .and_then(|name| Ok(RECORD.store(&self.root, &name, &boot, Durability::Volatile)?));
        if let Err(error) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot record which layers are verified; they are verified again at the next start"
            );
        }
    }

    /// Whether layers are what was committed. Those that are not are forgotten, with their images. Blocks.
    pub(crate) fn verify(&self, layers: &[LayerName]) -> Result<bool, StoreError> {
        let unknown = self.verified.unknown(layers);
        if unknown.is_empty() {
            return Ok(true);
        }
        let mut sound = Vec::new();
        let mut torn = BTreeSet::new();
        for layer in unknown {
            match self.compare_fingerprint(&layer)? {
                LayerCheck::Same => sound.push(layer),
                LayerCheck::Torn(reason) => {
                    tracing::warn!(%layer, reason, "a layer is torn; its images have to be pulled anew");
                    torn.insert(layer);
                }
            }
        }
        self.verified(&sound);
        if torn.is_empty() {
            return Ok(true);
        }
        self.condemn(&torn)?;
        Ok(false)
    }

    fn compare_fingerprint(&self, layer: &LayerName) -> Result<LayerCheck, StoreError> {
        let snapshot = self.snapshot();
        let Some(record) = snapshot.index.layers.get(layer) else {
            return Ok(LayerCheck::Torn("it is not in the index".to_owned()));
        };
        let wanted = record.fingerprint;
        let (name, diff) = (FileName::new(layer.as_str())?, FileName::new(DIFF)?);
        let found = self
            .layers
            .subdir(&name)
            .and_then(|dir| dir.subdir(&diff)?.fingerprint());
        match (found, wanted) {
            (Ok(found), Some(wanted)) if found != wanted => Ok(LayerCheck::Torn(format!(
                "it has {} entries of {} and differs",
                found.entries, wanted.entries
            ))),
            // One of an earlier release has nothing to be compared with.
            (Ok(_), _) => Ok(LayerCheck::Same),
            (Err(error), _) if error.is_not_found() || error.is_corrupt() => {
                Ok(LayerCheck::Torn(error_chain(&error)))
            }
            (Err(error), _) => Err(looking(error)),
        }
    }

    /// Forgets layers and the images that are made of them.
    fn condemn(&self, torn: &BTreeSet<LayerName>) -> Result<(), StoreError> {
        {
            let _writing = self.lock_writing();
            let mut index = self.snapshot().index.clone();
            let of_torn: Vec<ImageId> = index
                .images
                .iter()
                .filter(|(_, image)| image.layers.iter().any(|layer| torn.contains(layer)))
                .map(|(id, _)| *id)
                .collect();
            for id in &of_torn {
                index.forget(id);
            }
            index.layers.retain(|name, _| !torn.contains(name));
            self.publish(index)?;
            self.lock_holds().condemn(torn);
        }
        for layer in torn {
            let name = FileName::new(layer.as_str())?;
            self.discard(&self.layers, &name).map_err(looking)?;
        }
        // What cannot be deleted now is in the trash, and goes with the next collection.
        Ok(())
    }
}

fn looking(error: DirError) -> StoreError {
    StoreError::directory("verify a layer")(error)
}

impl Store {
    /// Whether layers are what was committed, which is looked at once a boot. Those that are not are forgotten
    /// with their images, as if they had never been pulled.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails otherwise.
    pub(crate) async fn layers_intact(
        self: &Arc<Self>,
        layers: &[LayerName],
    ) -> Result<bool, StoreError> {
        if self.verified.unknown(layers).is_empty() {
            return Ok(true);
        }
        let permit = Arc::clone(&self.verified.looking).acquire_owned().await;
        let (store, layers) = (Arc::clone(self), layers.to_vec());
        let looked = tokio::task::spawn_blocking(move || {
            // The thread alone has the permit, also when whoever asked gives up. It sees what was verified while it
            // waited.
            let _permit = permit;
            let sound = store.verify(&layers)?;
            if !sound {
                store.empty_trash_in_background();
            }
            Ok(sound)
        });
        looked.await.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Finds and holds an unpacked layer that is what was committed.
    pub(crate) async fn hold_layer(self: &Arc<Self>, key: &LayerKey) -> Option<ImageHold> {
        let layer = self.snapshot().layer(key)?.clone();
        match self.layers_intact(std::slice::from_ref(&layer)).await {
            Ok(true) => {}
            // It is fetched anew; whatever fails then is told.
            Ok(false) | Err(_) => return None,
        }
        // One that is being deleted is as good as absent.
        self.hold(std::slice::from_ref(&layer)).ok()
    }
}
