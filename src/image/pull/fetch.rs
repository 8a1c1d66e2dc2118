//! Layers under way, shared by the pulls that want them.
//!
//! A fetch is a task of its own: it downloads and unpacks one layer for all pulls of the same caller from
//! the same registry. It ends when the last of them loses interest, and cleans up behind itself. What it
//! made lives as long as a pull wants it, so that one that comes later finds it too.

use super::error::PullError;
use super::stack::Stack;
use crate::credentials::Fingerprint;
use crate::digest::Digest;
use crate::index::LayerKey;
use crate::layer::{self, Counter, Expected, LayerError};
use crate::manifest::Part;
use crate::registry::{RegistryError, Repository};
use crate::store::{StagedLayer, Staging, Store, StoreError};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;

/// The identity of a fetch: requests with equal keys share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FetchKey {
    /// The registry in the image's name.
    pub host: String,
    /// The caller that the fetch is for: what one caller may see, another may not.
    pub caller: Option<Fingerprint>,
    pub blob: Digest,
    pub layer: LayerKey,
}

/// A layer to be fetched.
#[derive(Debug, Clone)]
pub(super) struct LayerRequest {
    pub repository: Arc<Repository>,
    pub part: Part,
    pub diff_id: Digest,
    /// The chain id of its place in the image.
    pub chain: Digest,
    /// The place of the layer in the image, 0 being the bottom.
    pub at: usize,
    /// Present knowledge about the layers below.
    pub stack: Arc<Stack>,
}

/// Why a layer was not fetched. Cheap to clone: several pulls share it.
#[derive(Debug, Clone)]
pub(super) enum FetchError {
    /// The layer depends on the layers below it, which are not there yet.
    NeedsLower,
    Registry(Arc<RegistryError>),
    Layer(Arc<LayerError>),
    Store(Arc<StoreError>),
}

impl FetchError {
    /// The error of the pull of `reference`, whose layer is the blob `digest`.
    pub(super) fn of_pull(self, reference: String, digest: Digest) -> PullError {
        match self {
            Self::Registry(source) => PullError::Registry { reference, source },
            Self::Layer(source) => PullError::Layer {
                reference,
                digest,
                source,
            },
            Self::Store(source) => PullError::Store { reference, source },
            Self::NeedsLower => PullError::Store {
                reference,
                source: Arc::new(StoreError::Interrupted),
            },
        }
    }
}

type Fetched = Result<Arc<StagedLayer>, FetchError>;
type Fetch = Shared<BoxFuture<'static, Fetched>>;

/// The fetches of all pulls.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<HashMap<FetchKey, State>>);

/// The number of the next fetch.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A fetch as others find it.
#[derive(Debug)]
enum State {
    /// Under way, as long as somebody has the other end; with its number and how far it is.
    Running(u64, Fetch, mpsc::WeakSender<Infallible>, Counter),
    /// Done; what it made is there as long as a pull has it.
    Done(Weak<StagedLayer>),
}

impl State {
    fn is_alive(&self) -> bool {
        match self {
            Self::Running(_, _, interest, _) => interest.strong_count() > 0,
            Self::Done(layer) => layer.strong_count() > 0,
        }
    }
}

/// A fetch that a pull has wanted, for the time when it wants it no more.
#[derive(Debug)]
pub(super) struct WantedFetch {
    fetch: Fetch,
    interest: mpsc::WeakSender<Infallible>,
}

impl WantedFetch {
    /// Waits until a fetch that nobody wants has cleaned up behind itself, which is soon.
    pub(super) async fn ended(self) {
        if self.interest.strong_count() == 0 {
            // However it ended.
            let _ = self.fetch.await;
        }
    }
}

