//! Why a request cannot become a Spec.

use super::PathError;
use super::sysctl::SysctlError;

/// Why a request cannot become a Spec.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub(crate) enum SpecError {
    /// A path is refused.
    #[error("check the paths of the request")]
    Path(#[from] PathError),
    /// A kernel parameter is refused.
    #[error("check the kernel parameters of the pod")]
    Sysctl(#[from] SysctlError),
    /// Neither the request nor the image says what to run.
    #[error("neither the request nor the image has a command; set command or args")]
    NoCommand,
    /// A privileged container needs a privileged pod.
    #[error(
        "linux.security_context.privileged: the pod sandbox is not privileged, so its containers cannot be"
    )]
    PrivilegedInPlainPod,
    /// A value of the request is refused.
    #[error("{field}: {reason}")]
    Invalid {
        /// Field of the request.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A valid wish that this runtime or this machine cannot meet.
    #[error("{field}: {what} cannot be had on this node")]
    Unsupported {
        /// Field of the request.
        field: String,
        /// What was asked for.
        what: String,
    },
}

impl SpecError {
    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn unsupported(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            what: what.into(),
        }
    }
}
