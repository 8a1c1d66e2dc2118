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

mod checks;
mod container;
mod event;
mod exit;
mod pod;
mod probe;
mod restart;
#[cfg(test)]
mod tests;

pub(super) use container::{Index, Kept, Role, Seen, SeenState};
#[cfg(test)]
use event::Wait;
pub(super) use event::{Action, Event, News, Outcome};
pub(super) use exit::Exit;
pub(super) use pod::Pod;
pub(super) use probe::{Passed, Probe, ProbeKind, Probes};
pub(super) use restart::Restart;
