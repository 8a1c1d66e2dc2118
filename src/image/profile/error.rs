//! Why a security profile was not pulled, found or removed.

use crate::digest::DigestError;
use crate::reference::ReferenceError;
use crate::registry::RegistryError;
use crate::store::StoreError;
use std::error::Error;

/// Why a profile was not pulled, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The text is not an image reference.
    #[error("invalid reference {reference:?} of a security profile")]
    Reference {
        /// The text as it was given.
        reference: String,
        /// Description of the fault.
        #[source]
        source: ReferenceError,
    },
    /// The reference has no digest.
    #[error(
        "{0:?} does not say which profile it means; give a reference with a digest, NAME@sha256:…"
    )]
    Unpinned(String),
    /// The registry did not deliver.
    #[error("cannot pull security profile {reference} from its registry")]
    Registry {
        /// The reference as it was given.
        reference: String,
        /// The cause of the failure.
        #[source]
        source: Box<RegistryError>,
    },
    /// The reference does not name an artifact with a profile.
    #[error("{reference} is not an artifact with a security profile: {reason}")]
    Artifact {
        /// The reference as it was given.
        reference: String,
        /// Description of the fault.
        reason: String,
    },
    /// The file of the artifact cannot be used.
    #[error("cannot use security profile {reference}")]
    Content {
        /// The reference as it was given.
        reference: String,
        /// Description of the fault.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The text is not a digest.
    #[error("cannot look for a security profile")]
    Digest(#[from] DigestError),
    /// The store could not do it.
    #[error("cannot use the security profiles of this node")]
    Store(#[from] StoreError),
}
