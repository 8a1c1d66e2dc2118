//! Pulling an image from its registry.
//!
//! ```text
//!   resolve ──► manifest (index → manifest) ──► configuration ──► layers in parallel ──► commit
//!      │ known digest                                │ known id        │ known diff ids
//!      └──────────────► names only ◄─────────────────┘                 └─ held, not fetched
//! ```
//!
//! An artifact has files instead of a configuration and layers.
//!
//! A pull belongs to the store, not to its caller: it runs in a task of its own.

mod artifact;
mod error;
mod fetch;
mod layers;
mod operation;
mod progress;
mod request;
mod stack;

#[cfg(test)]
mod tests;

use super::credentials::{Credentials, Fingerprint};
use super::image::Image;
use super::reference::Reference;
use super::registry::Registry;
use super::store::{Store, StoreError};
pub use error::{PullError, PullErrorKind};
pub(super) use error::{layer_kind, manifest_kind};
use fetch::Fetches;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use operation::Pull;
pub use progress::LayerProgress;
use progress::Progress;
pub use request::PullRequest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Operation = Shared<BoxFuture<'static, Result<Arc<Image>, PullError>>>;

/// The same reference, as the same caller.
type Key = (String, Option<Fingerprint>);

/// The pulls of this node: equal ones that are under way are one.
#[derive(Debug)]
pub(super) struct Pulls {
    store: Arc<Store>,
    registry: Arc<Registry>,
    fetches: Arc<Fetches>,
    under_way: Mutex<HashMap<Key, Pulling>>,
}

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
    /// Every [`PullError`].
    pub async fn end(&self) -> Result<Arc<Image>, PullError> {
        self.operation.clone().await
    }
}

impl Pulls {
    pub(super) fn new(store: Arc<Store>, registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self {
            store,
            registry,
            fetches: Arc::default(),
            under_way: Mutex::default(),
        })
    }

    /// Begins a pull, or joins the equal one that is under way.
    pub(super) fn begin(self: &Arc<Self>, request: PullRequest) -> Result<Pulling, PullError> {
        let reference: Reference = match request.reference.parse() {
            Ok(reference) => reference,
            Err(source) => {
                return Err(PullError::InvalidReference {
                    reference: request.reference,
                    source,
                });
            }
        };
        let caller = request.credentials.as_ref().map(Credentials::fingerprint);
        let key: Key = (reference.to_string(), caller);
        let mut under_way = self.under_way();
        if let Some(pulling) = under_way.get(&key) {
            return Ok(pulling.clone());
        }
        let pulling = self.start(key.clone(), reference, request.credentials);
        under_way.insert(key, pulling.clone());
        Ok(pulling)
    }

    fn start(
        self: &Arc<Self>,
        key: Key,
        reference: Reference,
        credentials: Option<Credentials>,
    ) -> Pulling {
        let name = reference.to_string();
        let progress = Arc::new(Progress::default());
        let (pulls, watched) = (Arc::clone(self), Arc::clone(&progress));
        let task = tokio::spawn(async move {
            let pull = Pull {
                store: &pulls.store,
                registry: &pulls.registry,
                fetches: &pulls.fetches,
                reference: &reference,
                caller: key.1,
                progress: &progress,
                wanted_fetches: Mutex::default(),
            };
            let result = pull.run(credentials).await;
            if result.is_err() {
                pull.given_up().await;
                let store = Arc::clone(&pulls.store);
                // However it ends, the failure is answered.
                let _ = tokio::task::spawn_blocking(move || store.release_space()).await;
            }
            pulls.under_way().remove(&key);
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

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Pulling>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
