//! Pulling an image from its registry.
//!
//! ```text
//!   resolve ──► manifest (index → manifest) ──► configuration ──► layers in parallel ──► commit
//!      │ known digest                                │ known id        │ known diff ids
//!      └──────────────► names only ◄─────────────────┘                 └─ held, not fetched
//! ```
//!
//! An operation belongs to the store, not to the caller: it runs in a task of its own.

use super::image::{Image, ImageId};
use super::index::names_of;
use super::layer::{self, Expected, Layer, LayerError};
use super::manifest::{self, Machine, Manifest, ManifestError, Parsed, Part};
use super::overlay::DIFF;
use super::registry::{Document, RegistryError, Repository};
use super::store::{Candidate, ImageStore, Slot, StoreError};
use super::{Credentials, Digest, Reference, ReferenceError, Target};
use crate::disk::{Dir, FileName};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::stream::{self, StreamExt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

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

/// Why an image was not pulled. Cheap to clone: concurrent callers share one operation's error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    /// The text is no reference.
    #[error("invalid image reference {reference:?}")]
    InvalidReference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// The registry did not deliver.
    #[error("cannot pull image {reference} from its registry")]
    Registry {
        /// The image.
        reference: String,
        /// What happened.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The image is not one this machine can run.
    #[error("cannot use image {reference}")]
    Manifest {
        /// The image.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: Arc<ManifestError>,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {digest} of image {reference}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer's blob.
        digest: Digest,
        /// What happened.
        #[source]
        source: Arc<LayerError>,
    },
    /// The store could not keep it.
    #[error("cannot store image {reference}")]
    Store {
        /// The image.
        reference: String,
        /// What happened.
        #[source]
        source: Arc<StoreError>,
    },
}

/// What a failed pull means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The reference cannot be pulled by anybody.
    InvalidReference,
    /// The registry has no such image.
    NotFound,
    /// The registry wants other credentials.
    Unauthorized,
    /// The registry cannot be reached, or is not able to serve just now.
    Unavailable,
    /// What came is not what the digests promise, or cannot be unpacked.
    Corrupt,
    /// The disk is full.
    NoSpace,
    /// A limit of ours was met.
    TooLarge,
    /// The image is for another machine, or is no image.
    Unsupported,
    /// This machine failed.
    Internal,
}

impl PullError {
    /// What the failure means to the caller.
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::InvalidReference { .. } => PullErrorKind::InvalidReference,
            Self::Registry { source, .. } => registry_kind(source.decisive()),
            Self::Manifest { source, .. } => manifest_kind(source),
            Self::Layer { source, .. } => layer_kind(source),
            Self::Store { source, .. } if source.is_no_space() => PullErrorKind::NoSpace,
            Self::Store { .. } => PullErrorKind::Internal,
        }
    }
}

fn registry_kind(error: &RegistryError) -> PullErrorKind {
    match error {
        RegistryError::NotFound { .. } => PullErrorKind::NotFound,
        RegistryError::Unauthorized { .. } => PullErrorKind::Unauthorized,
        RegistryError::Unreachable { .. } | RegistryError::Stalled { .. } => {
            PullErrorKind::Unavailable
        }
        RegistryError::Status { status, .. }
            if status.is_server_error() || status.as_u16() == 429 =>
        {
            PullErrorKind::Unavailable
        }
        RegistryError::Mismatch { .. } => PullErrorKind::Corrupt,
        RegistryError::TooLarge { .. } => PullErrorKind::TooLarge,
        RegistryError::Hosts { .. } | RegistryError::Client { .. } => PullErrorKind::Internal,
        RegistryError::Status { .. }
        | RegistryError::Answer { .. }
        | RegistryError::GivenUp { .. }
        | RegistryError::AllHosts { .. } => PullErrorKind::Unavailable,
    }
}

pub(super) fn manifest_kind(error: &ManifestError) -> PullErrorKind {
    match error {
        ManifestError::Json { .. } | ManifestError::LayerCount { .. } => PullErrorKind::Corrupt,
        ManifestError::TooManyLayers(_) => PullErrorKind::TooLarge,
        ManifestError::Kind(_)
        | ManifestError::Platform { .. }
        | ManifestError::Artifact(_)
        | ManifestError::Digest(_) => PullErrorKind::Unsupported,
    }
}

