//! A documented subset of the Kubernetes Pod manifest (v1), read strictly, as CRI requests.
//!
//! ```text
//!   text ── parse ──▶ Manifest (own serde types) ── PodPlan::new ──▶ sandbox and container configs
//! ```
//!
//! What this module must never do: skip a field. A field outside the subset is an error with its path and
//! line, because a pod that runs without what its author asked for is worse than one that does not run.
//! It makes nothing: directories that a pod needs are listed in the plan for others to make, and the only
//! thing it looks at is whether a hostPath with a type is of that type.

mod container;
mod environment;
mod expand;
mod mount;
mod plan;
mod probe;
mod quantity;
mod schema;
mod security;
mod users;
mod volume;

pub(crate) use plan::{
    GRACE_ANNOTATION, Known, MANIFEST_ANNOTATION, PlannedContainer, PodPlan, PullPolicy,
    RESTART_ANNOTATION, Roots, log_directory_name,
};
pub(super) use probe::Check;
pub(super) use schema::Manifest;
pub(super) use volume::{Needed, NeededKind};

/// Why a manifest cannot become a pod.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// The text is no manifest of the subset; the cause names field, line and column.
    #[error("the manifest cannot be read")]
    Syntax(#[source] serde_yaml_ng::Error),
    /// The text has no document or several of them.
    #[error("the file has {0} documents; give one Pod a file")]
    Documents(usize),
    /// The document is something other than a Pod.
    #[error("the file describes {kind:?} ({version:?}); only kind Pod of apiVersion v1 is run")]
    Kind {
        /// Its kind.
        kind: String,
        /// Its apiVersion.
        version: String,
    },
    /// A field has a value that cannot be used.
    #[error("{field}: {value:?} is not possible; {remedy}")]
    Field {
        /// Path of the field.
        field: String,
        /// Its value.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl ManifestError {
    fn field(field: impl Into<String>, value: impl ToString, remedy: &'static str) -> Self {
        Self::Field {
            field: field.into(),
            value: value.to_string(),
            remedy,
        }
    }
}

#[cfg(test)]
mod tests;
