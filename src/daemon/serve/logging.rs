//! The log: lines on standard error.

use std::env;
use std::io;

use tracing_subscriber::filter::{EnvFilter, ParseError};

use super::config::{ConfigError, LogConfig, LogFormat};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The configured level cannot be used.
    #[error(transparent)]
    Level(#[from] ConfigError),
    /// The filter of a level is not understood, which its check excludes.
    #[error("cannot filter the log")]
    Filter(#[from] ParseError),
    /// The process has set up its log before.
    #[error("cannot set up the log: it was set up before")]
    Twice,
}

/// Sets up the log of this process.
pub(super) fn start(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(config.filter()?)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // The journal has times of its own: systemd.exec(5), $JOURNAL_STREAM.
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    let result = match (config.format, journal) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).try_init(),
        (LogFormat::Text, true) => lines.without_time().try_init(),
        (LogFormat::Text, false) => lines.try_init(),
    };
    result.map_err(|_| LogError::Twice)
}
