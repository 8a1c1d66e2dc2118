//! What makes a manifest unusable.

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
    /// Refuses the value of a field, and says what to do.
    pub(super) fn field(
        field: impl Into<String>,
        value: impl ToString,
        remedy: &'static str,
    ) -> Self {
        Self::Field {
            field: field.into(),
            value: value.to_string(),
            remedy,
        }
    }
}
