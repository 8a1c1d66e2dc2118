//! Why an archive did not become an image.

use crate::layer::LayerError;
use crate::manifest::ManifestError;
use crate::pull::{PullErrorKind, layer_kind, manifest_kind};
use crate::reference::ReferenceError;
use crate::store::StoreError;
use std::io;

/// Why an archive did not become an image.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The name cannot be one.
    #[error("cannot name an image {name:?}")]
    InvalidName {
        /// The text as it was given.
        name: String,
        /// Description of the fault.
        #[source]
        source: ReferenceError,
    },
    /// A digest is not ours to choose.
    #[error(
        "cannot name an imported image {0:?}: give it a tag, its digest follows from its content"
    )]
    Digest(String),
    /// The archive could not be read.
    #[error("cannot read the archive of image {name}")]
    Read {
        /// The reference of the image.
        name: String,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The archive itself could not be unpacked.
    #[error("cannot unpack the archive of image {name}")]
    Unpack {
        /// The reference of the image.
        name: String,
        /// The cause of the failure.
        #[source]
        source: LayerError,
    },
    /// The archive lacks something, or has too much.
    #[error("the archive of image {name} {what}")]
    Archive {
        /// The reference of the image.
        name: String,
        /// Description of the fault.
        what: String,
    },
    /// The archive holds several images, and the new image's name is of none of them.
    #[error("the archive of image {name} holds several images and none of that name: {remedy}")]
    Ambiguous {
        /// The reference of the image.
        name: String,
        /// The remedy, as an imperative.
        remedy: String,
    },
    /// The archive does not hold an image for containers.
    #[error("the archive of image {name} {what}")]
    NotAnImage {
        /// The reference of the image.
        name: String,
        /// The kind of the file, and the remedy.
        what: String,
    },
    /// The image in the archive is not one this machine can run.
    #[error("cannot use the archive of image {name}")]
    Manifest {
        /// The reference of the image.
        name: String,
        /// Description of the fault.
        #[source]
        source: ManifestError,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {number} of image {name}")]
    Layer {
        /// The reference of the image.
        name: String,
        /// Counted from the bottom, the first is 0.
        number: usize,
        /// The cause of the failure.
        #[source]
        source: LayerError,
    },
    /// The store could not keep it.
    #[error("cannot store image {name}")]
    Store {
        /// The reference of the image.
        name: String,
        /// The cause of the failure.
        #[source]
        source: StoreError,
    },
}

impl ImportError {
    /// Returns the kind of the failure for the caller.
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::InvalidName { .. } | Self::Digest(_) | Self::Ambiguous { .. } => {
                PullErrorKind::InvalidReference
            }
            Self::NotAnImage { .. } => PullErrorKind::Unsupported,
            Self::Read { source, .. } if source.kind() == io::ErrorKind::Unsupported => {
                PullErrorKind::Unsupported
            }
            Self::Read { .. } | Self::Archive { .. } => PullErrorKind::Corrupt,
            Self::Manifest { source, .. } => manifest_kind(source),
            Self::Unpack { source, .. } | Self::Layer { source, .. } => layer_kind(source),
            Self::Store { source, .. } if source.is_no_space() => PullErrorKind::NoSpace,
            Self::Store { .. } => PullErrorKind::Internal,
        }
    }
}
