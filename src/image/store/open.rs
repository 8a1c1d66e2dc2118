//! Opening the store: what an earlier process left is swept, and images whose layers are gone are forgotten.

use super::collect::present_layers;
use super::error::StoreError;
use super::holds::Holds;
use super::root::{INDEX, Store};
use super::settings::ImageSettings;
use super::verified::Verified;
use crate::image::{ImageId, LayerName};
use crate::index::{Index, RECORD, Snapshot};
use arc_swap::ArcSwap;
use holdfast_disk::{Dir, FileName, RecordError};
use holdfast_kernel::sys::inode_flag;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

impl Store {
    /// Opens the store in `root`, which is made when it is missing, and sweeps what an interrupted pull left.
    ///
    /// Layers that no image uses are kept until [`Store::collect`], so that containers that outlived the daemon can
    /// declare theirs first. Fails when another daemon has the store open.
    pub(crate) fn open(root: &Path, settings: ImageSettings) -> Result<Arc<Self>, StoreError> {
        let opening = StoreError::directory("open a directory");
        let root = Dir::create_root(root).map_err(&opening)?;
        let lock = root.lock(&FileName::new("lock")?).map_err(&opening)?;
        let subdir = |name: &str| {
            let name = FileName::new(name)?;
            root.create_subdir(&name, 0o700).map_err(&opening)
        };
        let (layers, blobs) = (subdir("layers")?, subdir("blobs")?);
        let (staging, trash) = (subdir("staging")?, subdir("trash")?);
        for replaced_in in [&root, &blobs] {
            replaced_in.sweep_temporaries().map_err(&opening)?;
        }
        // ext4 searches the whole inode table of a directory's neighbourhood past inodes that were freed in
        // the last minutes, which unpacking beside a deleted image would pay for.
        if let Err(errno) = inode_flag::spread_directories(staging.as_fd()) {
            tracing::debug!(%errno, "the file system cannot spread directories");
        }
        let index = index(&root)?;
        let settings = settings.normalised();
        let verified = Verified::open(&root)?;
        let present = present_layers(&layers).map_err(&opening)?;
        let index = without_torn_images(index, &present);
        let snapshot = Snapshot::build(index, &Snapshot::default(), &blobs, &settings.pinned);
        let store = Arc::new(Self {
            holds: Mutex::new(Holds::new(snapshot.index.layers.keys().cloned())),
            snapshot: ArcSwap::from_pointee(snapshot),
            verified,
            writing: Mutex::default(),
            collecting: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            leftovers: Mutex::default(),
            emptying: Mutex::default(),
            retrying: AtomicBool::new(false),
            root,
            layers,
            blobs,
            staging,
            trash,
            settings,
            _lock: lock,
        });
        store.sweep(&present)?;
        Ok(store)
    }
}

/// The index on disk. Images can be pulled again: a node whose disk has lost the index starts without any.
fn index(root: &Dir) -> Result<Index, StoreError> {
    match RECORD.load(root, &FileName::new(INDEX)?) {
        Err(error @ RecordError::Damaged { .. }) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the index of the images is torn; they have to be pulled anew"
            );
            Ok(Index::default())
        }
        found => Ok(found?.unwrap_or_default()),
    }
}

/// The index without the images some of whose layers somebody deleted.
fn without_torn_images(mut index: Index, present: &BTreeSet<LayerName>) -> Index {
    let torn: Vec<ImageId> = index
        .images
        .iter()
        .filter(|(_, image)| image.layers.iter().any(|layer| !present.contains(layer)))
        .map(|(id, _)| *id)
        .collect();
    for id in torn {
        tracing::warn!(image = %id, "forgetting an image whose layers are gone");
        index.forget(&id);
    }
    index.layers.retain(|name, _| present.contains(name));
    index
}
