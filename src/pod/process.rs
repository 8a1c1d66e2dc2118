//! Identity of a process that survives restarts of the daemon: the pid alone is reused by the kernel.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::sys::{pidfd, proc};

/// A process, named so that no later process with the same pid is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in the host's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Ends this very process by SIGKILL, if it is there.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and pidfd_send_signal(2), but not that it is gone.
    pub fn kill(&self) -> io::Result<()> {
        let gone = |error: io::Error| match error.raw_os_error() {
            Some(number) if number == Errno::ESRCH as i32 => Ok(()),
            _ => Err(error),
        };
        let process = match pidfd::open(self.pid) {
            Ok(process) => process,
            Err(error) => return gone(error),
        };
        // Looked at after it was opened: from now on the number cannot become another's.
        if !self.exists() {
            return Ok(());
        }
        pidfd::send_signal(process.as_fd(), Signal::SIGKILL as i32).or_else(gone)
    }

    /// Whether this very process exists, also as a zombie.
    pub fn exists(&self) -> bool {
        proc::start_ticks(self.pid).is_ok_and(|ticks| ticks == self.start_ticks)
    }
}
