//! The pure state machine of a container; `pod` has that of a pod sandbox.
//!
//! ```text
//!                StartAsked           Started                 Exited
//!   Created ───────────────▶ Starting ────────▶ Running ───────────────▶ Exited
//!    ▲ │      StartUndone    │  │ StartFailed      │ (goal Stop: signalled,   │
//!    └─┼─────────────────────┘  └──────────────────┼──── then killed)         │
//!      │ RemoveAsked                               │ goal Remove              │ RemoveAsked
//!      └────────────────────────────▶ Removing ◀───┴──────────────────────────┘
//!                                         │ Removed
//!                                         ▼
//!                                       (gone)
//! ```
//!
//! Asking again is always legal: it joins what is under way. A stop or a removal that arrives while a start
//! is under way becomes the goal that the container heads for next.

mod pod;

pub(crate) use pod::{PodEffect, PodEvent, PodPhase};

use serde::{Deserialize, Serialize};

use super::process::ProcessIdentity;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Exit code; 128 + signal for a killed process, 128 for one that never ran.
    pub code: i32,
    /// When it ended: nanoseconds since the epoch.
    pub finished_at: i64,
    /// When it had been started; 0 for one that never ran.
    pub started_at: i64,
    /// The reason in one word, as the kubelet shows it: `Completed`, `Error`, `OOMKilled`, `StartError`, ……
    pub reason: String,
    pub message: String,
}

/// A container's running first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub process: ProcessIdentity,
    /// When it was started: nanoseconds since the epoch.
    pub started_at: i64,
}

/// Where a container that is starting or running heads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Goal {
    /// To run until it ends by itself.
    Run,
    Stop,
    /// To end and be removed.
    Remove,
}

/// The phase of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContainerPhase {
    /// Prepared and never started.
    Created,
    /// The shim was asked to start it.
    Starting(Goal),
    /// Its first process runs.
    Running(Run, Goal),
    /// Its first process has ended.
    Exited(Exit),
    /// The files of the container are being deleted.
    Removing,
}

/// An event of a container, or a request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContainerEvent {
    /// Somebody wants it started.
    StartAsked,
    /// Somebody wants it stopped. `Kill` follows when the grace period has passed, or at once when it is zero.
    StopAsked(Urgency),
    /// Somebody wants it removed.
    RemoveAsked,
    /// The shim has started it.
    Started(Run),
    /// The shim could not start it.
    StartFailed(Exit),
    /// The start failed as in `StartFailed`, and the failure cannot be recorded.
    StartUndone,
    /// Its first process has ended.
    Exited(Exit),
}

/// How a container is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// By its stop signal.
    Signal,
    /// At once, with everything in its cgroup.
    Kill,
}

/// Work for the pod's task after a transition, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask the shim to start it.
    Launch,
    /// Send its stop signal.
    Signal,
    /// Kill everything in its cgroup.
    Kill,
    /// Remove its cgroup: nothing runs there any more.
    ReleaseCgroup,
    /// Delete what it left and forget it.
    Delete,
    /// Answer those who wait for the start.
    AnswerStart,
    /// Answer those who wait for its end.
    AnswerStop,
    /// Refuse the start: it has already ended, or is being removed.
    RefuseStart,
}

impl ContainerPhase {
    /// The next phase and what has to be done.
    pub(crate) fn apply(self, event: ContainerEvent) -> (Self, Vec<Effect>) {
        match event {
            ContainerEvent::StartAsked => self.start_asked(),
            ContainerEvent::StopAsked(urgency) => self.stop_asked(urgency),
            ContainerEvent::RemoveAsked => self.remove_asked(),
            ContainerEvent::Started(run) => self.started(run),
            ContainerEvent::StartUndone => self.start_undone(),
            ContainerEvent::StartFailed(exit) | ContainerEvent::Exited(exit) => self.ended(exit),
        }
    }

    fn start_asked(self) -> (Self, Vec<Effect>) {
        match self {
            Self::Created => (Self::Starting(Goal::Run), vec![Effect::Launch]),
            Self::Starting(_) => (self, vec![]),
            Self::Running(..) => (self, vec![Effect::AnswerStart]),
            Self::Exited(_) | Self::Removing => (self, vec![Effect::RefuseStart]),
        }
    }

    fn stop_asked(self, urgency: Urgency) -> (Self, Vec<Effect>) {
        match self {
            // A start cannot be signalled half-way: it is killed, which no program has seen yet.
            Self::Starting(goal) => (Self::Starting(goal.max(Goal::Stop)), vec![Effect::Kill]),
            Self::Running(run, goal) => {
                let effects = match (urgency, goal) {
                    (Urgency::Kill, _) => vec![Effect::Kill],
                    (Urgency::Signal, Goal::Run) => vec![Effect::Signal],
                    // The signal is sent once, however often the kubelet asks.
                    (Urgency::Signal, Goal::Stop | Goal::Remove) => vec![],
                };
                (Self::Running(run, goal.max(Goal::Stop)), effects)
            }
            Self::Created | Self::Exited(_) => (self, vec![Effect::AnswerStop]),
            Self::Removing => (self, vec![]),
        }
    }

    fn remove_asked(self) -> (Self, Vec<Effect>) {
        match self {
            Self::Created | Self::Exited(_) => (Self::Removing, vec![Effect::Delete]),
            Self::Starting(_) => (Self::Starting(Goal::Remove), vec![Effect::Kill]),
            Self::Running(run, _) => (Self::Running(run, Goal::Remove), vec![Effect::Kill]),
            Self::Removing => (self, vec![]),
        }
    }

    fn started(self, run: Run) -> (Self, Vec<Effect>) {
        match self {
            Self::Starting(Goal::Run) | Self::Created => {
                (Self::Running(run, Goal::Run), vec![Effect::AnswerStart])
            }
            Self::Starting(goal) => (
                Self::Running(run, goal),
                vec![Effect::AnswerStart, Effect::Kill],
            ),
            // It ended so fast that its exit was read first.
            Self::Running(..) | Self::Exited(_) | Self::Removing => (self, vec![]),
        }
    }

    /// The failed start could not be recorded: the container returns to Created, and nobody hears of an exit that the next
    /// daemon would not know.
    fn start_undone(self) -> (Self, Vec<Effect>) {
        match self {
            Self::Starting(Goal::Remove) => (Self::Removing, vec![Effect::Delete]),
            Self::Starting(_) => (Self::Created, vec![Effect::AnswerStop]),
            _ => (self, vec![]),
        }
    }

    fn ended(self, exit: Exit) -> (Self, Vec<Effect>) {
        const ENDED: [Effect; 3] = [
            Effect::AnswerStart,
            Effect::ReleaseCgroup,
            Effect::AnswerStop,
        ];
        match self {
            Self::Starting(Goal::Remove) | Self::Running(_, Goal::Remove) => {
                (Self::Removing, vec![Effect::AnswerStart, Effect::Delete])
            }
            Self::Created | Self::Starting(_) => (Self::Exited(exit), ENDED.to_vec()),
            Self::Running(run, _) => {
                let exit = Exit {
                    started_at: run.started_at,
                    ..exit
                };
                (Self::Exited(exit), ENDED.to_vec())
            }
            Self::Exited(_) | Self::Removing => (self, vec![]),
        }
    }

    /// Processes of this container may exist.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Running(..))
    }
}

#[cfg(test)]
mod tests;
