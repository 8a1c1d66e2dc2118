//! Identity of a process that survives restarts of the daemon: the pid alone is reused by the kernel.

use serde::{Deserialize, Serialize};

use crate::sys::proc;

/// A process, named so that no later process with the same pid is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in the host's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Whether this very process exists, also as a zombie.
    pub fn exists(&self) -> bool {
        proc::start_ticks(self.pid).is_ok_and(|ticks| ticks == self.start_ticks)
    }
}
