//! Signals of this process: sigprocmask(2), sigaction(2), signalfd(2).

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Gives every signal its default action and blocks none: what a new program expects.
///
/// # Errors
/// The errors of sigprocmask(2).
pub fn reset() -> nix::Result<()> {
    for number in 1..=64 {
        // SIGKILL, SIGSTOP and the two that the C library keeps for itself refuse, which is as wanted.
        let _ = set_default(number);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Gives one signal its default action. The raw call, because the C library hides signals 32 and 33.
fn set_default(number: i32) -> nix::Result<()> {
    // Bytes of the kernel's own sigaction: handler, flags, restorer, mask. All zeroes is SIG_DFL.
    let action = [0_u64; 4];
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads its 32-byte structure from `action`; 8 is the size of its signal set.
    nix::errno::Errno::result(unsafe {
        libc::syscall(libc::SYS_rt_sigaction, number, action.as_ptr(), none, 8)
    })
    .map(drop)
}

/// Gives SIGCHLD its default action again.
///
/// # Errors
/// The errors of sigaction(2).
pub fn notice_children() -> nix::Result<()> {
    set_default(libc::SIGCHLD)
}

/// Lets this process take no notice of a signal. Children of one that ignores SIGCHLD leave no zombies.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub fn ignore(signal: Signal) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no handler, so nothing of this program is called at an unsafe moment.
    unsafe { nix::sys::signal::sigaction(signal, &action) }.map(drop)
}

/// Blocks SIGCHLD and makes it readable from a descriptor.
///
/// # Errors
/// The errors of sigprocmask(2) and signalfd(2).
pub fn child_descriptor() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}
