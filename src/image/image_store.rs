//! The images of this node, as the daemon uses them: what the store has, pulls, imports and security profiles.

use super::image::{Image, LayerName};
use super::import::{self, ImportError};
use super::overlay;
use super::profile::{Profile, ProfileError, Profiles};
use super::pull::{PullError, PullRequest, Pulling, Pulls};
use super::registry::{Registry, Timers};
use super::store::{FsUsage, ImageHold, ImageSettings, Store, StoreError};
use holdfast_disk::Dir;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

/// The images of this node. Cloning is cheap; all clones are one store.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(super) store: Arc<Store>,
    registry: Arc<Registry>,
    pulls: Arc<Pulls>,
    profiles: Arc<Profiles>,
}

impl ImageStore {
    /// Opens the store at `root`, making it when missing, and sweeps what an interrupted pull left.
    ///
    /// Layers that no image uses are kept until [`ImageStore::collect`], so that containers that
    /// outlived the daemon can declare theirs first. Fails when another daemon has the store open.
    pub fn open(root: &Path, settings: ImageSettings) -> Result<Self, StoreError> {
        let timers = Timers {
            stall: settings.stall_timeout,
            rate: settings.min_download_rate,
            window: settings.download_rate_window,
        };
        let registry = Arc::new(Registry::new(settings.hosts_dir.clone(), timers));
        let store = Store::open(root, settings)?;
        Ok(Self {
            profiles: Arc::new(Profiles::open(&store.root)?),
            pulls: Pulls::new(Arc::clone(&store), Arc::clone(&registry)),
            registry,
            store,
        })
    }

    /// Pulls an image; concurrent pulls of the same reference with the same credentials are one
    /// operation, which goes on when its callers go away.
    pub async fn pull(&self, request: PullRequest) -> Result<Arc<Image>, PullError> {
        self.begin_pull(request)?.end().await
    }

    /// Begins a pull as [`ImageStore::pull`] does, and returns a handle by which its progress can be watched.
    ///
    /// # Errors
    /// The text is not an image reference.
    pub fn begin_pull(&self, request: PullRequest) -> Result<Pulling, PullError> {
        self.pulls.begin(request)
    }

    /// Makes an image called `name` of an archive: a root file system, an OCI layout, or what
    /// `docker save` writes, each plain or compressed with gzip or zstd.
    pub async fn import(
        &self,
        name: &str,
        archive: impl std::io::Read + Send + 'static,
    ) -> Result<Arc<Image>, ImportError> {
        import::import(&self.store, name, Box::new(archive)).await
    }

    /// Finds an image by its id, the beginning of its id, or a reference, as containerd does.
    pub fn resolve(&self, any: &str) -> Option<Arc<Image>> {
        self.store.snapshot().resolve(any).cloned()
    }

    /// All images, in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.store.snapshot().images.values().cloned().collect()
    }

    /// Removes an image with all its names, given any of them; one that does not exist is removed
    /// already. Layers in use stay until the last hold on them is dropped.
    pub async fn remove(&self, any: &str) -> Result<(), StoreError> {
        let (store, any) = (Arc::clone(&self.store), any.to_owned());
        let removed = tokio::task::spawn_blocking(move || store.remove(&any)).await;
        removed.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Keeps the layers of an image, whatever happens to the image, until the hold is dropped.
    pub fn hold(&self, image: &Image) -> Result<ImageHold, StoreError> {
        self.hold_layers(&image.layers)
    }

    /// Keeps layers by name: for containers that outlived the daemon.
    pub fn hold_layers(&self, layers: &[LayerName]) -> Result<ImageHold, StoreError> {
        self.store.hold(layers)
    }

    /// Deletes in the background what no image and no hold uses, now and from now on. To be called
    /// once after the start, when all recovered containers hold their layers.
    pub fn collect(&self) {
        self.store.collect();
    }

    /// Reads a file of the image that the layers (the bottom one first) make up, without mounting
    /// it; `None` when there is no such regular file. Blocks on the disk.
    pub fn read_file(
        &self,
        layers: &[LayerName],
        path: &str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(overlay::read_file(&self.store.layers, layers, path, limit)?)
    }

    /// Whether the image that the layers (the bottom one first) make up has a directory of this path;
    /// links are followed inside the image only. Blocks on the disk.
    pub fn is_directory(&self, layers: &[LayerName], path: &str) -> Result<bool, StoreError> {
        Ok(overlay::is_directory(&self.store.layers, layers, path)?)
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
            &self.store.layers,
            layers,
            path,
            to,
        )?)
    }

    /// The directory of the layers: `<layers_dir>/<LayerName>/diff` is a lower directory of overlay.
    pub fn layers_dir(&self) -> &Path {
        self.store.layers.path()
    }

    /// The disk usage of the images. Cheap, because it comes from the records.
    pub fn fs_usage(&self) -> FsUsage {
        self.store.fs_usage()
    }

    /// Whether layers are what was committed, which is looked at once a boot. Those that are not are forgotten
    /// with their images, as if they had never been pulled.
    ///
    /// # Errors
    /// [`StoreError`] when the disk fails otherwise.
    pub async fn sound(&self, layers: &[LayerName]) -> Result<bool, StoreError> {
        self.store.layers_intact(layers).await
    }

    /// Makes a profile present, and says whether it was already: no registry is asked then. `check` decides whether
    /// a file is a profile that can be used.
    ///
    /// # Errors
    /// [`ProfileError`]; nothing is kept then.
    pub async fn pull_profile(
        &self,
        request: PullRequest,
        check: impl FnOnce(&str) -> Result<(), Box<dyn Error + Send + Sync>> + Send + 'static,
    ) -> Result<bool, ProfileError> {
        self.profiles.pull(&self.registry, request, check).await
    }

    /// All profiles, in the order of their digests.
    pub fn profiles(&self) -> Vec<Arc<Profile>> {
        self.profiles.list()
    }

    /// The profile that a reference means, when it is here.
    ///
    /// # Errors
    /// The text is not a reference with a digest.
    pub fn profile(&self, reference: &str) -> Result<Option<Arc<Profile>>, ProfileError> {
        self.profiles.get(reference)
    }

    /// Removes a profile by its digest, or by the digest of a reference that it was asked for by. A profile that is
    /// not here is removed already.
    ///
    /// # Errors
    /// The text is not a digest, or the disk refuses.
    pub async fn remove_profile(&self, digest: &str) -> Result<(), ProfileError> {
        self.profiles.remove(digest).await
    }
}
