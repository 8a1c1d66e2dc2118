//! A documented subset of the Kubernetes Pod manifest (v1), read strictly, as CRI requests.
//!
//! ```text
//!   text ── read ──▶ Manifest (own serde types) ── PodPlan::new ──▶ sandbox and container configs
//! ```
//!
//! Fields that nothing on a single node acts on (`inert`) are named in a note. All mistakes of a file are named at once.
//! What this module must never do: skip another field. A field outside the subset is an error with its path and
//! line, because a pod that runs without what its author asked for is worse than one that does not run.
//! It makes nothing: directories that a pod needs are listed in the plan for others to make, and the only
//! thing it looks at is whether a hostPath with a type is of that type.

mod container;
mod environment;
mod expand;
mod faults;
mod inert;
mod lines;
mod manifest_error;
mod mount;
mod name;
mod plan;
mod planned;
mod pod;
mod probe;
mod pull;
mod quantity;
mod schema;
mod security;
mod start_order;
mod users;
mod volume;

pub(super) use faults::read;
pub(super) use manifest_error::ManifestError;
pub(super) use name::log_directory_name;
pub(super) use planned::{
    PlannedContainer, PodFacts, PodPlan, PullPolicy, RequiredPath, RequiredPathKind, Roots,
};
pub(super) use probe::Check;
pub(super) use schema::Manifest;

#[cfg(test)]
mod tests;
