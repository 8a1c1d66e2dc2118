//! The faults that make a manifest unusable.

use std::fmt;

/// Why a manifest cannot become a pod.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// The text is not a manifest of the subset; the cause names field, line and column.
    #[error("cannot read the manifest")]
    Syntax(#[source] serde_yaml_ng::Error),
    /// The text has no document or several of them.
    #[error("the file has {0} documents; give exactly one Pod")]
    Documents(usize),
    /// The document is something other than a Pod.
    #[error("the file describes {kind:?} ({version:?}); give kind Pod of apiVersion v1")]
    Kind {
        /// The kind that the document names.
        kind: String,
        /// The apiVersion that the document names.
        version: String,
    },
    /// Fields are unknown, missing or not usable.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// A field has a value that cannot be used.
    #[error("{field}: invalid value {value:?}: {remedy}")]
    Field {
        /// Path of the field.
        field: String,
        /// The value that the field has.
        value: String,
        /// The remedy, as an imperative.
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

/// A mistake, and the line of the field that has it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The path of the field, and what is wrong with it.
    pub(super) text: String,
    pub(super) line: Option<usize>,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{} (line {line})", self.text),
            None => out.write_str(&self.text),
        }
    }
}

/// Shows mistakes, one a line.
fn list(faults: &[Fault]) -> String {
    let texts: Vec<_> = faults.iter().map(Fault::to_string).collect();
    texts.join("\n  ")
}
