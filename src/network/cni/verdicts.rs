//! What plugins said of themselves, and who is asking them.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::config::NetworkList;

/// The answers of plugins about themselves.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// The verdict of the network as a whole.
    pub(super) network: Option<Verdict>,
    /// The network whose plugins are being asked.
    pub(super) asking: Option<Asking>,
    /// Versions that a program speaks, as long as the file is the same; none of one that does not say.
    pub(super) versions: HashMap<PathBuf, (Stamp, Option<Vec<String>>)>,
}

#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) of: NetworkList,
    pub(super) at: Instant,
    pub(super) ready: Result<(), String>,
}

#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) of: NetworkList,
    pub(super) since: Instant,
    /// Closed when they have answered.
    pub(super) answered: watch::Receiver<()>,
}

/// A program file's identity: device, inode, size and time of change.
pub(super) type Stamp = (u64, u64, u64, i64);

/// The identity of the file at a path as it is now.
pub(super) fn stamp(program: &Path) -> Stamp {
    let found = std::fs::metadata(program);
    found.map_or((0, 0, 0, 0), |found| {
        (found.dev(), found.ino(), found.size(), found.mtime())
    })
}

impl Verdicts {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer that is known of a network.
    pub(super) fn of(&self, list: &NetworkList) -> Option<Verdict> {
        let known = self.state().network.clone();
        known.filter(|verdict| verdict.of == *list)
    }
}
