//! Turning a request into an OCI runtime Spec and a launch plan.

use super::{ErrorKind, ExperimentRefusal};
use crate::plan::PlanError;
use crate::pod::cdi::CdiError;
use crate::spec::SpecError;

/// Why this node cannot carry out a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The runtime handler is not configured.
    #[error("runtime handler {0:?} is not known; leave it empty or use \"holdfast\"")]
    UnknownHandler(String),
    /// The kernel does not have the AppArmor profile of the request.
    #[error(
        "linux.security_context.apparmor: profile {0:?} is not loaded; load it with apparmor_parser(8)"
    )]
    AppArmorProfile(String),
    /// The container is privileged and its pod is not.
    #[error(
        "security_context.privileged is set, but the pod sandbox is not privileged; set it there too"
    )]
    Privileged,
    /// The command of an exec is empty.
    #[error("cmd is empty; give the program to run")]
    EmptyCommand,
    /// The target of a shared pid namespace is no running container of the pod.
    #[error("namespace_options.target_id {0:?} is no running container of this pod sandbox")]
    Target(String),
    /// The request cannot become an OCI runtime Spec.
    #[error("cannot make the OCI runtime Spec")]
    Spec(#[from] SpecError),
    /// The node has no such CDI device.
    #[error("cannot find the container's devices")]
    Cdi(#[from] CdiError),
    /// The Spec cannot become a launch plan.
    #[error("cannot make the launch plan")]
    Plan(#[from] PlanError),
    /// The pod cannot have the experiments that its annotations ask for.
    #[error(transparent)]
    Experiment(#[from] ExperimentRefusal),
}

impl RequestError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Spec(SpecError::Unsupported { .. })
            | Self::Cdi(CdiError::Conflict { .. } | CdiError::Unsupported { .. })
            | Self::Experiment(_) => ErrorKind::FailedPrecondition,
            Self::UnknownHandler(_)
            | Self::AppArmorProfile(_)
            | Self::Privileged
            | Self::EmptyCommand
            | Self::Target(_)
            | Self::Cdi(_)
            | Self::Spec(_)
            | Self::Plan(_) => ErrorKind::InvalidArgument,
        }
    }
}
