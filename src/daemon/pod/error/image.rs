//! Using an image: as a container's root file system and as a volume.

use super::ErrorKind;
use crate::spec::{PathError, SignalError, UserError};
use holdfast_image::StoreError;

/// Why an image cannot be used as a request asks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageUseError {
    /// The store does not have the image.
    #[error("image {0:?} is not present; pull it first")]
    Missing(String),
    /// The image has no program to run.
    #[error("{0} is an artifact, not a container image; mount it as an image volume instead")]
    Artifact(String),
    /// A volume that the image declares has an impossible path.
    #[error(
        "image {image}: cannot make the volumes that it declares; image.volumes = \"ignore\" starts it without them"
    )]
    DeclaredVolume {
        image: String,
        /// The fault of the path.
        #[source]
        source: PathError,
    },
    /// The store does not have the image of a volume. Kubelets look for the first word.
    #[error(
        "ImageVolumeMountFailed: mounts[{mount}].image: {image:?} is not present; pull it first"
    )]
    VolumeMissing {
        /// Index of the volume in the request's mounts.
        mount: usize,
        image: String,
    },
    /// The image of a volume does not have the directory of the request.
    #[error(
        "ImageVolumeMountFailed: mounts[{mount}].image_sub_path: {image:?} has no directory {sub_path:?}"
    )]
    VolumeSubPath {
        /// Index of the volume in the request's mounts.
        mount: usize,
        image: String,
        sub_path: String,
    },
    /// The user of the request or of the image cannot be resolved.
    #[error("image {image}: cannot find the container's user")]
    User {
        /// The image, whose files have the accounts.
        image: String,
        /// Why there is no such user.
        #[source]
        source: UserError,
    },
    /// The stop signal in the image's configuration does not exist.
    #[error("image {image}: cannot use config.StopSignal")]
    StopSignal {
        image: String,
        /// The fault of the signal.
        #[source]
        source: SignalError,
    },
    /// The image store failed.
    #[error("cannot use the image")]
    Store(#[from] StoreError),
}

impl ImageUseError {
    /// Returns the kind of this failure.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) | Self::VolumeMissing { .. } | Self::VolumeSubPath { .. } => {
                ErrorKind::NotFound
            }
            Self::DeclaredVolume { .. } | Self::User { .. } | Self::StopSignal { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Artifact(_) => ErrorKind::FailedPrecondition,
            Self::Store(StoreError::View(error)) if error.is_of_image() => {
                ErrorKind::FailedPrecondition
            }
            Self::Store(_) => ErrorKind::Internal,
        }
    }
}
