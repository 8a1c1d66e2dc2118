//! Reading and compiling the seccomp profile of a request.

use std::path::PathBuf;

use super::ErrorKind;
use crate::plan::FilterError;
use crate::spec::seccomp::{ArtifactError, ProfileError as FormatError};
use holdfast_image::ProfileError;

/// Why a seccomp profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    /// The file is not a seccomp profile.
    #[error("{field} {}: it is no seccomp profile of the OCI runtime specification", path.display())]
    Format {
        /// The field of the request.
        field: &'static str,
        path: PathBuf,
        /// The fault of the text.
        #[source]
        source: FormatError,
    },
    /// The profile cannot be compiled into a filter.
    #[error("{place}: cannot compile the profile")]
    Compile {
        /// The field of the request, and the profile.
        place: String,
        /// The fault of the profile.
        #[source]
        source: FilterError,
    },
    /// The profile that the request names was not pulled.
    #[error(
        "security_context.seccomp.oci_ref: the profile {0:?} is not on this node; pull it with PullSecurityProfile"
    )]
    Missing(String),
    /// The request names its profile by an invalid reference.
    #[error("security_context.seccomp.oci_ref")]
    Reference(#[from] ProfileError),
    /// A profile that was pulled cannot be read any more.
    #[error("cannot read the pulled seccomp profile")]
    Pulled(#[from] ArtifactError),
}

impl SeccompError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Format { .. } | Self::Reference(_) => ErrorKind::InvalidArgument,
            Self::Compile { source, .. } if source.is_local() => ErrorKind::Internal,
            Self::Compile { .. } => ErrorKind::InvalidArgument,
            Self::Missing(_) | Self::Pulled(_) => ErrorKind::FailedPrecondition,
        }
    }
}
