//! Why a Spec cannot become a plan.

use super::seccomp::{FilterError, FilterPart};

/// A part of a Spec that no plan can have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// A string has a NUL byte.
    #[error("{field} has a NUL byte: {text:?}")]
    Nul {
        /// Field of the Spec.
        field: String,
        /// The first characters of the text.
        text: String,
    },
    /// A part of the Spec that the launcher cannot do.
    #[error("{field}: {reason}")]
    Unsupported {
        /// Field of the Spec.
        field: String,
        /// Description of the fault, without the field.
        reason: String,
    },
    /// A seccomp profile cannot be compiled.
    #[error("linux.seccomp: cannot compile the profile")]
    Seccomp {
        /// Which of the process' profiles.
        part: FilterPart,
        /// Why it cannot be compiled.
        #[source]
        source: FilterError,
    },
}

impl From<(FilterPart, FilterError)> for PlanError {
    fn from((part, source): (FilterPart, FilterError)) -> Self {
        Self::Seccomp { part, source }
    }
}

impl PlanError {
    /// The error of a field that the launcher cannot carry out.
    pub(super) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// The first field that is there although it must not.
pub(super) fn refuse_any(fields: &[(&str, bool)]) -> Result<(), PlanError> {
    match fields.iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(PlanError::unsupported(
            *field,
            "the launcher cannot do this",
        )),
        None => Ok(()),
    }
}
