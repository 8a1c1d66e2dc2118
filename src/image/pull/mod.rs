//! Pulling an image from its registry.
//!
//! ```text
//!   resolve ──► manifest (index → manifest) ──► configuration ──► layers in parallel ──► commit
//!      │ known digest                                │ known id        │ known diff ids
//!      └──────────────► names only ◄─────────────────┘                 └─ held, not fetched
//! ```
//!
//! An artifact has files instead of configuration and layers.
//!
//! An operation belongs to the store, not to the caller: it runs in a task of its own.

mod artifact;
mod error;
mod fetch;
mod layers;
mod progress;
mod stack;

#[cfg(test)]
mod tests;

use super::credentials::Fingerprint;
use super::image::{Image, ImageId};
use super::index::names_of;
use super::manifest::{self, Manifest, ManifestError, ManifestKind, Parsed, SaidBy};
use super::platform::Machine;
use super::registry::{Document, RegistryError, Repository};
use super::store::{Candidate, ImageStore, Slot, StoreError};
use super::{Credentials, Digest, Reference, Target};
use bytes::Bytes;
pub use error::{PullError, PullErrorKind};
pub(super) use error::{layer_kind, manifest_kind};
pub(super) use fetch::Fetches;
use fetch::Wish;
use futures_util::future::{BoxFuture, FutureExt, Shared};
pub use progress::LayerProgress;
use progress::Progress;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most indexes on the way to a manifest.
const INDEXES_MAX: usize = 3;

/// What to pull, as whom.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Anything a person may write: `busybox`, `registry.k8s.io/pause:3.10`, `host:5000/a@sha256:…`.
    pub reference: String,
    /// Used for this pull only.
    pub credentials: Option<Credentials>,
}

type Operation = Shared<BoxFuture<'static, Result<Arc<Image>, PullError>>>;

/// The same reference, as the same caller.
type Key = (String, Option<Fingerprint>);

/// The pulls under way, so that equal ones are one.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<Key, Pulling>>);

/// A pull under way. It goes on when this is dropped.
#[derive(Debug, Clone)]
pub struct Pulling {
    operation: Operation,
    progress: Arc<Progress>,
}

impl Pulling {
    /// The layers of the image, from the bottom, and how much of each has come. Empty until the manifest is
    /// known, and for an image that need not be fetched.
    pub fn layers(&self) -> Vec<LayerProgress> {
        self.progress.layers()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As [`ImageStore::pull`].
    pub async fn end(&self) -> Result<Arc<Image>, PullError> {
        self.operation.clone().await
    }
}

/// Begins a pull, or joins the equal one that is under way.
pub(super) fn begin(store: &ImageStore, request: PullRequest) -> Result<Pulling, PullError> {
    let reference: Reference = match request.reference.parse() {
        Ok(reference) => reference,
        Err(source) => {
            return Err(PullError::InvalidReference {
                reference: request.reference,
                source,
            });
        }
    };
    let key: Key = (
        reference.to_string(),
        request.credentials.as_ref().map(Credentials::fingerprint),
    );
    let in_flight = &store.inner.in_flight.0;
    let mut in_flight = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pulling) = in_flight.get(&key) {
        return Ok(pulling.clone());
    }
    let pulling = start(store.clone(), key.clone(), reference, request.credentials);
    in_flight.insert(key, pulling.clone());
    Ok(pulling)
}

fn start(
    store: ImageStore,
    key: Key,
    reference: Reference,
    credentials: Option<Credentials>,
) -> Pulling {
    let name = reference.to_string();
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let task = tokio::spawn(async move {
        let pull = Pull {
            store: &store,
            reference: &reference,
            caller: key.1,
            progress: &progress,
            wishes: Mutex::default(),
        };
        let result = pull.run(credentials).await;
        if result.is_err() {
            pull.given_up().await;
            let store = store.clone();
            // However it ends, the failure is answered.
            let _ = tokio::task::spawn_blocking(move || store.inner.release_space()).await;
        }
        store
            .inner
            .in_flight
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        result
    });
    let operation = async move {
        let interrupted = || PullError::Store {
            reference: name,
            source: Arc::new(StoreError::Interrupted),
        };
        task.await.unwrap_or_else(|_| Err(interrupted()))
    };
    Pulling {
        operation: operation.boxed().shared(),
        progress: watched,
    }
}

/// One pull.
struct Pull<'a> {
    store: &'a ImageStore,
    reference: &'a Reference,
    /// Whose it is.
    caller: Option<Fingerprint>,
    /// For those who watch.
    progress: &'a Progress,
    /// The fetches that it waited for, whatever became of them.
    wishes: Mutex<Vec<Wish>>,
}

impl Pull<'_> {
    fn wishes(&self) -> MutexGuard<'_, Vec<Wish>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything is over that went on for this pull alone: what it has on disk is on its way out then.
    async fn given_up(&self) {
        let wishes = std::mem::take(&mut *self.wishes());
        for wish in wishes {
            wish.ended().await;
        }
    }

    async fn run(&self, credentials: Option<Credentials>) -> Result<Arc<Image>, PullError> {
        let registry = &self.store.inner.registry;
        let repository = registry
            .repository(self.reference, credentials)
            .await
            .map_err(self.registry())?;
        let repository = Arc::new(repository);
        if let Some(image) = self.known(&repository).await? {
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
                move |store| store.inner.add_names(id, &names)
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
        self.blocking(move |store| store.inner.commit(&candidate))
            .await
    }

    /// Gets the configuration and the layers of a container image.
    async fn image(
        &self,
        repository: &Arc<Repository>,
        manifest: &Manifest,
    ) -> Result<((Digest, Bytes), Vec<Slot>), PullError> {
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
    async fn known(&self, repository: &Repository) -> Result<Option<Arc<Image>>, PullError> {
        let snapshot = self.store.inner.snapshot().clone();
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
        self.blocking(move |store| store.inner.add_names(id, &names))
            .await
    }

    /// Goes from what the reference means to the manifest for this machine; `document` becomes it.
    async fn manifest(
        &self,
        repository: &Repository,
        document: &mut Document,
    ) -> Result<Manifest, PullError> {
        let machine = Machine::this();
        let mut platform = SaidBy::Caller;
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
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, PullError> {
        let store = self.store.clone();
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