pub(super) fn layer_kind(error: &LayerError) -> PullErrorKind {
    match error {
        LayerError::Unpack(e) if e.is_no_space() => PullErrorKind::NoSpace,
        LayerError::Unpack(e) if e.is_too_large() => PullErrorKind::TooLarge,
        LayerError::Unpack(e) if e.is_local() => PullErrorKind::Internal,
        LayerError::Read(e) if e.kind() == std::io::ErrorKind::Unsupported => {
            PullErrorKind::Unsupported
        }
        LayerError::Unpack(_)
        | LayerError::Read(_)
        | LayerError::BlobMismatch { .. }
        | LayerError::DiffIdMismatch { .. } => PullErrorKind::Corrupt,
    }
}

type Operation = Shared<BoxFuture<'static, Result<Arc<Image>, PullError>>>;

/// The same reference, as the same caller.
type Key = (String, Option<[u8; 32]>);

/// The pulls under way, so that equal ones are one.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<Key, Operation>>);

/// Pulls, or waits for the equal pull that is under way.
pub(super) async fn pull(
    store: &ImageStore,
    request: PullRequest,
) -> Result<Arc<Image>, PullError> {
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
    let operation = {
        let in_flight = &store.inner.in_flight.0;
        let mut in_flight = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        match in_flight.get(&key) {
            Some(operation) => operation.clone(),
            None => {
                let operation = start(store.clone(), key.clone(), reference, request.credentials);
                in_flight.insert(key, operation.clone());
                operation
            }
        }
    };
    operation.await
}

fn start(
    store: ImageStore,
    key: Key,
    reference: Reference,
    credentials: Option<Credentials>,
) -> Operation {
    let name = reference.to_string();
    let task = tokio::spawn(async move {
        let result = Pull {
            store: &store,
            reference: &reference,
        }
        .run(credentials)
        .await;
        store
            .inner
            .in_flight
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        result
    });
    async move {
        let interrupted = || PullError::Store {
            reference: name,
            source: Arc::new(StoreError::Interrupted),
        };
        task.await.unwrap_or_else(|_| Err(interrupted()))
    }
    .boxed()
    .shared()
}

/// One pull.
struct Pull<'a> {
    store: &'a ImageStore,
    reference: &'a Reference,
}

