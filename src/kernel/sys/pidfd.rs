//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) `P_PIDFD`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::pid::Pid;
use super::{check, take_descriptor};

/// Opens a process by its number. The number may belong to another process by now: compare
/// [`super::proc::start_ticks`] after opening. The descriptor is close-on-exec and readable (poll(2)) once
/// the process has ended.
///
/// # Errors
/// ESRCH when there is no such process; those of pidfd_open(2), Linux 5.3.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: two integers, no memory.
    Ok(take_descriptor(unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0)
    })?)
}

/// Sends a signal; 0 only asks whether the process is there.
///
/// # Errors
/// ESRCH when the process has ended and was waited for; those of pidfd_send_signal(2), Linux 5.1.
pub fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means the one that kill(2) would make.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            none,
            0,
        )
    })
    .map(drop)
}

/// Whether the process has ended (it may still be a zombie). Does not wait.
///
/// # Errors
/// The errors of poll(2).
pub fn exited(process: BorrowedFd<'_>) -> io::Result<bool> {
    let mut set = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut set, PollTimeout::ZERO)? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_signalled_and_seen_to_end() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs a process to signal"
        )]
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = open(Pid::try_from(child.id()).unwrap()).unwrap();
        assert!(!exited(process.as_fd()).unwrap());
        send_signal(process.as_fd(), 0).unwrap();
        send_signal(process.as_fd(), libc::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(exited(process.as_fd()).unwrap());
        let error = send_signal(process.as_fd(), 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
