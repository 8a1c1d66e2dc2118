//! Layers that are unpacked and verified, and in no image yet.

use super::error::StoreError;
use super::hold::ImageHold;
use super::root::Store;
use crate::digest::Digest;
use crate::index::LayerKey;
use crate::layer::Layer;
use crate::overlay::DIFF;
use crate::unpack::Standing;
use holdfast_disk::{Dir, FileName, TreeFingerprint};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// The directory of a layer that is being unpacked: `<staging>/<n>/diff`. Dropped, it is deleted.
#[derive(Debug)]
pub(crate) struct Staging {
    store: Arc<Store>,
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
    /// The fingerprint by which the layer is verified later.
    pub(super) fingerprint: Option<TreeFingerprint>,
    /// Since an image was committed with it: what it is now.
    pub(super) kept: OnceLock<ImageHold>,
    staging: Staging,
}

impl Staging {
    /// Makes one in `store`.
    pub(crate) fn new(store: &Arc<Store>) -> Result<Self, StoreError> {
        let (name, outer) = store.new_staging()?;
        let making = StoreError::directory("stage a layer");
        let diff = outer.create_new_subdir(&FileName::new(DIFF)?, 0o755);
        let diff = diff.map_err(|error| {
            // Empty, and nobody's: what cannot be deleted now is swept at the next start.
            let _ = store.staging.remove_tree(&name);
            making(error)
        })?;
        Ok(Self {
            store: Arc::clone(store),
            name,
            diff,
        })
    }

    /// Completes the staging of an unpacked layer. `chain` is the chain id of the place it was unpacked for. Blocks.
    pub(crate) fn done(self, layer: Layer, chain: Digest) -> StagedLayer {
        StagedLayer {
            key: LayerKey {
                diff_id: layer.diff_id,
                chain: (layer.usage.standing == Standing::OnLower).then_some(chain),
            },
            layer,
            fingerprint: fingerprint(&self.diff),
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
    /// The directory with the layer's content.
    pub(crate) fn diff(&self) -> &Dir {
        &self.staging.diff
    }

    /// Another descriptor of its directory.
    pub(crate) fn directory(&self) -> std::io::Result<File> {
        Ok(self.staging.diff.as_fd().try_clone_to_owned()?.into())
    }
}

impl Store {
    /// Makes a staging directory.
    pub(crate) fn new_staging(&self) -> Result<(FileName, Dir), StoreError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let name = FileName::new(number.to_string())?;
        let dir = self.staging.create_new_subdir(&name, 0o700);
        let dir = dir.map_err(StoreError::directory("make a staging directory"))?;
        Ok((name, dir))
    }
}

/// The fingerprint of an unpacked layer that is to be committed. Blocks.
fn fingerprint(diff: &Dir) -> Option<TreeFingerprint> {
    diff.fingerprint()
        .inspect_err(|error| {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "cannot take the fingerprint of a layer; it is not verified after the next boot"
            );
        })
        .ok()
}
