//! The log: lines on standard error.

use std::env;
use std::io;

use tracing_subscriber::filter::{EnvFilter, ParseError};

use super::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The level is none.
    #[error(
        "configuration: log.level = {level:?} is no level; give error, warn, info, debug or trace"
    )]
    Level {
        /// As configured.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Somebody logs already.
    #[error("a log was set up before")]
    Twice,
}

/// Sets the log up.
pub(super) fn start(config: &LogConfig) -> Result<(), LogError> {
    let failed = |source| LogError::Level {
        level: config.level.clone(),
        source,
    };
    let filter = EnvFilter::try_new(&config.level).map_err(failed)?;
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
