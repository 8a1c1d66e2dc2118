//! Why the configuration cannot be used.

use std::io;
use std::path::PathBuf;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why the system could not read it.
        #[source]
        source: io::Error,
    },
    /// A file is not a valid configuration.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file with the error.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The message of the TOML reader.
        message: String,
    },
    /// A value cannot be used.
    #[error("configuration: {key}: invalid value {value:?}: {remedy}")]
    Value {
        /// Key of the value, with the names of its tables.
        key: &'static str,
        /// The value as configured.
        value: String,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// The configuration cannot be shown.
    #[error("cannot write the configuration as TOML")]
    Show(#[source] toml::ser::Error),
}
