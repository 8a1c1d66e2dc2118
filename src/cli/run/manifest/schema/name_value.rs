//! The form of DNS options, sysctls and HTTP headers.

use serde::Deserialize;

/// A name and, for some, a value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameValue {
    pub name: String,
    pub value: Option<String>,
}
