//! A pod whose shim is not understood, because it is of another release.
//!
//! Nothing in it is ended for that: the kernel says what runs, stops and kills go past the shim, and what only the
//! shim can do is refused with the reason. It is looked at once in a while, as nobody tells of exits.

use std::time::Duration;

use tokio::time::Instant;

use super::{PodGoal, Task};
use crate::pod::error::PodError;
use crate::pod::link::ShimLink;
use crate::pod::process::ProcessIdentity;
use crate::pod::state::{ContainerEvent, ContainerPhase, PodPhase};
use holdfast_kernel::id::ContainerId;

/// How long an exit may stay unnoticed.
const LIVENESS_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Task {
    /// Whether the shim speaks a protocol that this daemon does not know.
    pub(super) fn shim_is_unknown(&self) -> bool {
        self.link.as_ref().is_some_and(ShimLink::shim_is_unknown)
    }

    /// Sets the next look, when one is needed.
    pub(super) fn watch_foreign_shim(&mut self) {
        if self.next_liveness_check.is_none() && self.shim_is_unknown() {
            self.next_liveness_check = Some(Instant::now() + LIVENESS_CHECK_INTERVAL);
        }
    }

    /// Counts as ended what has ended.
    pub(super) fn look_at_foreign_shim(&mut self) {
        let ended: Vec<_> = self.alive().filter(|id| !self.runs(*id)).collect();
        for id in ended {
            let exit = self.lost_exit(id);
            self.apply(id, ContainerEvent::Exited(exit));
        }
        let pause = self.pod.pause.is_some_and(|pause| pause.exists());
        if self.pod.phase == PodPhase::Ready && !pause {
            self.goal = self.goal.max(PodGoal::Stop);
        }
    }

    fn runs(&self, id: ContainerId) -> bool {
        // A start under way is the shim's, and ends with its answer.
        self.process_of(id).is_none_or(|process| process.exists())
    }

    fn process_of(&self, id: ContainerId) -> Option<ProcessIdentity> {
        match &self.members.get(&id)?.record.phase {
            ContainerPhase::Running(run, _) => Some(run.process),
            _ => None,
        }
    }

    /// Signals a container's first process past the shim.
    pub(super) fn signal_past_shim(&mut self, id: ContainerId, signal: i32) {
        let Some(process) = self.process_of(id) else {
            return;
        };
        self.background(move || {
            process.signal(signal).map_err(|source| PodError::System {
                doing: "signal the container",
                source,
            })
        });
    }
}
