//! The layers of one pull, as far as they are there.

use crate::overlay;
use crate::store::{CandidateLayer, Store};
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// A place for each layer of an image, the bottom one first; filled while the pull goes on.
#[derive(Debug)]
pub(super) struct Stack(Mutex<Vec<Option<CandidateLayer>>>);

impl Stack {
    /// Makes the stack of an image with so many layers, none of them known.
    pub(super) fn new(layers: usize) -> Self {
        Self(Mutex::new(vec![None; layers]))
    }

    /// The layer of that place is there.
    pub(super) fn set_layer(&self, at: usize, slot: CandidateLayer) {
        if let Some(place) = self.lock().get_mut(at) {
            *place = Some(slot);
        }
    }

    /// All layers, `None` as long as one is missing.
    pub(super) fn all_layers(&self) -> Option<Vec<CandidateLayer>> {
        self.lock().iter().cloned().collect()
    }

    /// The directories of the layers below the place `at`, the top one first; `None` as long as one is
    /// missing, or when one cannot be opened.
    pub(super) fn below(&self, at: usize, store: &Store) -> Option<Vec<File>> {
        let slots: Vec<CandidateLayer> = self
            .lock()
            .iter()
            .take(at)
            .cloned()
            .collect::<Option<_>>()?;
        let mut directories = Vec::new();
        for slot in slots.iter().rev() {
            let opened = match slot {
                CandidateLayer::Present(hold) => overlay::open_layers(&store.layers, hold.layers()),
                CandidateLayer::Staged(layer) => layer.directory().map(|directory| vec![directory]),
            };
            match opened {
                Ok(opened) => directories.extend(opened),
                Err(e) => {
                    tracing::warn!(
                        error = &e as &dyn std::error::Error,
                        "cannot open a layer below the one that is unpacked"
                    );
                    return None;
                }
            }
        }
        Some(directories)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<CandidateLayer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
