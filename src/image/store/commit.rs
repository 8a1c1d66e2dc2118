//! The one transaction: an image and the layers it needs.

use super::error::StoreError;
use super::hold::ImageHold;
use super::root::Store;
use super::staged::StagedLayer;
use crate::digest::Digest;
use crate::image::{Image, ImageId, LayerName};
use crate::index::{ImageRecord, Index, LayerRecord, document_name};
use crate::overlay;
use crate::reference::Reference;
use bytes::Bytes;
use holdfast_disk::{Durability, FileName};
use std::sync::Arc;

/// A layer of an image about to be committed.
#[derive(Debug, Clone)]
pub(crate) enum CandidateLayer {
    /// The store has it; the hold keeps it until the image refers to it.
    Present(Arc<ImageHold>),
    /// The layer was unpacked for this image; another pull may have it too.
    Staged(Arc<StagedLayer>),
}

/// An image about to be committed, everything verified.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The names it gets.
    pub names: Vec<Reference>,
    pub manifest: (Digest, Bytes),
    pub config: (Digest, Bytes),
    /// In a registry, in bytes.
    pub size: u64,
    /// The bottom one first.
    pub layers: Vec<CandidateLayer>,
}

impl Store {
    /// Gives an image that is in the store further names.
    pub(crate) fn add_names(
        &self,
        id: ImageId,
        names: &[Reference],
    ) -> Result<Option<Arc<Image>>, StoreError> {
        let known = self.snapshot().images.get(&id).cloned();
        if known.is_some_and(|image| !self.verify(&image.layers).unwrap_or(false)) {
            return Ok(None);
        }
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
    pub(crate) fn commit(
        self: &Arc<Self>,
        candidate: &Candidate,
    ) -> Result<Arc<Image>, StoreError> {
        self.verify_same(candidate)?;
        let _writing = self.lock_writing();
        let mut index = self.snapshot().index.clone();
        let before = index.next_layer;
        let committed = self.settle(candidate, &mut index).and_then(|layers| {
            let id = ImageId::of_config(candidate.config.0);
            let record = ImageRecord {
                manifest: candidate.manifest.0,
                size: candidate.size,
                layers: overlay::visible_layers(&self.layers, &layers)?,
            };
            index.images.insert(id, record);
            candidate.names.iter().for_each(|name| index.name(name, id));
            let after = index.next_layer;
            self.publish(index).map(|()| (id, layers, after))
        });
        let (id, layers, after) = match committed {
            Ok(committed) => committed,
            Err(e) => {
                self.roll_back(before);
                return Err(e);
            }
        };
        let mut holds = self.lock_holds();
        (before..after).for_each(|number| holds.add(LayerName::from_number(number)));
        drop(holds);
        let made: Vec<_> = (before..after).map(LayerName::from_number).collect();
        self.verified(&made);
        self.keep(candidate, &layers)?;
        self.snapshot()
            .images
            .get(&id)
            .cloned()
            .ok_or(StoreError::Interrupted)
    }

    /// Looks at the layers that the store has already of those that were unpacked: one that is torn must not be
    /// taken for the new one.
    fn verify_same(&self, candidate: &Candidate) -> Result<(), StoreError> {
        let snapshot = self.snapshot().clone();
        for slot in &candidate.layers {
            if let CandidateLayer::Staged(staged) = slot
                && let Some(known) = snapshot.layer(&staged.key)
            {
                self.verify(std::slice::from_ref(known))?;
            }
        }
        Ok(())
    }

    /// Lets the other pulls that have the staged layers too know what these are now.
    fn keep(
        self: &Arc<Self>,
        candidate: &Candidate,
        layers: &[LayerName],
    ) -> Result<(), StoreError> {
        for (slot, layer) in candidate.layers.iter().zip(layers) {
            if let CandidateLayer::Staged(staged) = slot
                && staged.kept.get().is_none()
            {
                let hold = self.hold(std::slice::from_ref(layer))?;
                // The writing lock is held: nobody else sets it.
                let _ = staged.kept.set(hold);
            }
        }
        Ok(())
    }

    /// Moves layers and documents to where they stay, and makes them durable.
    fn settle(
        &self,
        candidate: &Candidate,
        index: &mut Index,
    ) -> Result<Vec<LayerName>, StoreError> {
        let keeping = StoreError::directory("keep the image");
        let mut layers = Vec::new();
        for slot in &candidate.layers {
            match slot {
                CandidateLayer::Present(hold) => layers.extend_from_slice(hold.layers()),
                CandidateLayer::Staged(staged) => layers.push(self.settle_layer(staged, index)?),
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
        staged: &StagedLayer,
        index: &mut Index,
    ) -> Result<LayerName, StoreError> {
        if let Some([kept]) = staged.kept.get().map(ImageHold::layers) {
            return Ok(kept.clone());
        }
        // The layer may occur twice in the image, or another pull may have committed it meanwhile; the
        // writing lock is held, so nothing collects it before this image refers to it, unless its
        // deletion is decided already: then its record is gone from the index too.
        let known = index
            .layers
            .iter()
            .find(|(_, known)| known.key() == staged.key);
        if let Some((name, _)) = known {
            return Ok(name.clone());
        }
        let name = LayerName::from_number(index.next_layer);
        let directory = FileName::new(name.as_str())?;
        let keeping = StoreError::directory("keep a layer");
        self.staging
            .rename_into(&staged.name, &self.layers, &directory)
            .map_err(keeping)?;
        index.next_layer += 1;
        let record = LayerRecord {
            diff_id: staged.key.diff_id,
            chain: staged.key.chain,
            bytes: staged.layer.usage.bytes,
            inodes: staged.layer.usage.inodes,
            fingerprint: staged.fingerprint,
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
                    "cannot remove a layer of a failed commit; the next start removes it"
                );
                return;
            }
        }
    }
}
