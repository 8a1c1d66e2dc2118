//! This process and its children: fork(2), _exit(2), wait(2), prctl(2).

use nix::errno::Errno;
use nix::unistd::ForkResult;

use super::pid::Pid;

/// How a child ended: waitpid(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Ends this process at once: no destructor, no exit handler runs.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: one integer, no memory; the call does not return.
    unsafe { libc::_exit(code) }
}

/// Which of the two processes after a fork(2) this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The process that was there before.
    Parent,
    /// The process that was made by it.
    Child,
}

/// Goes on in two processes. The caller must have one thread.
///
/// # Errors
/// The errors of fork(2).
pub fn fork() -> nix::Result<Forked> {
    // SAFETY: the process has one thread, as the caller warrants, so the child's memory is consistent.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => Ok(Forked::Parent),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Continues in a child whose parent exits with code 0 at once, so that it is nobody's child. The caller
/// must have one thread.
///
/// # Errors
/// The errors of fork(2).
pub fn detach() -> nix::Result<()> {
    match fork()? {
        Forked::Parent => exit_now(0),
        Forked::Child => Ok(()),
    }
}

/// The number of a child that has ended, if there is one. It is not waited for and stays a zombie until [`wait`] takes
/// it: its number is its own, and /proc/PID/stat is there. Does not wait.
///
/// # Errors
/// ECHILD when there are no children at all.
pub fn ended_child() -> nix::Result<Option<Pid>> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all of `siginfo_t` are integers and pointers, for which zeros are values.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid place for a siginfo_t during the call, and the kernel keeps no pointer to it.
    Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) })?;
    // SAFETY: waitid(2) has stored what it stores for SIGCHLD, or left the zeros.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(Pid::from_raw(pid)))
}

/// Waits for one child.
///
/// # Errors
/// ECHILD when it is not a child of this process.
pub fn wait(pid: Pid) -> nix::Result<Ended> {
    loop {
        if let (_, Some(ended)) = wait_for(pid.as_raw(), 0)? {
            return Ok(ended);
        }
    }
}

/// waitpid(2): the number of the child, 0 when none has changed, and how it ended, if that is what it did.
///
/// Not nix's function of that name: nix 0.31 has no names for real-time signals, and answers EINVAL for a child that one
/// of them has killed, when the kernel has already forgotten the child.
fn wait_for(pid: i32, flags: i32) -> nix::Result<(i32, Option<Ended>)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for one integer during the call, and the kernel keeps no pointer to it.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
            Ok(0) => return Ok((0, None)),
            Ok(child) => return Ok((child, ended(status))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// How a child ended, by its wait status; None when it was only stopped or continued.
fn ended(status: i32) -> Option<Ended> {
    if libc::WIFEXITED(status) {
        Some(Ended::Code(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Ended::Signal(libc::WTERMSIG(status)))
    } else {
        None
    }
}

/// Starts a session of which this process is the leader: setsid(2).
///
/// # Errors
/// EPERM when it already leads a process group.
pub fn start_session() -> nix::Result<()> {
    nix::unistd::setsid().map(drop)
}

/// Kills a process by number. Only for numbers just read from a cgroup whose kernel has no `cgroup.kill`
/// (before Linux 5.14) or from a cgroup v1 hierarchy, where the kernel offers nothing better.
///
/// A cgroup lists a process of a foreign pid namespace as 0, which kill(2) takes for the caller's own process group: no
/// signal is sent then.
///
/// # Errors
/// ESRCH when there is no such process, or none with a number here.
pub fn kill(pid: Pid) -> nix::Result<()> {
    if pid.as_raw() <= 0 {
        return Err(nix::errno::Errno::ESRCH);
    }
    nix::sys::signal::kill(pid.into(), nix::sys::signal::Signal::SIGKILL)
}

/// Kills every process of a group. Only for groups whose leader is a child that has not been waited for, so
/// that the number is still its own.
///
/// # Errors
/// ESRCH when nobody is left in it.
pub fn kill_group(leader: Pid) -> nix::Result<()> {
    nix::sys::signal::killpg(leader.into(), nix::sys::signal::Signal::SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_number_here_is_not_killed() {
        for number in [0, -1] {
            assert_eq!(kill(Pid::from_raw(number)), Err(nix::errno::Errno::ESRCH));
        }
    }
}
