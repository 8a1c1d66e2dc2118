//! Namespaces: setns(2), unshare(2), namespaces(7).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
pub use nix::sched::CloneFlags;

/// A time namespace: time_namespaces(7), Linux 5.6. nix has no name for it.
pub const TIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

/// Joins namespaces. `place` is a namespace (/proc/PID/ns/…) or, since Linux 5.8, a pidfd, of whose process
/// all namespaces in `which` are joined in one step.
///
/// # Errors
/// The errors of setns(2).
pub fn join(place: BorrowedFd<'_>, which: CloneFlags) -> nix::Result<()> {
    // SAFETY: two integers, no memory.
    Errno::result(unsafe { libc::setns(place.as_raw_fd(), which.bits()) }).map(drop)
}

/// Moves this process into new namespaces. For pids: its future children.
///
/// # Errors
/// The errors of unshare(2).
pub fn unshare(which: CloneFlags) -> nix::Result<()> {
    nix::sched::unshare(which)
}

/// Sets the NIS domain name of the present UTS namespace.
///
/// # Errors
/// The errors of setdomainname(2): EINVAL for more than 64 bytes.
pub fn set_domain_name(name: &std::ffi::CStr) -> nix::Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: the pointer and the length describe `bytes`, which the kernel only reads.
    Errno::result(unsafe { libc::setdomainname(bytes.as_ptr().cast(), bytes.len()) }).map(drop)
}

/// Sets the host name of the present UTS namespace.
///
/// # Errors
/// The errors of sethostname(2): EINVAL for more than 64 bytes.
pub fn set_hostname(name: &std::ffi::CStr) -> nix::Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: the pointer and the length describe `bytes`, which the kernel only reads.
    Errno::result(unsafe { libc::sethostname(bytes.as_ptr().cast(), bytes.len()) }).map(drop)
}
