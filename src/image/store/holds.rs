//! How many containers and pulls use each layer.

use super::error::StoreError;
use crate::image::LayerName;
use std::collections::{BTreeSet, HashMap};

/// Which layers exist, and how many hold each.
///
/// A layer leaves `live` the moment its deletion is decided, under the same lock that counts holds:
/// nobody can hold what is being deleted.
#[derive(Debug)]
pub(super) struct Holds {
    live: BTreeSet<LayerName>,
    counts: HashMap<LayerName, usize>,
}

impl Holds {
    /// Begins with the committed layers, and no holds.
    pub(super) fn new(live: impl Iterator<Item = LayerName>) -> Self {
        Self {
            live: live.collect(),
            counts: HashMap::new(),
        }
    }

    /// A layer was committed.
    pub(super) fn add(&mut self, layer: LayerName) {
        self.live.insert(layer);
    }

    /// Takes the layers nobody holds and `referenced` does not name out of use, for deletion.
    pub(super) fn retire(&mut self, referenced: &BTreeSet<&LayerName>) -> Vec<LayerName> {
        let unused =
            |layer: &&LayerName| !referenced.contains(*layer) && !self.counts.contains_key(*layer);
        let retired: Vec<LayerName> = self.live.iter().filter(unused).cloned().collect();
        for layer in &retired {
            self.live.remove(layer);
        }
        retired
    }

    /// Takes torn layers out of use, whoever holds them.
    pub(super) fn condemn(&mut self, torn: &BTreeSet<LayerName>) {
        self.live.retain(|layer| !torn.contains(layer));
    }

    /// Counts one more hold on each of these layers, or on none when one of them is gone.
    pub(super) fn take(&mut self, layers: &[LayerName]) -> Result<(), StoreError> {
        if let Some(gone) = layers.iter().find(|layer| !self.live.contains(*layer)) {
            return Err(StoreError::LayerGone(gone.clone()));
        }
        for layer in layers {
            *self.counts.entry(layer.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Whether somebody let go of a layer for the last time.
    pub(super) fn give_back(&mut self, layers: &[LayerName]) -> bool {
        let mut last = false;
        for layer in layers {
            if let Some(count) = self.counts.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(layer);
                    last = true;
                }
            }
        }
        last
    }
}
