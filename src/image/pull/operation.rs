//! One pull, from the reference to the image in the store.

use super::error::PullError;
use super::fetch::{Fetches, WantedFetch};
use super::progress::Progress;
use crate::credentials::{Credentials, Fingerprint};
use crate::digest::Digest;
use crate::image::{Image, ImageId};
use crate::index::names_of;
use crate::manifest::{self, Manifest, ManifestError, ManifestKind, Parsed, PlatformSource};
use crate::platform::Machine;
use crate::reference::{Reference, Target};
use crate::registry::{Document, Registry, RegistryError, Repository};
use crate::store::{Candidate, CandidateLayer, Store, StoreError};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most indexes on the way to a manifest.
const INDEXES_MAX: usize = 3;

/// A pull of one image.
pub(super) struct Pull<'a> {
    pub store: &'a Arc<Store>,
    pub registry: &'a Registry,
    /// The layers under way, of all pulls.
    pub fetches: &'a Arc<Fetches>,
    pub reference: &'a Reference,
    /// Whose pull it is.
    pub caller: Option<Fingerprint>,
    /// For those who watch the pull.
    pub progress: &'a Progress,
    /// The fetches that the pull waited for, whatever became of them.
    pub wanted_fetches: Mutex<Vec<WantedFetch>>,
}

impl Pull<'_> {
    pub(super) fn wanted_fetches(&self) -> MutexGuard<'_, Vec<WantedFetch>> {
        self.wanted_fetches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything is over that went on for this pull alone: what it has on disk is on its way out then.
    pub(super) async fn given_up(&self) {
        let wanted_fetches = std::mem::take(&mut *self.wanted_fetches());
        for wanted_fetch in wanted_fetches {
            wanted_fetch.ended().await;
        }
    }

    /// Pulls the image and commits it to the store.
    pub(super) async fn run(
        &self,
        credentials: Option<Credentials>,
    ) -> Result<Arc<Image>, PullError> {
        let repository = self
            .registry
            .repository(self.reference, credentials)
            .await
            .map_err(self.registry())?;
        let repository = Arc::new(repository);
        if let Some(image) = self.find_stored_image(&repository).await? {
            return Ok(image);
        }
        let target = self.reference.target();
        let mut document = repository.manifest(target).await.map_err(self.registry())?;
        let names = names_of(self.reference, document.digest);
        let manifest = self.manifest(&repository, &mut document).await?;
        let id = match manifest.kind {
            ManifestKind::Image => ImageId::of_config(manifest.config.digest),
            ManifestKind::Artifact(_) => ImageId::of_artifact(document.digest),
        };
        if let Some(image) = self
            .blocking({
                let names = names.clone();
                move |store| store.add_names(id, &names)
            })
            .await?
        {
            return Ok(image);
        }
        let size = manifest.content_size() + document.bytes.len() as u64;
        let document = (document.digest, document.bytes);
        let (config, layers) = match &manifest.kind {
            ManifestKind::Image => self.image(&repository, &manifest).await?,
            ManifestKind::Artifact(files) => {
                let slot = self.artifact(&repository, files, document.0).await?;
                (document.clone(), vec![slot])
            }
        };
        let candidate = Candidate {
            names,
            size,
            manifest: document,
            config,
            layers,
        };
        self.blocking(move |store| store.commit(&candidate)).await
    }

    /// Gets the configuration and the layers of a container image.
    async fn image(
        &self,
        repository: &Arc<Repository>,
        manifest: &Manifest,
    ) -> Result<((Digest, Bytes), Vec<CandidateLayer>), PullError> {
        let config = repository
            .small_blob(manifest.config.digest)
            .await
            .map_err(self.registry())?;
        let (parsed, diff_ids) = manifest::parse_config(&config.bytes, manifest.layers.len())
            .map_err(self.manifest_error())?;
        manifest::check_platform(&parsed, manifest.platform, &self.reference.to_string())
            .map_err(self.manifest_error())?;
        let layers = self.layers(repository, manifest, &diff_ids).await?;
        Ok(((config.digest, config.bytes), layers))
    }

    /// The image, when the registry confirms that the reference still means what the store has.
    ///
    /// Asking by HEAD costs no pull in the accounting of registries that limit them. A registry that does not
    /// confirm it this way is asked by GET, which also decides what the caller may see.
    async fn find_stored_image(
        &self,
        repository: &Repository,
    ) -> Result<Option<Arc<Image>>, PullError> {
        let snapshot = self.store.snapshot().clone();
        if !snapshot
            .index
            .names
            .contains_key(&self.reference.to_string())
        {
            return Ok(None);
        }
        let Some(digest) = repository.head(self.reference.target()).await else {
            return Ok(None);
        };
        let same = snapshot
            .index
            .names
            .get(&self.reference.at(digest).to_string())
            .copied();
        let Some(id) = same else { return Ok(None) };
        let names = names_of(self.reference, digest);
        self.blocking(move |store| store.add_names(id, &names))
            .await
    }

    /// Goes from what the reference means to the manifest for this machine; `document` becomes it.
    async fn manifest(
        &self,
        repository: &Repository,
        document: &mut Document,
    ) -> Result<Manifest, PullError> {
        let machine = Machine::this();
        let mut platform = PlatformSource::Caller;
        for _ in 0..INDEXES_MAX {
            match manifest::parse(&document.bytes, &machine).map_err(self.manifest_error())? {
                Parsed::Manifest(manifest) => {
                    return Ok(Manifest {
                        platform,
                        ..manifest
                    });
                }
                Parsed::Index(choice) => {
                    platform = choice.platform;
                    let found = repository.manifest(&Target::Digest(choice.digest)).await;
                    *document = found.map_err(self.registry())?;
                }
            }
        }
        Err(self.manifest_error()(ManifestError::Kind(
            "it leads through too many indexes",
        )))
    }

    /// Runs what waits for the disk or for the store's lock.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, PullError> {
        let store = Arc::clone(self.store);
        let result = tokio::task::spawn_blocking(move || work(&store)).await;
        result
            .unwrap_or(Err(StoreError::Interrupted))
            .map_err(|source| self.store_error(source))
    }

    fn registry(&self) -> impl Fn(RegistryError) -> PullError {
        let reference = self.reference.to_string();
        move |source| PullError::Registry {
            reference: reference.clone(),
            source: Arc::new(source),
        }
    }

    fn manifest_error(&self) -> impl Fn(ManifestError) -> PullError {
        let reference = self.reference.to_string();
        move |source| PullError::Manifest {
            reference: reference.clone(),
            source: Arc::new(source),
        }
    }

    fn store_error(&self, source: StoreError) -> PullError {
        PullError::Store {
            reference: self.reference.to_string(),
            source: Arc::new(source),
        }
    }
}
