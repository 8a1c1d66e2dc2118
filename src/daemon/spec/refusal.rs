//! Why a request cannot become a Spec.

use super::PathError;
use super::sysctl::SysctlError;

/// Why a request cannot become a Spec.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub(crate) enum SpecError {
    /// A path is refused.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A kernel parameter is refused.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// Neither the request nor the image says what to run.
    #[error("neither the request nor the image has a command; set command or args")]
    NoCommand,
    /// A privileged container needs a privileged pod.
    #[error(
        "linux.security_context.privileged: invalid value true: the pod sandbox is not privileged; make the pod privileged as well"
    )]
    PrivilegedInPlainPod,
    /// A value of the request is refused.
    #[error("{field}: {reason}")]
    Invalid {
        /// Field of the request.
        field: String,
        /// The fault of the value, and the allowed values.
        reason: String,
    },
    /// A valid request that this node cannot meet.
    #[error("{field}: this node does not support {what}")]
    Unsupported {
        /// Field of the request.
        field: String,
        /// The feature that the request asks for.
        what: String,
    },
}

impl SpecError {
    /// The error of a field whose value has no meaning.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A value of the request is refused. `allowed` says which values are allowed, as an imperative.
    pub(super) fn value(
        field: impl Into<String>,
        value: impl std::fmt::Display,
        allowed: &str,
    ) -> Self {
        Self::invalid(field, format!("invalid value {value}: {allowed}"))
    }

    /// The error of a field that asks for a feature that this node lacks.
    pub(super) fn unsupported(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            what: what.into(),
        }
    }
}
