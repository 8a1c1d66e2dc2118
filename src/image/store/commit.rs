//! The one transaction: an image and the layers it needs.

use super::{ImageHold, Inner, StoreError};
use crate::disk::{Dir, Durability, FileName};
use crate::image::image::{Image, ImageId, LayerName};
use crate::image::index::{ImageRecord, Index, LayerRecord, document_name};
use crate::image::layer::Layer;
use crate::image::{Digest, Reference};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A layer of an image about to be committed.
#[derive(Debug)]
pub(in crate::image) enum Slot {
    /// The store has it; the hold keeps it until the image refers to it.
    Present(ImageHold),
    /// It was unpacked into the directory of that name in the operation's staging directory.
    Staged {
        /// The directory with `diff` in it.
        name: FileName,
        /// What it turned out to be, digests compared.
        layer: Layer,
    },
}

/// An image about to be committed, everything verified.
#[derive(Debug)]
pub(in crate::image) struct Candidate {
    /// The names it gets.
    pub names: Vec<Reference>,
    pub manifest: (Digest, Bytes),
    pub config: (Digest, Bytes),
    /// In a registry, in bytes.
    pub size: u64,
    /// The bottom one first.
    pub layers: Vec<Slot>,
}

impl Inner {
    /// Makes the staging directory of an operation.
    pub(in crate::image) fn new_staging(&self) -> Result<(FileName, Dir), StoreError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let name = FileName::new(number.to_string())?;
        let dir = self.staging.create_new_subdir(&name, 0o700);
        Ok((name, dir.map_err(StoreError::directory("stage an image"))?))
    }

    /// Deletes the staging directory of an operation that ended.
    pub(in crate::image) fn end_staging(&self, name: &FileName) {
        if let Err(e) = self.staging.remove_tree(name) {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "cannot delete a staging directory; the next start will"
            );
        }
    }

    /// Gives an image that is in the store further names.
    pub(in crate::image) fn add_names(
        &self,
        id: ImageId,
        names: &[Reference],
    ) -> Result<Option<Arc<Image>>, StoreError> {
        let _writing = self.lock_writing();
        let snapshot = self.snapshot.load_full();
        if !snapshot.images.contains_key(&id) {
            return Ok(None);
        }
        if names
            .iter()
            .any(|name| snapshot.index.names.get(&name.to_string()) != Some(&id))
        {
            let mut index = snapshot.index.clone();
            names.iter().for_each(|name| index.name(name, id));
            self.publish(index)?;
        }
        Ok(self.snapshot().images.get(&id).cloned())
    }

    /// Puts an image into the store: all of it, or, on an error or when killed, nothing.
    pub(in crate::image) fn commit(
        &self,
        staging: &Dir,
        candidate: Candidate,
    ) -> Result<Arc<Image>, StoreError> {
        let _writing = self.lock_writing();
        let mut index = self.snapshot().index.clone();
        let before = index.next_layer;
        let committed = self
            .settle(staging, &candidate, &mut index)
            .and_then(|layers| {
                let id = ImageId::of_config(candidate.config.0);
                let record = ImageRecord {
                    manifest: candidate.manifest.0,
                    size: candidate.size,
                    layers,
                };
                index.images.insert(id, record);
                candidate.names.iter().for_each(|name| index.name(name, id));
                let after = index.next_layer;
                self.publish(index).map(|()| (id, after))
            });
        let (id, after) = match committed {
            Ok(committed) => committed,
            Err(e) => {
                self.roll_back(before);
                return Err(e);
            }
        };
        let mut holds = self.lock_holds();
        (before..after).for_each(|number| holds.add(LayerName::from_number(number)));
        drop(holds);
        self.snapshot()
            .images
            .get(&id)
            .cloned()
            .ok_or(StoreError::Interrupted)
    }

    /// Moves layers and documents to where they stay, and makes them durable.
    fn settle(
        &self,
        staging: &Dir,
        candidate: &Candidate,
        index: &mut Index,
    ) -> Result<Vec<LayerName>, StoreError> {
        let keeping = StoreError::directory("keep the image");
        let mut layers = Vec::new();
        for slot in &candidate.layers {
            match slot {
                Slot::Present(hold) => layers.extend_from_slice(hold.layers()),
                Slot::Staged { name, layer } => {
                    layers.push(self.settle_layer(staging, name, layer, index)?)
                }
            }
        }
        for (digest, bytes) in [&candidate.manifest, &candidate.config] {
            let name = document_name(*digest)?;
            self.blobs
                .replace(&name, bytes, Durability::Volatile)
                .map_err(&keeping)?;
        }
        // One sync for thousands of files; the index, synced by itself, is written after it.
        self.root.sync_filesystem().map_err(&keeping)?;
        Ok(layers)
    }

    fn settle_layer(
        &self,
        staging: &Dir,
        staged: &FileName,
        layer: &Layer,
        index: &mut Index,
    ) -> Result<LayerName, StoreError> {
        // The layer may occur twice in the image, or another pull may have committed it meanwhile; the
        // writing lock is held, so nothing collects it before this image refers to it, unless its
        // deletion is decided already: then its record is gone from the index too.
        let known = index
            .layers
            .iter()
            .find(|(_, known)| known.diff_id == layer.diff_id);
        if let Some((name, _)) = known {
            return Ok(name.clone());
        }
        let name = LayerName::from_number(index.next_layer);
        let directory = FileName::new(name.as_str())?;
        let keeping = StoreError::directory("keep a layer");
        staging
            .rename_into(staged, &self.layers, &directory)
            .map_err(keeping)?;
        index.next_layer += 1;
        let record = LayerRecord {
            diff_id: layer.diff_id,
            bytes: layer.usage.bytes,
            inodes: layer.usage.inodes,
        };
        index.layers.insert(name.clone(), record);
        Ok(name)
    }

    /// Takes back the layers moved by a commit that failed.
    fn roll_back(&self, first: u64) {
        for number in first.. {
            let Ok(name) = FileName::new(LayerName::from_number(number).as_str()) else {
                return;
            };
            if !self.layers.exists(&name).unwrap_or(false) {
                return;
            }
            if let Err(e) = self.discard(&self.layers, &name) {
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "cannot take back a layer; the next start will"
                );
                return;
            }
        }
    }
}
