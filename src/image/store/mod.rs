//! The images of this node: one directory, one index, one owner.
//!
//! ```text
//!   ROOT/lock                 held while the daemon runs
//!   ROOT/index.json           the truth, replaced in one step
//!   ROOT/verified.json        layers that were looked at in this boot
//!   ROOT/blobs/<hex>          manifests and configurations
//!   ROOT/profiles/…           security profiles, which are no images
//!   ROOT/layers/<name>/diff   unpacked layers, ready for overlay
//!   ROOT/staging/<n>/…        of pulls under way
//!   ROOT/trash/<n>            being deleted
//!
//!   staging ──(digests verified)──► layers + blobs ──(syncfs)──► index ──► snapshot
//! ```
//!
//! Killed anywhere before the index is replaced, the image is absent and the next start sweeps what
//! is in no index. Readers use an immutable snapshot and never wait. Writers hold one mutex, outside
//! of asynchronous code.

mod collect;
mod commit;
mod hold;
mod staged;
mod verify;

#[cfg(test)]
mod tests;

use super::image::{Image, ImageId, LayerName};
use super::import::{self, ImportError};
use super::index::{Index, RECORD, Snapshot};
use super::overlay::{self, ViewError};
use super::profile::Profiles;
use super::pull::{Fetches, InFlight, PullError, PullRequest, Pulling};
use super::registry::{Registry, Timers};
use super::{Reference, unpack};
use arc_swap::ArcSwap;
pub(super) use commit::{Candidate, Slot};
use hold::Holds;
pub use hold::ImageHold;
use holdfast_disk::{Dir, DirError, FileName, FileNameError, LockFile, RecordError};
use holdfast_kernel::sys::inode_flag;
pub(super) use staged::{LayerKey, StagedLayer, Staging};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How the store works; every field has a default.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// containerd's `certs.d`: a directory of `HOST/hosts.toml`.
    pub hosts_dir: Option<PathBuf>,
    /// Layers of one image under way at once.
    pub max_parallel_layers: usize,
    /// A connection that brings nothing for so long is broken off, and the download resumed.
    pub stall_timeout: Duration,
    /// Likewise a download that brings less, in bytes per second; 0 lets it be as slow as it likes.
    pub min_download_rate: u64,
    /// The time over which that rate is measured.
    pub download_rate_window: Duration,
    /// References of images the kubelet must not collect; `*` stands for any characters.
    pub pinned: Vec<String>,
    /// The most entries in one layer.
    pub max_layer_entries: u64,
    /// The most content of one layer unpacked, in bytes.
    pub max_layer_bytes: u64,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            hosts_dir: None,
            max_parallel_layers: 3,
            stall_timeout: Duration::from_secs(60),
            min_download_rate: 1 << 10,
            download_rate_window: Duration::from_secs(60),
            pinned: Vec::new(),
            max_layer_entries: 4 << 20,
            max_layer_bytes: 256 << 30,
        }
    }
}

impl ImageSettings {
    fn timers(&self) -> Timers {
        Timers {
            stall: self.stall_timeout,
            rate: self.min_download_rate,
            window: self.download_rate_window,
        }
    }
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A directory or file of the store could not be used.
    #[error("cannot {operation} in the image store")]
    Directory {
        /// What was attempted.
        operation: &'static str,
        /// What the disk said.
        #[source]
        source: DirError,
    },
    /// The index could not be read or replaced.
    #[error("cannot use the index of the image store")]
    Index(#[from] RecordError),
    /// A layer that was to be used is gone.
    #[error("layer {0} is no longer in the image store: pull the image again")]
    LayerGone(LayerName),
    /// A file of an image could not be read.
    #[error("cannot look into the image")]
    View(#[from] ViewError),
    /// A document of an image that was to be kept is unusable.
    #[error("cannot keep the image")]
    Document(#[from] super::index::LoadError),
    /// The daemon is shutting down.
    #[error("the image store was interrupted: the daemon is shutting down")]
    Interrupted,
    /// A name within the store; they are all made here and fit.
    #[error("unusable name in the image store")]
    Name(#[from] FileNameError),
}

impl StoreError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Directory { source, .. } => source.is_no_space(),
            Self::Index(source) => source.is_no_space(),
            Self::View(source) => source.is_no_space(),
            _ => false,
        }
    }

    pub(super) fn directory(operation: &'static str) -> impl Fn(DirError) -> Self {
        move |source| Self::Directory { operation, source }
    }
}

/// What the images take on their file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsUsage {
    /// The directory the layers are in.
    pub path: PathBuf,
    /// What the layers take, in bytes.
    pub used_bytes: u64,
    /// The files and directories of the layers.
    pub inodes_used: u64,
    /// When this was true.
    pub timestamp: SystemTime,
}

