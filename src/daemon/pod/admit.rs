//! Whether a request may go ahead in the state that there is. Pure: no clock, no machine.
//!
//! A name is an idempotency key, never a reservation: the same request again joins the first one or gets
//! what it made, and only a different request for the same name is refused.

use super::error::{PodError, Refusal};
use super::index::PodKey;
use super::record::{ContainerRecord, PodRecord};
use super::state::{ContainerPhase, PodPhase};
use crate::spec::{ContainerConfig, PodConfig};
use holdfast_kernel::id::ContainerId;

/// What becomes of a request to create a container.
#[derive(Debug)]
pub(super) enum Admission {
    Create,
    /// It has been made already, or is being made.
    Same(ContainerId),
}

/// Whether the pod that has a name is what a request for that name asks for.
///
/// # Errors
/// [`Refusal::PodExists`] when it is another one, or is over.
pub(super) fn same_pod(taken: &PodRecord, config: &PodConfig) -> Result<(), PodError> {
    let exists = |why| {
        let key = PodKey::from(&config.metadata).to_string();
        Err(PodError::Refused(Refusal::PodExists {
            key,
            id: taken.id,
            why,
        }))
    };
    if *taken.config != *config {
        return exists("with another config");
    }
    match taken.phase {
        PodPhase::Creating | PodPhase::Ready => Ok(()),
        PodPhase::Stopping | PodPhase::NotReady | PodPhase::Removing => exists("and is stopped"),
    }
}

/// Whether a container may be created in a pod. `stopping` says that somebody wants the pod to end.
///
/// # Errors
/// The pod is not ready, or another container has the name.
pub(super) fn container<'a>(
    pod: &PodRecord,
    stopping: Stopping,
    mut containers: impl Iterator<Item = &'a ContainerRecord>,
    config: &ContainerConfig,
) -> Result<Admission, PodError> {
    if pod.phase != PodPhase::Ready || stopping == Stopping::Yes {
        return Err(PodError::Refused(Refusal::PodPhase {
            id: pod.id,
            phase: "not ready",
            wanted: "a container needs a ready sandbox; run a new one",
        }));
    }
    let Some(taken) = containers.find(|taken| taken.config.metadata == config.metadata) else {
        return Ok(Admission::Create);
    };
    let same = *taken.config == *config;
    if same && taken.phase == ContainerPhase::Created {
        return Ok(Admission::Same(taken.id));
    }
    Err(PodError::Refused(Refusal::ContainerExists {
        key: format!(
            "{} (attempt {})",
            config.metadata.name, config.metadata.attempt
        ),
        id: taken.id,
        why: if same {
            "and has been started"
        } else {
            "with another config"
        },
    }))
}

/// Whether somebody has asked for the pod's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Yes: nothing new begins.
    Yes,
    No,
}
