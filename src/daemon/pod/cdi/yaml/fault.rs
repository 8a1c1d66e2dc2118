//! A fault of a YAML text, with its line.

use std::fmt;

/// Why a text is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pod::cdi) struct YamlError {
    /// Line, from 1; 0 while it is not known.
    pub(super) line: usize,
    /// Names and indexes down to the value, outermost last.
    pub(super) path: Vec<String>,
    pub(super) reason: String,
}

impl YamlError {
    pub(super) fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            path: Vec::new(),
            reason: reason.into(),
        }
    }

    /// The same error, known to be inside a part of that name.
    pub(super) fn inside(mut self, name: String, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self.path.push(name);
        self
    }

    /// The same error, at a line where it has none yet.
    pub(super) fn or_at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
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
