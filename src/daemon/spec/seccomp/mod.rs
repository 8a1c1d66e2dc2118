//! Seccomp profiles: the built-in default, those of the node's administrator, and those of registries.

mod artifact;
mod default;
mod profile;
mod table;

pub(crate) use artifact::{ArtifactError, parse_artifact};
pub(crate) use default::default_profile;
pub(crate) use profile::{MAX_PROFILE, ProfileError, parse_profile};
