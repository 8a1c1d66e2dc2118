//! The keeper: starts the containers of a pod in order, restarts and probes them, and stops them in order.
//!
//! On a node this is the kubelet's work; here it is the command's. The part in this module is a pure state machine
//! without a clock: [`Pod::apply`] takes what happened and gives what is to be done. `drive` carries that out.
//!
//! ```text
//!               init containers and sidecars, one after the other; then the containers
//!   pod:        Starting ──────────────────────────────▶ Up ──all containers ended──▶ Ending ──▶ Over
//!                  │ an init container failed for good                                  ▲          ▲
//!                  ├────────────────────────────────────────────────────────────────────┤          │
//!                  └── (any) asked to stop: containers, then sidecars in reverse ───────┘          │
//!                      (any) the sandbox is not ready or gone ─────────────────────────────────────┘
//!
//!   container:  Waiting ──▶ Starting ──▶ Running ──exit──▶ Ended          nothing restarts it
//!                              ▲ │ cannot    │  │           ▲
//!                              │ ▼ start     │  └─unhealthy─┼─▶ Stopping ──exit──┐
//!                           Backoff ◀────────┴──exit────────┴────────────────────┘
//! ```
//!
//! Who runs it: `holdfast run` in the foreground until the pod is up, and with `--watch` until it is over; else the
//! hidden verb `keep`, a process of its own session. There is one keeper of a pod at a time, since each listens on
//! an abstract socket with the pod's id in its name. Whoever stops the pod tells it there to stop in order, and
//! another keeper tells it to yield.
//!
//! What this module must never do: start anything once the sandbox is not ready or somebody asked to stop, and
//! remember what cannot be found out again by looking at the pod, since a keeper may be replaced at any time. Only
//! how long a back-off is gets lost: it follows from the attempt then.

use std::time::Duration;

mod checks;
mod pod;
mod restart;
#[cfg(test)]
mod tests;

pub(super) use checks::{Probe, ProbeKind, Probes};
pub(super) use pod::{Outcome, Pod};
pub(super) use restart::Restart;

/// Which container: its place in the order of starting.
pub(crate) type Index = usize;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has to succeed before the next one starts.
    Init,
    /// An init container that keeps running: has to have started before the next one starts.
    Sidecar,
    /// One of the pod's containers.
    App,
    /// Joins a running pod to look at it: nothing waits for it, and nothing follows from how it ends.
    Ephemeral,
}

/// What is known of a container beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// When it is started again.
    pub restart: Restart,
    /// Pace and thresholds of its probes.
    pub probes: Probes,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Exit code, 128 plus the signal's number when killed.
    pub code: i32,
    /// The daemon's word for it: Completed, Error, OOMKilled, …
    pub reason: String,
    /// How long it ran.
    pub ran: Duration,
}

/// A container as the daemon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which one.
    pub container: Index,
    /// Which attempt at it.
    pub attempt: u32,
    /// How it is.
    pub state: SeenState,
}

/// States of containers, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SeenState {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended, or removed by somebody.
    Exited(Exit),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The daemon was looked at. Containers of which nothing new is known may be missing.
    Seen(Vec<Seen>),
    /// The sandbox is not ready any more, or there is none.
    Gone,
    /// Somebody stops the pod and wants it done in order.
    StopAsked,
    /// [`Action::Start`] is done.
    Started(Index, u32),
    /// [`Action::Start`] failed, and why.
    StartFailed(Index, u32, String),
    /// [`Action::Wait`] is over.
    Waited(Index, u32, Wait),
    /// [`Action::Probe`] has passed or not.
    Probed(Index, u32, ProbeKind, Passed),
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It passed.
    Yes,
    /// It failed or took too long.
    No,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The end of a back-off.
    Restart,
    /// The time of a probe.
    Probe(ProbeKind),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the container with this attempt, start it and run its postStart hook; remove the attempts before the
    /// previous one.
    Start(Index, u32),
    /// Run its preStop hook and stop it. Its end is seen.
    Stop(Index, u32),
    /// Run a probe.
    Probe(Index, u32, ProbeKind),
    /// Wait.
    Wait(Index, u32, Wait, Duration),
    /// Tell people.
    Tell(News),
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// A container is being started.
    Starting(Index, u32),
    /// A container runs.
    Started(Index, u32),
    /// A container could not be started, and is tried again after this time.
    StartFailed(Index, String, Duration),
    /// A container has ended, and is started again after this time, if at all.
    Exited(Index, Exit, Option<Duration>),
    /// The startup probe has passed.
    StartupPassed(Index),
    /// The readiness probe has passed.
    Ready(Index),
    /// The readiness probe has failed.
    NotReady(Index),
    /// A container is stopped because this probe failed too often.
    Unhealthy(Index, ProbeKind),
    /// A container is stopped because the pod ends.
    Stopping(Index),
    /// All containers have been started.
    Up,
    /// The pod is over.
    Over(Outcome),
}
