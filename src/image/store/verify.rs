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

use super::{ImageStore, Inner, LayerKey, StoreError};
use crate::ImageId;
use crate::LayerName;
use crate::overlay::DIFF;
use holdfast_disk::{Dir, DirError, Durability, FileName, Record, RecordError, TreeFingerprint};
use holdfast_kernel::sys::proc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was verified, on disk. Torn, nothing was.
const RECORD: Record<Boot> = Record::new(1, 16 << 20);
/// Its file.
const FILE: &str = "verified.json";

/// The layers that were verified in one boot.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Boot {
    id: String,
    layers: BTreeSet<LayerName>,
}

/// The layers that need not be looked at any more.
#[derive(Debug)]
pub(super) struct Verified {
    boot: Mutex<Boot>,
    /// Held while somebody looks, so that many pods that start at once do not all look at the same layer.
    looking: tokio::sync::Mutex<()>,
}

/// What became of a look at a layer.
enum Look {
    Same,
    Torn(String),
}

impl Verified {
    /// What an earlier daemon of this boot has verified; nothing in another boot.
    pub(super) fn open(root: &Dir) -> Result<Self, StoreError> {
        let id = proc::boot_id().unwrap_or_default();
        let found = match RECORD.load(root, &FileName::new(FILE)?) {
            Ok(found) => found.unwrap_or_default(),
            Err(RecordError::Damaged { .. } | RecordError::UnknownVersion { .. }) => {
                Boot::default()
            }
            Err(error) => return Err(error.into()),
        };
        let layers = if found.id == id && !id.is_empty() {
            found.layers
        } else {
            BTreeSet::new()
        };
        Ok(Self {
            boot: Mutex::new(Boot { id, layers }),
            looking: tokio::sync::Mutex::default(),
        })
    }

    fn boot(&self) -> MutexGuard<'_, Boot> {
        self.boot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have to be looked at.
    fn unknown(&self, layers: &[LayerName]) -> Vec<LayerName> {
        let boot = self.boot();
        let unknown = layers.iter().filter(|layer| !boot.layers.contains(*layer));
        unknown.cloned().collect()
    }
}

impl Inner {
    /// These layers are what they should be: they were compared, or have just been made. A daemon that does
    /// not find it written looks again.
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
                "cannot keep which layers are verified; they are verified again"
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
            match self.look(&layer)? {
                Look::Same => sound.push(layer),
                Look::Torn(reason) => {
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

    fn look(&self, layer: &LayerName) -> Result<Look, StoreError> {
        let snapshot = self.snapshot();
        let Some(record) = snapshot.index.layers.get(layer) else {
            return Ok(Look::Torn("it is not in the index".to_owned()));
        };
        let wanted = record.fingerprint;
        let (name, diff) = (FileName::new(layer.as_str())?, FileName::new(DIFF)?);
        let found = self
            .layers
            .subdir(&name)
            .and_then(|dir| dir.subdir(&diff)?.fingerprint());
        match (found, wanted) {
            (Ok(found), Some(wanted)) if found != wanted => Ok(Look::Torn(format!(
                "it has {} entries of {} and differs",
                found.entries, wanted.entries
            ))),
            // One of an earlier release has nothing to be compared with.
            (Ok(_), _) => Ok(Look::Same),
            (Err(error), _) if error.is_not_found() || error.is_corrupt() => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(ToString::to_string);
                Ok(Look::Torn(format!(
                    "{error}: {}",
                    cause.unwrap_or_default()
                )))
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

/// The fingerprint of an unpacked layer that is to be committed. Blocks.
pub(super) fn fingerprint(diff: &Dir) -> Option<TreeFingerprint> {
    diff.fingerprint()
        .inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a layer is kept without what it could be verified by"
            );
        })
        .ok()
}

impl ImageStore {
    /// Whether layers are what was committed, which is looked at once a boot. Those that are not are forgotten
    /// with their images, as if they had never been pulled.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails otherwise.
    pub async fn sound(&self, layers: &[LayerName]) -> Result<bool, StoreError> {
        if self.inner.verified.unknown(layers).is_empty() {
            return Ok(true);
        }
        let _one = self.inner.verified.looking.lock().await;
        let (store, layers) = (self.clone(), layers.to_vec());
        let looked = tokio::task::spawn_blocking(move || {
            let sound = store.inner.verify(&layers)?;
            if !sound {
                store.inner.empty_trash_in_background();
            }
            Ok(sound)
        });
        looked.await.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Finds and holds an unpacked layer that is what was committed.
    pub(crate) async fn hold_layer(&self, key: &LayerKey) -> Option<super::ImageHold> {
        let layer = self.inner.snapshot().layer(key)?.clone();
        match self.sound(std::slice::from_ref(&layer)).await {
            Ok(true) => {}
            // It is fetched anew; whatever fails then is told.
            Ok(false) | Err(_) => return None,
        }
        // One that is being deleted is as good as absent.
        self.inner.hold(std::slice::from_ref(&layer)).ok()
    }
}
