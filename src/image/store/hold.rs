//! A hold on layers: they are not deleted before it is dropped.

use super::error::StoreError;
use super::holds::Holds;
use super::root::Store;
use crate::image::LayerName;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

/// Keeps layers from being deleted. Drop it when the last mount of them is gone.
#[derive(Debug)]
pub struct ImageHold {
    store: Weak<Store>,
    layers: Vec<LayerName>,
}

impl ImageHold {
    /// The layers held, the bottom one first.
    pub fn layers(&self) -> &[LayerName] {
        &self.layers
    }
}

impl Drop for ImageHold {
    fn drop(&mut self) {
        let Some(store) = self.store.upgrade() else {
            return;
        };
        let last = store.lock_holds().give_back(&self.layers);
        let unused = last && {
            let snapshot = store.snapshot();
            let referenced = snapshot.referenced();
            self.layers.iter().any(|layer| !referenced.contains(layer))
        };
        if unused {
            store.collect_in_background();
        }
    }
}

impl Store {
    /// Holds layers, all or none.
    pub(crate) fn hold(self: &Arc<Self>, layers: &[LayerName]) -> Result<ImageHold, StoreError> {
        self.lock_holds().take(layers)?;
        Ok(ImageHold {
            store: Arc::downgrade(self),
            layers: layers.to_vec(),
        })
    }

    /// Locks the holds of layers.
    pub(super) fn lock_holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
