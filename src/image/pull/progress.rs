//! How far a pull is, for those who watch it.
//!
//! Bytes are counted where the decoder takes them, so what a slow disk holds up counts as not yet there.

use crate::digest::Digest;
use crate::layer::Counter;
use crate::manifest::Part;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The progress of one layer of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerProgress {
    /// Digest of the blob.
    pub digest: Digest,
    /// The size of the blob in bytes, as the manifest says.
    pub size: u64,
    /// The number of bytes that have come.
    pub done: u64,
    /// The node had it before; nothing comes.
    pub present: bool,
}

/// The layers of one pull.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Vec<Watched>>);

#[derive(Debug)]
struct Watched {
    part: Part,
    bytes: Counter,
    present: bool,
}

impl Progress {
    /// The manifest is known: these are its parts, in its order.
    pub(super) fn plan(&self, parts: impl Iterator<Item = Part>) {
        let watched = |part| Watched {
            part,
            bytes: Counter::default(),
            present: false,
        };
        *self.lock() = parts.map(watched).collect();
    }

    /// The part at this place need not be fetched.
    pub(super) fn present(&self, at: usize) {
        if let Some(watched) = self.lock().get_mut(at) {
            watched.present = true;
        }
    }

    /// The part at this place is fetched, perhaps for other pulls too, with this counter.
    pub(super) fn follow(&self, at: usize, bytes: &Counter) {
        if let Some(watched) = self.lock().get_mut(at) {
            watched.bytes = Arc::clone(bytes);
        }
    }

    /// The part at this place has come, with another pull perhaps.
    pub(super) fn mark_complete(&self, at: usize) {
        if let Some(watched) = self.lock().get_mut(at) {
            watched.bytes = Counter::new(watched.part.size.into());
        }
    }

    /// How far it is now. Empty until the manifest is known.
    pub(super) fn layers(&self) -> Vec<LayerProgress> {
        let layer = |watched: &Watched| LayerProgress {
            digest: watched.part.digest,
            size: watched.part.size,
            done: if watched.present {
                watched.part.size
            } else {
                watched.bytes.load(Ordering::Relaxed)
            },
            present: watched.present,
        };
        self.lock().iter().map(layer).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::Digest;
    use crate::layer::Counter;
    use crate::manifest::Part;
    use std::sync::atomic::Ordering;

    fn part(size: u64) -> Part {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        Part { digest, size }
    }

    #[test]
    fn a_shared_counter_is_followed_and_a_present_layer_is_whole() {
        let progress = Progress::default();
        assert_eq!(progress.layers(), []);
        progress.plan([part(10), part(20)].into_iter());
        let bytes = Counter::default();
        progress.follow(1, &bytes);
        bytes.store(7, Ordering::Relaxed);
        progress.present(0);
        progress.present(2);
        let done: Vec<_> = progress
            .layers()
            .iter()
            .map(|of| (of.done, of.present))
            .collect();
        assert_eq!(done, [(10, true), (7, false)]);
        progress.mark_complete(1);
        assert_eq!(progress.layers()[1].done, 20);
    }
}
