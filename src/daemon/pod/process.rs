//! Identity of a process that survives restarts of the daemon: the pid alone is reused by the kernel.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{pidfd, proc};

/// A process, named so that no later process with the same pid is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Process id in the host's pid namespace.
    pub pid: Pid,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ProcessIdentity {
        let pid = Pid::own();
        ProcessIdentity {
            pid,
            start_ticks: proc::start_ticks(pid).unwrap(),
        }
    }

    /// The kernel gives a number again: a process that began at another time is another one, and is not signalled.
    #[test]
    fn a_number_alone_is_no_identity() {
        assert!(own().exists());
        let earlier = ProcessIdentity {
            start_ticks: own().start_ticks - 1,
            ..own()
        };
        assert!(!earlier.exists());
        earlier.kill().unwrap();
        assert!(own().exists(), "this process would have been killed");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process of the test's own")]
    fn a_process_that_is_gone_needs_no_signal() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        let gone = ProcessIdentity {
            pid,
            start_ticks: proc::start_ticks(pid).unwrap(),
        };
        child.wait().unwrap();
        gone.signal(libc::SIGTERM).unwrap();
        assert!(!gone.exists());
    }
}
