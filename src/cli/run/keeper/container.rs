//! A container of a pod: the facts from the manifest, and the state that the daemon shows.

use super::exit::Exit;
use super::probe::Probes;
use super::restart::Restart;

/// Which container: its place in the order of starting.
pub(crate) type Index = usize;

/// The role of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has to succeed before the next one starts.
    Init,
    /// An init container that keeps running: has to have started before the next one starts.
    Sidecar,
    /// A container of the list `containers`.
    App,
    /// Joins a running pod to look at it: nothing waits for it, and nothing follows from how it ends.
    Ephemeral,
}

/// The facts of a container that the manifest states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub name: String,
    /// The role of the container.
    pub role: Role,
    /// When it is started again.
    pub restart: Restart,
    /// Pace and thresholds of its probes.
    pub probes: Probes,
}

/// A container as the daemon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The container, by its place in the order.
    pub container: Index,
    /// Which attempt at it.
    pub attempt: u32,
    pub state: SeenState,
}

/// States of containers, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SeenState {
    /// The container was created and not started.
    Created,
    Running,
    /// Ended, or removed by somebody.
    Exited(Exit),
}
