//! Images: names, registries, layers, and the store that keeps them.
//!
//! ```text
//!   reference ──► registry ──► layer (verify, decompress) ──► unpack ──► store ──► overlay (read)
//!                    │                                                     │
//!                 hosts.toml, tokens                                 index, holds, gc
//! ```
//!
//! Everything that comes from a registry or an archive is hostile until its digest is compared, and
//! stays untrusted afterwards: nothing in an image changes what the host does. This module never
//! mounts, never resolves a path of an image outside of its root, and never keeps credentials longer
//! than a request and the tokens obtained with them.

mod credentials;
mod digest;
mod document;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod image;
mod image_store;
mod import;
mod index;
mod layer;
mod manifest;
mod metadata;
mod overlay;
mod platform;
mod profile;
mod pull;
mod reference;
mod registry;
mod store;
#[cfg(test)]
mod testing;
mod unpack;

pub use credentials::{Credentials, CredentialsError};
pub use digest::{Digest, DigestError};
pub use document::{DocumentError, Execution, FieldError, ImageConfig, Timestamp};
pub use image::{Image, ImageId, ImageKind, LayerName, LayerNameError};
pub use image_store::ImageStore;
pub use import::ImportError;
pub use index::LoadError;
pub use layer::LayerError;
pub use manifest::ManifestError;
pub use overlay::{ViewError, lower_layers};
pub use profile::{PROFILE_MAX, Profile, ProfileError};
pub use pull::{LayerProgress, PullError, PullErrorKind, PullRequest, Pulling};
pub use reference::{Reference, ReferenceError, Target};
pub use registry::{HostsError, RegistryError};
pub use store::{FsUsage, ImageHold, ImageSettings, StoreError};
pub use unpack::UnpackError;
