//! Decides when the runtime is ready after a boot: once everything is released that pods of an earlier boot held.
//!
//! ```text
//!   recover: owes(pod) … ──▶ not ready ──▶ released(pod) … ──▶ plugins collected ──▶ ready
//!                                └── deadline: what is left by then is tried again as a debt ──▶ ready
//! ```
//!
//! Until then a new pod could get an address that a plugin, or a peer, still takes for that of an old one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use holdfast_kernel::id::PodId;

/// Most pods that a message names.
const NAMED: usize = 3;

/// Pods of an earlier boot that must be released before the runtime is ready.
#[derive(Debug)]
pub(super) struct Readiness {
    until: Instant,
    state: Mutex<Unreleased>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Unreleased {
    pods: BTreeSet<PodId>,
    /// Network plugins are to forget what they have of pods that are gone.
    collection: bool,
}

impl Readiness {
    /// Nothing has to be released yet; whatever comes may take so long.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            until: Instant::now() + patience,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Unreleased> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod of another boot has to be released.
    pub(super) fn add_unreleased_pod(&self, pod: PodId) {
        let mut state = self.state();
        state.pods.insert(pod);
        state.collection = true;
    }

    /// A pod was released, as far as that was possible.
    pub(super) fn released(&self, pod: PodId) {
        if self.state().pods.remove(&pod) {
            self.changed.notify_one();
        }
    }

    /// The plugins have been asked to forget what is gone.
    pub(super) fn collected(&self) {
        self.state().collection = false;
    }

    /// Waits until all pods of another boot are released, or for as long as that may take.
    pub(super) async fn all_released(&self) {
        let patience = self.until.saturating_duration_since(Instant::now());
        let released = async {
            while !self.state().pods.is_empty() {
                self.changed.notified().await;
            }
        };
        // Whatever is late is a debt sooner or later.
        let _ = tokio::time::timeout(patience, released).await;
    }

    /// Why the runtime is not ready yet; none when it is.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.state();
        if Instant::now() >= self.until || (state.pods.is_empty() && !state.collection) {
            return None;
        }
        if state.pods.is_empty() {
            return Some(
                "network plugins are asked to forget the pods of an earlier boot".to_owned(),
            );
        }
        let named: Vec<_> = state.pods.iter().take(NAMED).map(PodId::short).collect();
        let more = if state.pods.len() > NAMED {
            ", …"
        } else {
            ""
        };
        Some(format!(
            "pods of an earlier boot are being released: {} ({}{more})",
            state.pods.len(),
            named.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_all_pods_are_released_and_the_plugins_were_asked() {
        let readiness = Readiness::new(Duration::from_secs(3600));
        assert_eq!(readiness.problem(), None);
        let (one, other) = (PodId::random().unwrap(), PodId::random().unwrap());
        readiness.add_unreleased_pod(one);
        readiness.add_unreleased_pod(other);
        readiness.released(one);
        let problem = readiness.problem().unwrap();
        assert!(problem.contains(other.short().as_str()), "{problem}");
        readiness.released(other);
        assert!(readiness.problem().unwrap().contains("plugins"));
        readiness.collected();
        assert_eq!(readiness.problem(), None);
    }

    #[tokio::test]
    async fn it_is_ready_after_the_deadline_whatever_is_owed() {
        let readiness = Readiness::new(Duration::from_millis(20));
        readiness.add_unreleased_pod(PodId::random().unwrap());
        assert!(readiness.problem().is_some());
        readiness.all_released().await;
        assert_eq!(readiness.problem(), None);
    }
}
