//! Which calls of plugins exclude each other (CNI specification 1.1.0, "Lifecycle & Ordering").
//!
//! ```text
//!             join                          collection
//!   idle ───────────▶ n pods join ───────────────▶ collecting: waits until no pod joins any more
//!    ▲                   │ the last has joined             │ done
//!    └───────────────────┴─────────────────────────────────┘
//! ```
//!
//! Plugins that collect garbage forget every pod that they are not told of, and so would forget one that joins
//! meanwhile. From the moment a collection is announced, no further pod begins to join. What is counted here is who
//! is at work; no lock is held while somebody works or waits, and whoever is dropped is no longer counted.

use tokio::sync::watch;

/// Who is at work on the plugins of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Work {
    /// Pods that are joining their network.
    joining: usize,
    /// Whether a collection is announced or under way.
    collecting: bool,
}

/// Lets pods join at the same time, and collections alone.
#[derive(Debug, Default)]
pub(super) struct Exclusion(watch::Sender<Work>);

/// A pod joins its network as long as this is kept.
#[derive(Debug)]
pub(super) struct Joining<'a>(&'a Exclusion);

/// A collection is announced or under way as long as this is kept.
#[derive(Debug)]
pub(super) struct Collecting<'a>(&'a Exclusion);

impl Exclusion {
    /// Waits until no collection is announced or under way, and counts one more pod that joins.
    pub(super) async fn join(&self) -> Joining<'_> {
        self.begin(|work| {
            if work.collecting {
                return false;
            }
            work.joining += 1;
            true
        })
        .await;
        Joining(self)
    }

    /// Announces a collection, and waits until the pods that are joining have joined.
    pub(super) async fn collect(&self) -> Collecting<'_> {
        self.begin(|work| !std::mem::replace(&mut work.collecting, true))
            .await;
        let collecting = Collecting(self);
        self.begin(|work| work.joining == 0).await;
        collecting
    }

    /// Waits until `begin` says that it has begun.
    async fn begin(&self, begin: impl Fn(&mut Work) -> bool) {
        let mut changes = self.0.subscribe();
        while !self.0.send_if_modified(&begin) {
            // The sender is here, so that changes go on coming.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|work| work.joining -= 1);
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|work| work.collecting = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    /// What a future gives without waiting.
    fn now<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn pods_join_together_and_never_while_plugins_collect() {
        let exclusion = Exclusion::default();
        let first = now(pin!(exclusion.join())).unwrap();
        let second = now(pin!(exclusion.join())).unwrap();
        let mut collection = pin!(exclusion.collect());
        assert!(now(collection.as_mut()).is_none());
        // It is announced: a pod that comes now waits for its end, or pods without end would keep it waiting.
        let mut third = pin!(exclusion.join());
        assert!(now(third.as_mut()).is_none());
        drop(first);
        assert!(now(collection.as_mut()).is_none());
        drop(second);
        let collecting = now(collection).unwrap();
        assert!(now(third.as_mut()).is_none());
        assert!(now(pin!(exclusion.collect())).is_none());
        drop(collecting);
        let third = now(third).unwrap();
        assert!(now(pin!(exclusion.collect())).is_none());
        drop(third);
        assert!(now(pin!(exclusion.collect())).is_some());
    }

    /// Whoever asked may give up at any moment, and must not keep the others waiting for ever.
    #[test]
    fn who_gives_up_is_not_waited_for() {
        let exclusion = Exclusion::default();
        let joining = now(pin!(exclusion.join())).unwrap();
        {
            let mut collection = pin!(exclusion.collect());
            assert!(now(collection.as_mut()).is_none());
            assert!(now(pin!(exclusion.join())).is_none());
        }
        assert!(now(pin!(exclusion.join())).is_some());
        drop(joining);
        assert_eq!(*exclusion.0.borrow(), Work::default());
    }
}