/// The images of this node. Cloning is cheap; all clones are one store.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(super) inner: Arc<Inner>,
}

/// What the clones share.
#[derive(Debug)]
pub(super) struct Inner {
    pub root: Dir,
    pub layers: Dir,
    pub blobs: Dir,
    pub staging: Dir,
    pub trash: Dir,
    pub settings: ImageSettings,
    pub registry: Registry,
    pub in_flight: InFlight,
    pub fetches: Fetches,
    pub profiles: Profiles,
    snapshot: ArcSwap<Snapshot>,
    /// Held by whoever replaces the index; guards nothing but the order of the replacements.
    writing: Mutex<()>,
    holds: Mutex<Holds>,
    verified: verify::Verified,
    /// Whether all users of layers have been heard of since the start.
    collecting: AtomicBool,
    sequence: AtomicU64,
    /// Held by whoever empties the trash: the next one that returns knows that nothing of it is left.
    emptying: Mutex<()>,
    /// A thread tries deletions again.
    retrying: AtomicBool,
    /// What the disk refused to move out of the staging directory.
    leftovers: Mutex<Vec<FileName>>,
    _lock: LockFile,
}

impl ImageStore {
    /// Opens the store at `root`, making it when missing, and sweeps what an interrupted pull left.
    ///
    /// Layers that no image uses are kept until [`ImageStore::collect`], so that containers that
    /// outlived the daemon can declare theirs first. Fails when another daemon has the store open.
    pub fn open(root: &Path, settings: ImageSettings) -> Result<Self, StoreError> {
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
        let settings = normalised(settings);
        let verified = verify::Verified::open(&root)?;
        let present = collect::present_layers(&layers).map_err(&opening)?;
        let index = without_torn_images(index, &present);
        let snapshot = Snapshot::build(index, &Snapshot::default(), &blobs, &settings.pinned);
        let store = Self {
            inner: Arc::new(Inner {
                registry: Registry::new(settings.hosts_dir.clone(), settings.timers()),
                in_flight: InFlight::default(),
                fetches: Fetches::default(),
                profiles: Profiles::open(&root)?,
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
            }),
        };
        store.inner.sweep(&present)?;
        Ok(store)
    }

    /// Pulls an image; concurrent pulls of the same reference with the same credentials are one
    /// operation, which goes on when its callers go away.
    pub async fn pull(&self, request: PullRequest) -> Result<Arc<Image>, PullError> {
        self.begin_pull(request)?.end().await
    }

    /// As [`ImageStore::pull`], for those who watch how far it is.
    ///
    /// # Errors
    /// The reference is none.
    pub fn begin_pull(&self, request: PullRequest) -> Result<Pulling, PullError> {
        super::pull::begin(self, request)
    }

    /// Makes an image called `name` of an archive: a root file system, an OCI layout, or what
    /// `docker save` writes, each plain or compressed with gzip or zstd.
    pub async fn import(
        &self,
        name: &str,
        archive: impl std::io::Read + Send + 'static,
    ) -> Result<Arc<Image>, ImportError> {
        import::import(self, name, Box::new(archive)).await
    }

    /// Finds an image by id, part of an id, or reference, as containerd does.
    pub fn resolve(&self, any: &str) -> Option<Arc<Image>> {
        self.inner.snapshot().resolve(any).cloned()
    }

