//! Admitting a request in the state of its pod and container.

use super::ErrorKind;
use holdfast_kernel::id::{ContainerId, PodId};

/// Why a request does not fit the state of its pod or container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another pod has this name.
    #[error("{key} is pod sandbox {id} already, {why}; remove it or use another attempt")]
    PodExists {
        /// Namespace, name, uid and attempt.
        key: String,
        /// The pod that has the name.
        id: PodId,
        /// How that pod differs from the request.
        why: &'static str,
    },
    /// Another container of the pod has this name.
    #[error("{key} is container {id} already, {why}; remove it or use another attempt")]
    ContainerExists {
        key: String,
        /// The container that has the name.
        id: ContainerId,
        /// How that container differs from the request.
        why: &'static str,
    },
    /// The pod is not in the state that the operation needs.
    #[error("pod sandbox {id} is {phase}; {wanted}")]
    PodPhase {
        id: PodId,
        /// Its state in words.
        phase: &'static str,
        /// The state that the operation needs, or the remedy.
        wanted: &'static str,
    },
    /// The container is not in the state that the operation needs.
    #[error("container {id} is {phase}; {wanted}")]
    ContainerPhase {
        id: ContainerId,
        /// Its state in words.
        phase: &'static str,
        /// The state that the operation needs, or the remedy.
        wanted: &'static str,
    },
    /// Too many clients listen to events.
    #[error("{0} clients listen to events already; end one of them first")]
    TooManyListeners(usize),
    /// The pod's task ended before it answered the request.
    #[error("the pod sandbox was removed meanwhile")]
    Gone,
}

impl Refusal {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::PodExists { .. } | Self::ContainerExists { .. } => ErrorKind::AlreadyExists,
            Self::PodPhase { .. } | Self::ContainerPhase { .. } => ErrorKind::FailedPrecondition,
            Self::TooManyListeners(_) => ErrorKind::ResourceExhausted,
            Self::Gone => ErrorKind::NotFound,
        }
    }
}
