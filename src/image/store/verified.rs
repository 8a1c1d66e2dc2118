//! Which layers were verified in this boot, in memory and on disk.

use super::error::StoreError;
use crate::image::LayerName;
use holdfast_disk::{Dir, FileName, Record, RecordError};
use holdfast_kernel::sys::proc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The record of verified layers. When it is damaged, no layer counts as verified.
pub(super) const RECORD: Record<Boot> = Record::new(1, 16 << 20);
/// The name of the file of that record.
pub(super) const FILE: &str = "verified.json";

/// The layers that were verified in one boot.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Boot {
    id: String,
    pub(super) layers: BTreeSet<LayerName>,
}

/// The layers that need not be looked at any more.
#[derive(Debug)]
pub(super) struct Verified {
    boot: Mutex<Boot>,
    /// The permit of the one thread that compares layers: many pods that start at once do not all look at the same
    /// layer.
    pub(super) looking: Arc<Semaphore>,
}

impl Verified {
    /// Opens the record of the layers that daemons of this boot have verified. In a new boot no layer counts as
    /// verified.
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
            looking: Arc::new(Semaphore::new(1)),
        })
    }

    /// Locks the record of this boot.
    pub(super) fn boot(&self) -> MutexGuard<'_, Boot> {
        self.boot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layers that have to be looked at.
    pub(super) fn unknown(&self, layers: &[LayerName]) -> Vec<LayerName> {
        let boot = self.boot();
        let unknown = layers.iter().filter(|layer| !boot.layers.contains(*layer));
        unknown.cloned().collect()
    }
}
