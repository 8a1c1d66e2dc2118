//! The form of DNS options, sysctls and HTTP headers.

use serde::Deserialize;

/// A name and, for some, a value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameValue {
    /// Name.
    pub name: String,
    /// Value.
    pub value: Option<String>,
}