impl Pull<'_> {
    async fn run(&self, credentials: Option<Credentials>) -> Result<Arc<Image>, PullError> {
        let registry = &self.store.inner.registry;
        let repository = registry
            .repository(self.reference, credentials)
            .await
            .map_err(self.registry())?;
        if let Some(image) = self.known(&repository).await? {
            return Ok(image);
        }
        let target = self.reference.target();
        let mut document = repository.manifest(target).await.map_err(self.registry())?;
        let names = names_of(self.reference, document.digest);
        let manifest = self.manifest(&repository, &mut document).await?;
        let id = ImageId::of_config(manifest.config.digest);
        if let Some(image) = self
            .blocking({
                let names = names.clone();
                move |store| store.inner.add_names(id, &names)
            })
            .await?
        {
            return Ok(image);
        }
        let config = repository
            .small_blob(manifest.config.digest)
            .await
            .map_err(self.registry())?;
        let machine = Machine::this();
        let (_, diff_ids) = manifest::parse_config(&config.bytes, manifest.layers.len(), &machine)
            .map_err(self.manifest_error())?;
        let (staging_name, staging) = self.blocking(|store| store.inner.new_staging()).await?;
        let staging = Arc::new(staging);
        let layers = self
            .layers(&repository, &manifest, &diff_ids, &staging)
            .await;
        let size = manifest.content_size() + document.bytes.len() as u64;
        let (manifest, config) = (
            (document.digest, document.bytes),
            (config.digest, config.bytes),
        );
        let committed = self.blocking(move |store| {
            let committed = layers.map(|layers| {
                store.inner.commit(
                    &staging,
                    Candidate {
                        names,
                        manifest,
                        config,
                        size,
                        layers,
                    },
                )
            });
            store.inner.end_staging(&staging_name);
            Ok(committed)
        });
        committed.await??.map_err(|source| self.store_error(source))
    }

    /// The image, when the registry confirms that the reference still means what the store has.
    ///
    /// Asking by HEAD costs no pull in the accounting of registries that limit them.
    async fn known(&self, repository: &Repository<'_>) -> Result<Option<Arc<Image>>, PullError> {
        let snapshot = self.store.inner.snapshot().clone();
        if !snapshot
            .index
            .names
            .contains_key(&self.reference.to_string())
        {
            return Ok(None);
        }
        let target = self.reference.target();
        let head = match repository.head(target).await {
            // A registry that does not know HEAD is asked by GET.
            Err(e) if matches!(e.decisive(), RegistryError::Status { .. }) => None,
            other => other.map_err(self.registry())?,
        };
        let digest = match (head, target) {
            (_, Target::Digest(digest)) => *digest,
            (Some(digest), Target::Tag(_)) => digest,
            (None, Target::Tag(_)) => return Ok(None),
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
        repository: &Repository<'_>,
        document: &mut Document,
    ) -> Result<Manifest, PullError> {
        let machine = Machine::this();
        for _ in 0..INDEXES_MAX {
            match manifest::parse(&document.bytes, &machine).map_err(self.manifest_error())? {
                Parsed::Manifest(manifest) => return Ok(manifest),
                Parsed::Index(digest) => {
                    let found = repository.manifest(&Target::Digest(digest)).await;
                    *document = found.map_err(self.registry())?;
                }
            }
        }
        Err(self.manifest_error()(ManifestError::Kind(
            "it leads through too many indexes",
        )))
    }

    /// Gets all layers; when one fails the others end soon, and all have ended on return.
    async fn layers(
        &self,
        repository: &Repository<'_>,
        manifest: &Manifest,
        diff_ids: &[Digest],
        staging: &Arc<Dir>,
    ) -> Result<Vec<Slot>, PullError> {
        let mut jobs: Vec<(usize, (Part, Digest))> = manifest
            .layers
            .iter()
            .copied()
            .zip(diff_ids.iter().copied())
            .enumerate()
            .collect();
        // The largest first: the last one to begin then ends soon.
        jobs.sort_by_key(|(_, (part, _))| std::cmp::Reverse(part.size));
        let (cancel, cancelled) = watch::channel(false);
        let mut operations: Vec<BoxFuture<'_, (usize, Result<Slot, PullError>)>> = Vec::new();
        for (at, (part, diff_id)) in jobs {
            let operation = self.layer(repository, (at, part, diff_id), staging, cancelled.clone());
            operations.push(operation.map(move |result| (at, result)).boxed());
        }
        let mut results = stream::iter(operations)
            .buffer_unordered(self.store.inner.settings.max_parallel_layers);
        let mut slots: Vec<(usize, Slot)> = Vec::new();
        let mut failure = None;
        while let Some((at, result)) = results.next().await {
            match result {
                Ok(slot) => slots.push((at, slot)),
                Err(e) => {
                    cancel.send_replace(true);
                    failure.get_or_insert(e);
                }
            }
        }
        if let Some(e) = failure {
            return Err(e);
        }
        slots.sort_by_key(|(at, _)| *at);
        Ok(slots.into_iter().map(|(_, slot)| slot).collect())
    }

    async fn layer(
        &self,
        repository: &Repository<'_>,
        (at, part, diff_id): (usize, Part, Digest),
        staging: &Arc<Dir>,
        mut cancelled: watch::Receiver<bool>,
    ) -> Result<Slot, PullError> {
        if let Some(hold) = self.store.hold_diff_id(&diff_id) {
            return Ok(Slot::Present(hold));
        }
        let (sink, reader) = layer::channel();
        let (staging, limits) = (Arc::clone(staging), self.store.inner.limits());
        let unpacking = tokio::task::spawn_blocking(move || {
            let expected = Expected {
                blob: Some(part.digest),
                diff_id: Some(diff_id),
            };
            let (name, dir) = stage_layer(&staging, at)?;
            Ok((name, layer::unpack_verified(reader, &dir, expected, limits)))
        });
        let downloaded = tokio::select! {
            result = repository.blob(part.digest, part.size, &sink) => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => {
                Err(RegistryError::GivenUp { url: part.digest.to_string() })
            }
        };
        drop(sink);
        let unpacked: Result<(FileName, Result<Layer, LayerError>), StoreError> =
            unpacking.await.unwrap_or(Err(StoreError::Interrupted));
        match (
            unpacked.map_err(|source| self.store_error(source))?,
            downloaded,
        ) {
            ((name, Ok(layer)), Ok(())) => Ok(Slot::Staged { name, layer }),
            ((_, Err(source)), Ok(()) | Err(RegistryError::GivenUp { .. })) => {
                Err(PullError::Layer {
                    reference: self.reference.to_string(),
                    digest: part.digest,
                    source: Arc::new(source),
                })
            }
            (_, Err(source)) => Err(self.registry()(source)),
        }
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

/// Makes the directory a layer is unpacked into: `<staging>/<number>/diff`.
pub(super) fn stage_layer(staging: &Dir, number: usize) -> Result<(FileName, Dir), StoreError> {
    let staging_error = StoreError::directory("stage a layer");
    let name = FileName::new(number.to_string())?;
    let layer = staging
        .create_new_subdir(&name, 0o700)
        .map_err(&staging_error)?;
    let diff = layer
        .create_new_subdir(&FileName::new(DIFF)?, 0o755)
        .map_err(&staging_error)?;
    Ok((name, diff))
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
