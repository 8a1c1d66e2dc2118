//! The layers of one pull: in parallel, then those that depend on others.

use super::error::PullError;
use super::fetch::{FetchError, FetchKey, LayerRequest, fetch};
use super::operation::Pull;
use super::stack::Stack;
use crate::digest::Digest;
use crate::image::chain_ids;
use crate::index::LayerKey;
use crate::manifest::{Manifest, Part};
use crate::registry::Repository;
use crate::store::CandidateLayer;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;

/// How far a layer got.
enum Got {
    Layer,
    /// The layer has to wait for the layers below it.
    NeedsLower,
}

/// The layers that the unpacked form of a layer is expected to depend on.
#[derive(Clone, Copy)]
enum Attempt {
    /// The layer alone, as nearly always.
    Alone,
    /// The layers below too, which are all there.
    AboveOthers,
}

impl Pull<'_> {
    /// Gets all layers. On a failure the others are given up.
    pub(super) async fn layers(
        &self,
        repository: &Arc<Repository>,
        manifest: &Manifest,
        diff_ids: &[Digest],
    ) -> Result<Vec<CandidateLayer>, PullError> {
        let stack = Arc::new(Stack::new(diff_ids.len()));
        self.progress.plan(manifest.layers.iter().copied());
        let layers = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .zip(chain_ids(diff_ids));
        let mut wanted: Vec<LayerRequest> = layers
            .enumerate()
            .map(|(at, ((part, diff_id), chain))| LayerRequest {
                repository: Arc::clone(repository),
                part: *part,
                diff_id: *diff_id,
                chain,
                at,
                stack: Arc::clone(&stack),
            })
            .collect();
        // The largest first: the last one to begin then ends soon.
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.part.size));
        let jobs = wanted.into_iter().map(|wanted| async move {
            let got = self.layer(&wanted, Attempt::Alone).await;
            (wanted, got)
        });
        let parallel = self.store.settings.max_parallel_layers;
        let mut results = stream::iter(jobs).buffer_unordered(parallel);
        let mut waiting = Vec::new();
        while let Some((wanted, got)) = results.next().await {
            if let Got::NeedsLower = got? {
                waiting.push(wanted);
            }
        }
        drop(results);
        // Such layers are rare, and each needs those below it: one after the other, from the bottom.
        waiting.sort_by_key(|wanted| wanted.at);
        for wanted in waiting {
            if let Got::NeedsLower = self.layer(&wanted, Attempt::AboveOthers).await? {
                return Err(self.fetch_error(FetchError::NeedsLower, wanted.part));
            }
        }
        let missing =
            || FetchError::NeedsLower.of_pull(self.reference.to_string(), manifest.config.digest);
        stack.all_layers().ok_or_else(missing)
    }

    async fn layer(&self, wanted: &LayerRequest, attempt: Attempt) -> Result<Got, PullError> {
        let alone = LayerKey {
            diff_id: wanted.diff_id,
            chain: None,
        };
        let above = LayerKey {
            chain: Some(wanted.chain),
            ..alone
        };
        for key in [alone, above] {
            if let Some(hold) = self.store.hold_layer(&key).await {
                wanted
                    .stack
                    .set_layer(wanted.at, CandidateLayer::Present(Arc::new(hold)));
                self.progress.present(wanted.at);
                return Ok(Got::Layer);
            }
        }
        let key = FetchKey {
            host: self.reference.host().to_owned(),
            caller: self.caller,
            blob: wanted.part.digest,
            layer: match attempt {
                Attempt::Alone => alone,
                Attempt::AboveOthers => above,
            },
        };
        let watch = |counter: &_, wanted_fetch| {
            self.progress.follow(wanted.at, counter);
            self.wanted_fetches().push(wanted_fetch);
        };
        match fetch(self.fetches, self.store, key, wanted.clone(), watch).await {
            Ok(layer) if layer.key == alone || layer.key == above => {
                wanted
                    .stack
                    .set_layer(wanted.at, CandidateLayer::Staged(layer));
                self.progress.mark_complete(wanted.at);
                Ok(Got::Layer)
            }
            // Another pull has it above other layers.
            Ok(_) | Err(FetchError::NeedsLower) => Ok(Got::NeedsLower),
            Err(e) => Err(self.fetch_error(e, wanted.part)),
        }
    }

    fn fetch_error(&self, error: FetchError, part: Part) -> PullError {
        error.of_pull(self.reference.to_string(), part.digest)
    }
}
