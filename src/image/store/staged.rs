//! Layers that are unpacked and verified, and in no image yet.

use super::{ImageHold, ImageStore, Inner, StoreError};
use crate::Digest;
use crate::layer::Layer;
use crate::overlay::DIFF;
use crate::unpack::Standing;
use holdfast_disk::{Dir, FileName, TreeFingerprint};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// What tells an unpacked layer from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LayerKey {
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// The chain that it depends on, itself included; none for a layer that stands alone.
    pub chain: Option<Digest>,
}

/// The directory of a layer that is being unpacked: `<staging>/<n>/diff`. Dropped, it is deleted.
#[derive(Debug)]
pub(crate) struct Staging {
    store: Arc<Inner>,
    name: FileName,
    /// Where the layer's content goes.
    pub diff: Dir,
}

/// An unpacked layer, its digests compared. Dropped by the last pull that wants it, it is deleted unless
/// an image has it by then.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    pub layer: Layer,
    pub key: LayerKey,
    pub(super) name: FileName,
    /// What it can be verified by later.
    pub(super) fingerprint: Option<TreeFingerprint>,
    /// Since an image was committed with it: what it is now.
    pub(super) kept: OnceLock<ImageHold>,
    staging: Staging,
}

impl Staging {
    /// Makes one in `store`.
    pub(crate) fn new(store: &ImageStore) -> Result<Self, StoreError> {
        let (name, outer) = store.inner.new_staging()?;
        let making = StoreError::directory("stage a layer");
        let diff = outer.create_new_subdir(&FileName::new(DIFF)?, 0o755);
        let diff = diff.map_err(|error| {
            // Empty, and nobody's: what cannot be deleted now is swept at the next start.
            let _ = store.inner.staging.remove_tree(&name);
            making(error)
        })?;
        Ok(Self {
            store: Arc::clone(&store.inner),
            name,
            diff,
        })
    }

    /// What it became; `chain` is the chain id of the place it was unpacked for. Blocks.
    pub(crate) fn done(self, layer: Layer, chain: Digest) -> StagedLayer {
        StagedLayer {
            key: LayerKey {
                diff_id: layer.diff_id,
                chain: (layer.usage.standing == Standing::OnLower).then_some(chain),
            },
            layer,
            fingerprint: super::verify::fingerprint(&self.diff),
            name: self.name.clone(),
            kept: OnceLock::new(),
            staging: self,
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What was committed is no longer there.
        if !self.store.staging.exists(&self.name).unwrap_or(true) {
            return;
        }
        if let Err(e) = self.store.discard(&self.store.staging, &self.name) {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "cannot delete a staged layer; trying again later"
            );
            self.store.lock_leftovers().push(self.name.clone());
        }
        self.store.empty_trash_in_background();
    }
}

impl StagedLayer {
    /// Its directory, for looking into it.
    pub(crate) fn diff(&self) -> &Dir {
        &self.staging.diff
    }

    /// Its directory, opened.
    pub(crate) fn directory(&self) -> std::io::Result<File> {
        Ok(self.staging.diff.as_fd().try_clone_to_owned()?.into())
    }
}

impl Inner {
    /// Makes a staging directory.
    pub(crate) fn new_staging(&self) -> Result<(FileName, Dir), StoreError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let name = FileName::new(number.to_string())?;
        let dir = self.staging.create_new_subdir(&name, 0o700);
        let dir = dir.map_err(StoreError::directory("make a staging directory"))?;
        Ok((name, dir))
    }
}
