//! Why a pull failed, and what that means to the caller.

use crate::digest::Digest;
use crate::layer::LayerError;
use crate::manifest::ManifestError;
use crate::reference::ReferenceError;
use crate::registry::{HostsError, RegistryError};
use crate::store::StoreError;
use std::sync::Arc;

/// Why an image was not pulled. Cheap to clone: concurrent callers share one operation's error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    /// The text is no reference.
    #[error("invalid image reference {reference:?}")]
    InvalidReference {
        /// The text as it was given.
        reference: String,
        /// Description of the fault.
        #[source]
        source: ReferenceError,
    },
    /// The registry did not deliver.
    #[error("cannot pull image {reference} from its registry")]
    Registry {
        /// The reference of the image.
        reference: String,
        /// The cause of the failure.
        #[source]
        source: Arc<RegistryError>,
    },
    /// The image is not one this machine can run.
    #[error("cannot use image {reference}")]
    Manifest {
        /// The reference of the image.
        reference: String,
        /// Description of the fault.
        #[source]
        source: Arc<ManifestError>,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {digest} of image {reference}")]
    Layer {
        /// The reference of the image.
        reference: String,
        /// The digest of the layer's blob.
        digest: Digest,
        /// The cause of the failure.
        #[source]
        source: Arc<LayerError>,
    },
    /// The store could not keep it.
    #[error("cannot store image {reference}")]
    Store {
        /// The reference of the image.
        reference: String,
        /// The cause of the failure.
        #[source]
        source: Arc<StoreError>,
    },
}

/// The kind of a failed pull, for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The reference cannot be pulled by anybody.
    InvalidReference,
    /// The registry has no such image.
    NotFound,
    /// The registry wants other credentials.
    Unauthorized,
    /// The registry cannot be reached, or is not able to serve just now.
    Unavailable,
    /// The content differs from its digest, or cannot be unpacked.
    Corrupt,
    /// The disk is full.
    NoSpace,
    /// A limit of ours was met.
    TooLarge,
    /// The image is for another machine, or is not an image.
    Unsupported,
    /// The operator's configuration of the registry cannot be used.
    Misconfigured,
    /// This machine failed, neither the registry nor the image.
    Internal,
}

impl PullError {
    /// Returns the kind of the failure for the caller.
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::InvalidReference { .. } => PullErrorKind::InvalidReference,
            Self::Registry { source, .. } => source.as_ref().into(),
            Self::Manifest { source, .. } => manifest_kind(source),
            Self::Layer { source, .. } => layer_kind(source),
            Self::Store { source, .. } if source.is_no_space() => PullErrorKind::NoSpace,
            Self::Store { .. } => PullErrorKind::Internal,
        }
    }
}

impl From<&RegistryError> for PullErrorKind {
    fn from(error: &RegistryError) -> Self {
        registry_kind(error.decisive())
    }
}

fn registry_kind(error: &RegistryError) -> PullErrorKind {
    match error {
        RegistryError::NotFound { .. } => PullErrorKind::NotFound,
        RegistryError::Unauthorized { .. } | RegistryError::Token { .. } => {
            PullErrorKind::Unauthorized
        }
        RegistryError::Unreachable { .. }
        | RegistryError::Stalled { .. }
        | RegistryError::TooSlow { .. } => PullErrorKind::Unavailable,
        RegistryError::Status { status, .. }
            if status.is_server_error() || status.as_u16() == 429 =>
        {
            PullErrorKind::Unavailable
        }
        RegistryError::UnknownCoding { .. } => PullErrorKind::Unsupported,
        RegistryError::Mismatch { .. }
        | RegistryError::Coding { .. }
        | RegistryError::Length { .. }
        | RegistryError::TooLong { .. } => PullErrorKind::Corrupt,
        RegistryError::TooLarge { .. } => PullErrorKind::TooLarge,
        RegistryError::Hosts {
            source: HostsError::Read { source, .. },
            ..
        } if source.kind() == std::io::ErrorKind::Interrupted => PullErrorKind::Internal,
        // Files that an operator writes: hosts.toml, and the certificates it names.
        RegistryError::Hosts { .. } | RegistryError::Client { .. } => PullErrorKind::Misconfigured,
        RegistryError::Status { .. }
        | RegistryError::Answer { .. }
        | RegistryError::GivenUp { .. }
        | RegistryError::AllHosts { .. } => PullErrorKind::Unavailable,
    }
}

/// The kind of a failed pull whose manifest cannot be used.
pub(crate) fn manifest_kind(error: &ManifestError) -> PullErrorKind {
    match error {
        ManifestError::Document(_)
        | ManifestError::Size { .. }
        | ManifestError::LayerCount { .. } => PullErrorKind::Corrupt,
        ManifestError::TooManyLayers(_) => PullErrorKind::TooLarge,
        ManifestError::Kind(_)
        | ManifestError::NoImage(_)
        | ManifestError::Platform { .. }
        | ManifestError::Layer(_)
        | ManifestError::FileName(_)
        | ManifestError::Digest { .. } => PullErrorKind::Unsupported,
    }
}

/// The kind of a failed pull with a layer that cannot be unpacked.
pub(crate) fn layer_kind(error: &LayerError) -> PullErrorKind {
    match error {
        LayerError::Unpack(e) if e.is_no_space() => PullErrorKind::NoSpace,
        LayerError::Unpack(e) if e.is_too_large() => PullErrorKind::TooLarge,
        LayerError::Unpack(e) if e.is_local() => PullErrorKind::Internal,
        LayerError::Read(e) if e.kind() == std::io::ErrorKind::Unsupported => {
            PullErrorKind::Unsupported
        }
        LayerError::Unpack(_)
        | LayerError::Read(_)
        | LayerError::BlobMismatch { .. }
        | LayerError::DiffIdMismatch { .. } => PullErrorKind::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mistake in a hosts.toml was INTERNAL, as if the daemon had failed.
    #[test]
    fn what_an_operator_wrote_is_no_failure_of_the_machine() {
        let path = std::path::PathBuf::from("hosts.toml");
        let parse = toml::from_str::<toml::Table>("server = [").unwrap_err();
        for source in [
            HostsError::Parse {
                path: path.clone(),
                source: Box::new(parse),
            },
            HostsError::Key {
                path: path.clone(),
                key: "ca".to_owned(),
                what: "x".to_owned(),
            },
            HostsError::Read {
                path,
                source: std::io::ErrorKind::PermissionDenied.into(),
            },
        ] {
            let host = "a.example".to_owned();
            let error = RegistryError::Hosts { host, source };
            assert_eq!(registry_kind(&error), PullErrorKind::Misconfigured);
        }
    }
}
