//! The end of a container.

use std::time::Duration;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Exit code, 128 plus the signal's number when killed.
    pub code: i32,
    /// The daemon's word for it: Completed, Error, OOMKilled, …
    pub reason: String,
    /// How long it ran.
    pub ran: Duration,
}
