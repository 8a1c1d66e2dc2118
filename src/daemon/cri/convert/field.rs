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
        /// What is allowed, as an imperative.
        remedy: &'static str,
    },
    /// A field has a value that has no meaning there.
    #[error("{field}: invalid value {value:?}: {remedy}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// The value, shortened for the error.
        value: String,
        /// What is allowed, as an imperative.
        remedy: &'static str,
    },
    /// A field asks for what this version does not do.
    #[error("{field}: {what} is not supported; {remedy}")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// What was asked for.
        what: &'static str,
        /// What is allowed, as an imperative.
        remedy: &'static str,
    },
    /// A path is not usable; the text names the field.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An experiment is not usable; the text names the annotation.
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

    /// A field has an impossible value.
    pub fn invalid(field: impl Into<String>, value: impl ToString, remedy: &'static str) -> Self {
        let value = value.to_string().chars().take(SHOWN).collect();
        Self::Invalid {
            field: field.into(),
            value,
            remedy,
        }
    }
}

/// A text that must be there and must not hold control characters.
pub(super) fn name(field: &str, text: &str) -> Result<String, FieldError> {
    /// The longest name that Kubernetes makes is a DNS subdomain of 253 bytes.
    const LONGEST: usize = 253;
    if text.is_empty() {
        return Err(FieldError::missing(field, "give a name"));
    }
    optional_name(field, text, LONGEST)
}

/// A text that may be empty and must not hold control characters.
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

/// Texts that end up in lines of a file or in C strings: no NUL and no line breaks.
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

/// Texts that end up in C strings: no NUL.
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

/// A user or group id. All bits set means "no change" to the kernel, so it is no id.
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

/// A map as it is, in order.
pub(super) fn sorted(map: &HashMap<String, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A map as messages have it.
pub(super) fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
