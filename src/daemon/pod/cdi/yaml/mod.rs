//! YAML as the reference library of CDI reads it (container-device-interface 1.1.2 with go.yaml.in/yaml 3.0.5).
//!
//! That is YAML 1.2 with parts of 1.1, decided by the type that is wanted: `0640` is octal where a number is
//! wanted and a text where a text is, `yes` is true for a boolean only. A value of null leaves a field as if it
//! were absent. JSON is read the same way, because the reference reads it as YAML too.
//!
//! ```text
//!   text ──saphyr──▶ events ──tree──▶ nodes with lines ──decode──▶ types of serde
//! ```

mod decode;
mod scalar;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;

use serde::de::DeserializeOwned;

/// Why a text is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct YamlError {
    /// Line, from 1; 0 while it is not known.
    line: usize,
    /// Names and indexes down to the value, outermost last.
    path: Vec<String>,
    reason: String,
}

impl YamlError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            path: Vec::new(),
            reason: reason.into(),
        }
    }

    /// The same error, known to be inside a part of that name.
    fn inside(mut self, name: String, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self.path.push(name);
        self
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.line.max(1))?;
        for (number, name) in self.path.iter().rev().enumerate() {
            let dot = if number == 0 || name.starts_with('[') {
                ""
            } else {
                "."
            };
            write!(out, "{dot}{name}")?;
        }
        if !self.path.is_empty() {
            out.write_str(": ")?;
        }
        out.write_str(&self.reason)
    }
}

impl std::error::Error for YamlError {}

impl serde::de::Error for YamlError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::at(0, reason.to_string())
    }
}

/// Reads the first document of a text. What follows it is not looked at, as in the reference.
///
/// # Errors
/// [`YamlError`] names the line and the value.
pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let root = tree::read(text)?;
    T::deserialize(decode::Decoder(&root)).map_err(|error| YamlError {
        line: if error.line == 0 {
            root.line
        } else {
            error.line
        },
        ..error
    })
}
