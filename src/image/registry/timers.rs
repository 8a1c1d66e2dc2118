//! How long a registry may keep a pull waiting.

use std::time::Duration;

/// The deadlines of connections and downloads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timers {
    /// A connection that brings nothing for so long is broken off.
    pub stall: Duration,
    /// A download that brings less, in bytes per second, is broken off; 0 lets it be as slow as it likes.
    pub rate: u64,
    /// The time over which the rate is measured.
    pub window: Duration,
}
