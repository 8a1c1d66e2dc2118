//! Why a profile cannot be compiled.

use libseccomp::error::SeccompError;

/// Which of the two profiles of a process an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterPart {
    /// The profile that the Spec has.
    Profile,
    /// The profile that has to allow a call as well.
    Base,
    /// Each can be compiled, but not the two together.
    Both,
}

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// A part of the profile cannot be compiled.
    #[error("{path}")]
    Part {
        /// Where, as a JSON path.
        path: String,
        /// The fault at this place of the profile.
        #[source]
        source: Box<FilterError>,
    },
    /// The profile asks for what is not done.
    #[error("{0} is not supported; give another one, or leave it out")]
    Unsupported(String),
    /// A number of the profile means nothing.
    #[error("{0}")]
    Number(String),
    /// libseccomp refuses a step.
    #[error("{step} with libseccomp")]
    Library {
        /// The step that was tried.
        step: String,
        /// The error of libseccomp.
        #[source]
        source: SeccompError,
    },
    /// The memory file for the program.
    #[error("{0} the memory file for the compiled filter")]
    Memory(&'static str, #[source] std::io::Error),
    /// More instructions than the kernel takes.
    #[error("the compiled filter has {0} instructions; the kernel takes 4096")]
    TooLong(usize),
}

impl FilterError {
    /// The error, at a JSON path of the profile.
    pub(super) fn at(self, path: impl Into<String>) -> Self {
        Self::Part {
            path: path.into(),
            source: Box::new(self),
        }
    }

    /// Whether this machine is at fault, not the profile.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Part { source, .. } => source.is_local(),
            Self::Memory(..) => true,
            Self::Unsupported(_) | Self::Number(_) | Self::Library { .. } | Self::TooLong(_) => {
                false
            }
        }
    }
}
