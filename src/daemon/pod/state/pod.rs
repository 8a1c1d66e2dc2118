//! The pure state machine of a pod sandbox.
//!
//! ```text
//!             Made           StopAsked              ContainersEnded         Released
//!   Creating ──────▶ Ready ─────────────▶ Stopping ─────────────────▶ … ─────────────▶ NotReady
//!                             containers are ended    parts are released               │    ▲
//!                                                                              Emptied ▼    │ RemovalRefused
//!                                                                                     Removing ──▶ (gone)
//! ```
//!
//! A pod whose making fails is undone and never seen. Asking for the end again is legal, also of a pod that an earlier
//! daemon was stopping: it ends the containers again.

use serde::{Deserialize, Serialize};

/// The phase of a pod sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PodPhase {
    /// The intent is recorded; its parts are being made.
    Creating,
    /// Its pause process runs.
    Ready,
    /// Its containers are being ended and its parts released.
    Stopping,
    /// Nothing of it runs.
    NotReady,
    /// The files of the pod are being deleted.
    Removing,
}

/// An event of a pod, or a request to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodEvent {
    /// All its parts are made.
    Made,
    /// Somebody wants it stopped or removed, or its pause has ended.
    StopAsked,
    /// No container of it runs or is being prepared.
    ContainersEnded,
    /// Its parts are released, or are owed.
    Released,
    /// Somebody wants it removed, and its last container is gone.
    Emptied,
    /// The disk keeps the record of a pod that was to be removed.
    RemovalRefused,
}

/// Work for the pod's task after a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodEffect {
    EndContainers,
    /// Release the pause, the network, the cgroups and the shim.
    Release,
    /// Tell those who listen that the pod has stopped.
    AnnounceStopped,
    /// Delete the record and the files.
    Delete,
}

impl PodPhase {
    /// Returns the next phase and what has to be done. An event that does not fit the phase changes nothing.
    pub(crate) fn apply(self, event: PodEvent) -> (Self, Option<PodEffect>) {
        match (self, event) {
            (Self::Creating, PodEvent::Made) => (Self::Ready, None),
            (Self::Ready | Self::Stopping, PodEvent::StopAsked) => {
                (Self::Stopping, Some(PodEffect::EndContainers))
            }
            (Self::Stopping, PodEvent::ContainersEnded) => {
                (Self::Stopping, Some(PodEffect::Release))
            }
            (Self::Stopping, PodEvent::Released) => {
                (Self::NotReady, Some(PodEffect::AnnounceStopped))
            }
            (Self::NotReady, PodEvent::Emptied) => (Self::Removing, Some(PodEffect::Delete)),
            (Self::Removing, PodEvent::RemovalRefused) => (Self::NotReady, None),
            (
                Self::Creating | Self::Ready | Self::Stopping | Self::NotReady | Self::Removing,
                PodEvent::Made
                | PodEvent::StopAsked
                | PodEvent::ContainersEnded
                | PodEvent::Released
                | PodEvent::Emptied
                | PodEvent::RemovalRefused,
            ) => (self, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [PodPhase; 5] = [
        PodPhase::Creating,
        PodPhase::Ready,
        PodPhase::Stopping,
        PodPhase::NotReady,
        PodPhase::Removing,
    ];
    const EVENTS: [PodEvent; 6] = [
        PodEvent::Made,
        PodEvent::StopAsked,
        PodEvent::ContainersEnded,
        PodEvent::Released,
        PodEvent::Emptied,
        PodEvent::RemovalRefused,
    ];

    #[test]
    fn a_life_passes_all_phases_and_does_each_thing_once() {
        let mut phase = PodPhase::Creating;
        let mut done = Vec::new();
        for event in EVENTS {
            let (next, effect) = phase.apply(event);
            phase = next;
            done.extend(effect);
        }
        assert_eq!(
            phase,
            PodPhase::NotReady,
            "the removal was refused at the end"
        );
        let expected = [
            PodEffect::EndContainers,
            PodEffect::Release,
            PodEffect::AnnounceStopped,
            PodEffect::Delete,
        ];
        assert_eq!(done, expected);
    }

    /// The whole table: what is not named here changes nothing.
    #[test]
    fn an_event_that_does_not_fit_changes_nothing() {
        let changes = [
            (PodPhase::Creating, PodEvent::Made),
            (PodPhase::Ready, PodEvent::StopAsked),
            (PodPhase::Stopping, PodEvent::StopAsked),
            (PodPhase::Stopping, PodEvent::ContainersEnded),
            (PodPhase::Stopping, PodEvent::Released),
            (PodPhase::NotReady, PodEvent::Emptied),
            (PodPhase::Removing, PodEvent::RemovalRefused),
        ];
        for phase in PHASES {
            for event in EVENTS {
                let is_change = phase.apply(event) != (phase, None);
                assert_eq!(
                    is_change,
                    changes.contains(&(phase, event)),
                    "{phase:?} {event:?}"
                );
            }
        }
    }

    /// Nothing runs in a pod that is not ready, and none gets ready again.
    #[test]
    fn no_walk_leads_back_to_ready() {
        for phase in PHASES
            .into_iter()
            .filter(|phase| *phase != PodPhase::Creating)
        {
            for event in EVENTS {
                let (next, _) = phase.apply(event);
                assert!(
                    next != PodPhase::Ready || phase == PodPhase::Ready,
                    "{phase:?} {event:?}"
                );
            }
        }
    }
}
