//! The pure state machine of a container in the shim: a table of states and events.
//!
//! ```text
//!              Executed              Ended               Drained             Acknowledged
//!  Launching ───────────▶ Running ───────────▶ Draining ─────────▶ Exited ─────────────▶ Settled
//!    │  │ Failed                   kill the rest        announce      │                     │
//!    │  └───────▶ Failing ─ Ended ─▶ Gone (reply: failed)             └──── Forgotten ──────┤
//!    │ Ended ──────────────────────▶ Gone (reply: vanished)                                 ▼
//!    └ TimedOut ──▶ Lost ── Ended ─▶ Gone                                                 Gone
//!      reply: failed
//! ```
//!
//! A hook of the start that fails makes `Launching` and `Running` `Failing`, and `Draining` `Gone`.
//!
//! An event that a state does not expect changes nothing.

use holdfast_wire::{ExitStatus, Failure};

/// How and when a container's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How the process ended.
    pub status: ExitStatus,
    /// When: nanoseconds since the epoch.
    pub at_unix_nanos: i64,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its process walks the plan.
    Launching,
    /// The child has reported a failure and is about to exit.
    Failing(Failure),
    /// The child ran into the deadline and was killed; a process in an endless system call may stay for ever.
    Lost,
    /// The container runs its program.
    Running,
    /// The process has ended; its output is being read to the end.
    Draining(Exit),
    /// The exit is announced to each new daemon.
    Exited(Exit),
    /// The exit is recorded by a daemon.
    Settled,
    /// Nothing is left to know.
    Gone,
}

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The child has executed its program.
    Executed,
    /// A step of its plan failed.
    Failed(Failure),
    /// The child has not executed its program in time.
    TimedOut(Failure),
    /// A hook of its start failed; the process is about to be killed.
    HookFailed(Failure),
    /// The process of the container ended.
    Ended(Exit),
    /// All its output is in the log.
    Drained,
    /// A daemon has recorded the exit.
    Acknowledged,
    /// The daemon wants to hear no more of it.
    Forgotten,
}

/// An action of the shim after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The shim does nothing.
    None,
    /// Answer that the process runs.
    ReplyStarted,
    /// Answer that the launch failed.
    ReplyFailed(Failure),
    /// Kill what is left in its cgroup.
    KillRest,
    /// Record the exit and tell the daemon.
    Announce(Exit),
}

/// Gives the next state and what the shim does about the event.
pub fn apply(state: State, event: Event) -> (State, Effect) {
    match (state, event) {
        (State::Launching, Event::Executed) => (State::Running, Effect::ReplyStarted),
        (State::Launching, Event::Failed(failure)) => (State::Failing(failure), Effect::None),
        (State::Launching, Event::TimedOut(failure)) => (State::Lost, Effect::ReplyFailed(failure)),
        (State::Launching, Event::Ended(exit)) => (
            State::Gone,
            Effect::ReplyFailed(Failure::ended(exit.status)),
        ),
        (State::Failing(failure), Event::Ended(_)) => (State::Gone, Effect::ReplyFailed(failure)),
        (State::Launching | State::Running, Event::HookFailed(failure)) => {
            (State::Failing(failure), Effect::None)
        }
        // It has run and ended while a hook of its start did.
        (State::Draining(_), Event::HookFailed(failure)) => {
            (State::Gone, Effect::ReplyFailed(failure))
        }
        (State::Lost, Event::Ended(_)) => (State::Gone, Effect::None),
        (State::Running, Event::Ended(exit)) => (State::Draining(exit), Effect::KillRest),
        (State::Draining(exit), Event::Drained) => (State::Exited(exit), Effect::Announce(exit)),
        (State::Exited(_), Event::Acknowledged) => (State::Settled, Effect::None),
        (State::Exited(_) | State::Settled, Event::Forgotten) => (State::Gone, Effect::None),
        (state, _) => (state, Effect::None),
    }
}
