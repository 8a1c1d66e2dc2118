//! Why a field of a request is refused, and the checks that several messages share.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::spec::PathError;
use crate::spec::experiments::ExperimentError;

/// How much of a refused value is shown, in characters.
const SHOWN: usize = 120;

/// Why a request is refused before any of it is carried out.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum FieldError {
    /// A required field is missing or empty.
    #[error("{field} is not set; {remedy}")]
    Missing {
        /// Path of the field.
        field: String,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// A field has a value that is not allowed.
    #[error("{field}: invalid value {value:?}: {remedy}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// The value, shortened for the error.
        value: String,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// A field asks for what this version does not do.
    #[error("{field}: {what} is not supported; {remedy}")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// The feature that the request asks for.
        what: &'static str,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// A path is refused; the text names the field.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An experiment is refused; the text names the annotation.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
}

impl FieldError {
    /// A required field is missing.
    pub fn missing(field: impl Into<String>, remedy: &'static str) -> Self {
        Self::Missing {
            field: field.into(),
            remedy,
        }
    }

    /// A field has a value that is not allowed.
    pub fn invalid(field: impl Into<String>, value: impl ToString, remedy: &'static str) -> Self {
        let value = value.to_string().chars().take(SHOWN).collect();
        Self::Invalid {
            field: field.into(),
            value,
            remedy,
        }
    }
}

/// Checks a name that must not be empty or hold control characters.
pub(super) fn name(field: &str, text: &str) -> Result<String, FieldError> {
    /// The longest name that Kubernetes makes is a DNS subdomain of 253 bytes.
    const LONGEST: usize = 253;
    if text.is_empty() {
        return Err(FieldError::missing(field, "give a name"));
    }
    optional_name(field, text, LONGEST)
}

/// Checks a name that may be empty but must not hold control characters.
pub(super) fn optional_name(field: &str, text: &str, longest: usize) -> Result<String, FieldError> {
    if text.len() > longest || text.chars().any(char::is_control) {
        return Err(FieldError::invalid(
            field,
            text,
            "give a name without control characters and of at most 253 bytes",
        ));
    }
    Ok(text.to_owned())
}

/// Checks texts that become lines of a file: they have no NUL and no line breaks.
pub(super) fn lines(field: &str, texts: &[String]) -> Result<Vec<String>, FieldError> {
    for (index, text) in texts.iter().enumerate() {
        if text.contains(['\0', '\n', '\r']) {
            let field = format!("{field}[{index}]");
            return Err(FieldError::invalid(
                field,
                text,
                "give it without NUL and line breaks",
            ));
        }
    }
    Ok(texts.to_vec())
}

/// Checks texts that become C strings: they have no NUL.
pub(super) fn no_nul(field: &str, texts: &[String]) -> Result<Vec<String>, FieldError> {
    match texts.iter().position(|text| text.contains('\0')) {
        None => Ok(texts.to_vec()),
        Some(index) => Err(FieldError::invalid(
            format!("{field}[{index}]"),
            &texts[index],
            "give it without NUL bytes",
        )),
    }
}

/// Checks a user or group id. All bits set means "no change" to the kernel, so that number is refused.
pub(super) fn id(field: &str, value: i64) -> Result<u32, FieldError> {
    u32::try_from(value)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| FieldError::invalid(field, value, "give a number from 0 to 4294967294"))
}

/// Checks each of several group ids.
pub(super) fn ids(field: &str, values: &[i64]) -> Result<Vec<u32>, FieldError> {
    values
        .iter()
        .enumerate()
        .map(|(index, value)| id(&format!("{field}[{index}]"), *value))
        .collect()
}

/// Converts a map of a message to a sorted map.
pub(super) fn sorted(map: &HashMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Converts a sorted map to a map of a message.
pub(super) fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
