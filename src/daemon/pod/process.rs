//! Identity of a process that survives restarts of the daemon: the pid alone is reused by the kernel.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use holdfast_kernel::sys::{pidfd, proc};

/// A process, named so that no later process with the same pid is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Process id in the host's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Sends SIGKILL to this very process; one that is gone is as good.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and pidfd_send_signal(2).
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Sends a signal to this very process; one that is gone needs none.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and pidfd_send_signal(2).
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        let process = match pidfd::open(self.pid) {
            Err(error) if is_gone(&error) => return Ok(()),
            other => other?,
        };
        // The descriptor holds the process: if it is the right one now, it stays the right one.
        if !self.exists() {
            return Ok(());
        }
        match pidfd::send_signal(process.as_fd(), signal) {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    /// Whether this very process exists, also as a zombie.
    pub(crate) fn exists(&self) -> bool {
        proc::start_ticks(self.pid).is_ok_and(|ticks| ticks == self.start_ticks)
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}