    /// All images, in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.inner.snapshot().images.values().cloned().collect()
    }

    /// Removes an image with all its names, given any of them; one that does not exist is removed
    /// already. Layers in use stay until the last hold on them is dropped.
    pub async fn remove(&self, any: &str) -> Result<(), StoreError> {
        let (store, any) = (self.clone(), any.to_owned());
        let removed = tokio::task::spawn_blocking(move || store.inner.remove(&any)).await;
        removed.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Keeps the layers of an image, whatever happens to the image, until the hold is dropped.
    pub fn hold(&self, image: &Image) -> Result<ImageHold, StoreError> {
        self.hold_layers(&image.layers)
    }

    /// Keeps layers by name: for containers that outlived the daemon.
    pub fn hold_layers(&self, layers: &[LayerName]) -> Result<ImageHold, StoreError> {
        self.inner.hold(layers)
    }

    /// Deletes in the background what no image and no hold uses, now and from now on. To be called
    /// once after the start, when all recovered containers hold their layers.
    pub fn collect(&self) {
        self.inner
            .collecting
            .store(true, std::sync::atomic::Ordering::Release);
        self.inner.collect_in_background();
    }

    /// Reads a file of the image that the layers (the bottom one first) make up, without mounting
    /// it; `None` when there is no such regular file. Blocks on the disk.
    pub fn read_file(
        &self,
        layers: &[LayerName],
        path: &str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(overlay::read_file(&self.inner.layers, layers, path, limit)?)
    }

    /// Whether the image that the layers (the bottom one first) make up has a directory of this path;
    /// links are followed inside the image only. Blocks on the disk.
    pub fn is_directory(&self, layers: &[LayerName], path: &str) -> Result<bool, StoreError> {
        Ok(overlay::is_directory(&self.inner.layers, layers, path)?)
    }

    /// Copies what the image that the layers (the bottom one first) make up has in the directory `path`
    /// into the empty directory `to`, and makes `to` like it; nothing when it has no directory there. Links
    /// are resolved beneath the image's root. Blocks on the disk.
    pub fn copy_directory(
        &self,
        layers: &[LayerName],
        path: &str,
        to: &Dir,
    ) -> Result<(), StoreError> {
        Ok(overlay::copy_directory(
            &self.inner.layers,
            layers,
            path,
            to,
        )?)
    }

    /// What the images take, from the records: cheap.
    pub fn fs_usage(&self) -> FsUsage {
        let snapshot = self.inner.snapshot();
        let (used_bytes, inodes_used) = snapshot
            .index
            .layers
            .values()
            .fold((0, 0), |(bytes, inodes), layer| {
                (bytes + layer.bytes, inodes + layer.inodes)
            });
        FsUsage {
            path: self.layers_dir().to_owned(),
            used_bytes,
            inodes_used,
            timestamp: SystemTime::now(),
        }
    }

    /// The directory of the layers: `<layers_dir>/<LayerName>/diff` is a lower directory of overlay.
    pub fn layers_dir(&self) -> &Path {
        self.inner.layers.path()
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

/// The file name of the index.
const INDEX: &str = "index.json";

impl Inner {
    /// What readers see now.
    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The limits of one layer.
    pub(crate) fn limits(&self) -> unpack::Limits {
        unpack::Limits {
            entries: self.settings.max_layer_entries,
            bytes: self.settings.max_layer_bytes,
        }
    }

    /// Makes a new index durable, then visible. To be called with `writing` held.
    fn publish(&self, index: Index) -> Result<(), StoreError> {
        let before = self.snapshot.load();
        RECORD.store(
            &self.root,
            &FileName::new(INDEX)?,
            &index,
            holdfast_disk::Durability::Synced,
        )?;
        let snapshot = Snapshot::build(index, &before, &self.blobs, &self.settings.pinned);
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    fn remove(self: &Arc<Self>, any: &str) -> Result<(), StoreError> {
        {
            let _writing = self.lock_writing();
            let snapshot = self.snapshot.load_full();
            let Some(image) = snapshot.resolve(any) else {
                return Ok(());
            };
            let mut index = snapshot.index.clone();
            index.forget(&image.id);
            self.publish(index)?;
        }
        self.collect_in_background();
        Ok(())
    }

    fn lock_writing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The settings with pinned references in canonical form; one that is no reference pins nothing, and a
/// pattern is taken as it is.
fn normalised(mut settings: ImageSettings) -> ImageSettings {
    settings.max_parallel_layers = settings.max_parallel_layers.max(1);
    for pinned in settings.pinned.iter_mut().filter(|pin| !pin.contains('*')) {
        match pinned.parse::<Reference>() {
            Ok(reference) => *pinned = reference.to_string(),
            Err(e) => {
                tracing::warn!(reference = %pinned, error = &e as &dyn std::error::Error, "cannot pin an image")
            }
        }
    }
    settings
}

/// The index without the images some of whose layers somebody deleted.
fn without_torn_images(mut index: Index, present: &std::collections::BTreeSet<LayerName>) -> Index {
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
