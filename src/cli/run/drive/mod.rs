//! Carries out the actions of the keeper's state machine, and reports events to it.
//!
//! ```text
//!   daemon ──events, and a look after each gap──▶ observe ───┐
//!   daemon, pod ◀──create, start, stop, exec, connect── executor ┼──Event──▶ keeper::Pod ──Action──▶ executor, timers
//!   holdfast stop · holdfast run --watch ──▶ control ────┘                     └──News──▶ who runs it
//! ```
//!
//! The daemon may be restarted at any time: whoever talks to it here tries again for a while, and a gap in the
//! stream of events is followed by a look at the whole pod. What this module must never do: decide anything that
//! the machine decides.

mod care;
mod control;
mod executor;
mod observe;
mod probe;
mod retry;
mod sandbox;

pub(super) use care::{Keeper, Step, TakeError};
pub(super) use control::{ask_to_stop, ask_to_yield};
pub(super) use sandbox::find_sandbox;
