//! New processes: clone3(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::pid::Pid;

/// A process that has just been made. Nobody but its parent may wait for it, so its number is its own until
/// then.
#[derive(Debug)]
pub struct Child {
    /// Number in the parent's pid namespace.
    pub pid: Pid,
    /// A descriptor of the new process.
    pub pidfd: OwnedFd,
}

/// Makes a process in new namespaces, inside a cgroup from its first instruction when one is given. It runs
/// `child` on a copy of the caller's memory and exits with the code that this returns; it never comes back.
///
/// The caller must have one thread: `child` sees memory as it was, with locks that other threads held.
///
/// # Errors
/// The errors of clone3(2). EBUSY, EOPNOTSUPP and E2BIG may mean that the cgroup cannot be entered this way.
pub fn spawn(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> nix::Result<Child> {
    let mut pidfd: RawFd = -1;
    let arguments = arguments(namespaces, cgroup, &mut pidfd);
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM and with no stack given this is fork(2): the child has its own copy of all
    // memory. `arguments` and `pidfd` live until the call returns, in both processes.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) };
    match Errno::result(result)? {
        0 => {
            let code = child();
            super::process::exit_now(code)
        }
        pid => Ok(Child {
            pid: Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?),
            // SAFETY: CLONE_PIDFD made the kernel store a new descriptor here, which nothing else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

fn arguments(
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    pidfd: &mut RawFd,
) -> libc::clone_args {
    // SAFETY: clone_args is a C structure of integers for which all zeroes is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    let flags = namespaces | CloneFlags::from_bits_retain(libc::CLONE_PIDFD);
    arguments.flags = u64::from(flags.bits().cast_unsigned());
    arguments.pidfd = std::ptr::from_mut(pidfd) as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(directory) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(directory.as_raw_fd().cast_unsigned());
    }
    arguments
}

/// clone(2): the child starts in the cgroup v2 directory `clone_args.cgroup`. Linux 5.7. The constant of
/// the libc crate does not fit its own type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::{pidfd, process};

    #[test]
    fn a_child_exits_with_the_closures_code() {
        let child = spawn(CloneFlags::empty(), None, || 7).unwrap();
        let ended = process::wait(child.pid).unwrap();
        assert_eq!(ended, process::Ended::Code(7));
        assert!(pidfd::exited(child.pidfd.as_fd()).unwrap());
    }

    /// signal(7): the real-time signals are 34 to 64 to programs of the GNU C library, and end a process that does
    /// not handle them. SIGRTMIN+3 stops an image whose first process is systemd.
    #[test]
    fn a_child_is_seen_to_end_by_every_kind_of_signal() {
        for signal in [1, 2, 9, 10, 15, 31, 34, 35, 37, 40, 63, 64] {
            // It kills itself, once nothing that another test ignores or blocks is in the way.
            let child = spawn(CloneFlags::empty(), None, || {
                let _ = crate::sys::signal::reset();
                if let Ok(own) = pidfd::open(Pid::own()) {
                    let _ = pidfd::send_signal(own.as_fd(), signal);
                }
                0
            });
            let child = child.unwrap();
            let ended = process::wait(child.pid).unwrap();
            assert_eq!(ended, process::Ended::Signal(signal), "{signal}");
        }
    }
}
