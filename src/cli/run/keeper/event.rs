//! The events of a pod, and the actions of the keeper.

use std::time::Duration;

use super::container::{Index, Seen};
use super::exit::Exit;
use super::probe::{Passed, ProbeKind};

/// An event that the keeper learns about its pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The daemon was looked at. Containers of which nothing new is known may be missing.
    Seen(Vec<Seen>),
    /// The sandbox is no longer ready, or was removed.
    Gone,
    /// Somebody stops the pod and wants it done in order.
    StopAsked,
    Started(Index, u32),
    /// [`Action::Start`] failed, and why.
    StartFailed(Index, u32, String),
    Waited(Index, u32, Wait),
    /// [`Action::Probe`] has passed or not.
    Probed(Index, u32, ProbeKind, Passed),
}

/// How it ended with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All containers have succeeded.
    Succeeded,
    /// A container has failed for good.
    Failed,
    /// The pod was stopped on request.
    Stopped,
    /// The sandbox is no longer ready, or was removed.
    Gone,
}

/// The purpose of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The end of a back-off.
    Restart,
    /// The time of a probe.
    Probe(ProbeKind),
}

/// An action for the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the container with this attempt, start it and run its postStart hook; remove the attempts before the
    /// previous one.
    Start(Index, u32),
    /// Run its preStop hook and stop it. Its end is seen.
    Stop(Index, u32),
    Probe(Index, u32, ProbeKind),
    Wait(Index, u32, Wait, Duration),
    /// Tells the person who runs the pod.
    Tell(News),
}

/// News for the people at the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// A container is being started.
    Starting(Index, u32),
    Started(Index, u32),
    /// A container could not be started, and is tried again after this time.
    StartFailed(Index, String, Option<Duration>),
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