/// Fetches a layer, or waits for the fetch that is under way; `watch` is told what counts its bytes.
pub(super) async fn fetch(
    fetches: &Arc<Fetches>,
    store: &Arc<Store>,
    key: FetchKey,
    wanted: LayerRequest,
    watch: impl FnOnce(&Counter, WantedFetch),
) -> Fetched {
    let (fetch, _interest) = {
        let mut states = fetches.lock();
        states.retain(|_, state| state.is_alive());
        let found = match states.get(&key) {
            Some(State::Done(layer)) => match layer.upgrade() {
                Some(layer) => return Ok(layer),
                None => None,
            },
            Some(State::Running(_, fetch, interest, counter)) => {
                let interest = interest.upgrade();
                interest.map(|interest| (fetch.clone(), interest, Arc::clone(counter)))
            }
            None => None,
        };
        let (fetch, interest, counter) = match found {
            Some(found) => found,
            None => {
                let (interest, end) = mpsc::channel(1);
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let counter = Counter::default();
                let counted = (wanted, Arc::clone(&counter));
                let task = run(Arc::clone(store), counted, end);
                let fetch = Arc::clone(fetches).start((number, key.clone()), task);
                let weak = interest.downgrade();
                let running = State::Running(number, fetch.clone(), weak, Arc::clone(&counter));
                states.insert(key, running);
                (fetch, interest, counter)
            }
        };
        let wanted_fetch = WantedFetch {
            fetch: fetch.clone(),
            interest: interest.downgrade(),
        };
        watch(&counter, wanted_fetch);
        (fetch, interest)
    };
    fetch.await
}

impl Fetches {
    /// Runs a fetch as a task of its own, which enters its end here.
    fn start(
        self: Arc<Self>,
        (number, key): (u64, FetchKey),
        work: impl Future<Output = Fetched> + Send + 'static,
    ) -> Fetch {
        let task = tokio::spawn(async move {
            let result = work.await;
            let mut states = self.lock();
            // Once nobody was interested the key may be another fetch's already.
            if matches!(states.get(&key), Some(State::Running(own, ..)) if *own == number) {
                // What is kept here must not keep the layer.
                states.remove(&key);
                if let Ok(layer) = &result {
                    states.insert(key, State::Done(Arc::downgrade(layer)));
                }
            }
            drop(states);
            result
        });
        let interrupted = || FetchError::Store(Arc::new(StoreError::Interrupted));
        async move { task.await.unwrap_or_else(|_| Err(interrupted())) }
            .boxed()
            .shared()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FetchKey, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(
    store: Arc<Store>,
    (wanted, counter): (LayerRequest, Counter),
    mut end: mpsc::Receiver<Infallible>,
) -> Fetched {
    let part = wanted.part;
    let (sink, reader) = layer::channel(counter);
    let limits = store.limits();
    let (stack, at, chain) = (Arc::clone(&wanted.stack), wanted.at, wanted.chain);
    let expected = Expected {
        blob: Some(part.digest),
        diff_id: Some(wanted.diff_id),
    };
    let unpacking = tokio::task::spawn_blocking(move || {
        let staging = Staging::new(&store).map_err(|e| FetchError::Store(Arc::new(e)))?;
        let below = || stack.below(at, &store);
        match layer::unpack_verified(reader, &staging.diff, expected, limits, &below) {
            Ok(layer) => Ok(Arc::new(staging.done(layer, chain))),
            Err(LayerError::Unpack(e)) if e.needs_lower() => Err(FetchError::NeedsLower),
            Err(e) => Err(FetchError::Layer(Arc::new(e))),
        }
    });
    let repository = &wanted.repository;
    let downloaded = tokio::select! {
        result = repository.blob(part.digest, part.size, &sink) => result,
        _ = end.recv() => Err(RegistryError::GivenUp { url: part.digest.to_string() }),
    };
    drop(sink);
    let interrupted = |_| Err(FetchError::Store(Arc::new(StoreError::Interrupted)));
    match (unpacking.await.unwrap_or_else(interrupted), downloaded) {
        (Ok(layer), Ok(())) => Ok(layer),
        // The extraction ended first and says why.
        (Err(e), Ok(()) | Err(RegistryError::GivenUp { .. })) => Err(e),
        (_, Err(e)) => Err(FetchError::Registry(Arc::new(e))),
    }
}
