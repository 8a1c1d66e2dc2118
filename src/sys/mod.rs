//! The kernel: one file for each of its nouns, safe wrappers over its calls.
//!
//! All `unsafe` of the project is here. A wrapper takes borrowed descriptors and typed arguments, makes one
//! call (or one that has no meaning alone, such as reading a control message) and returns the kernel's
//! answer. This module decides nothing, logs nothing and keeps no state; it never retries except on EINTR,
//! and it never holds a descriptor longer than the call.
//!
//! ```text
//!   process   clone · exec · pidfd · signal · credential · limit · seccomp
//!   files     descriptor · path · memfd · fdpass · log_io · poll · tty
//!   place     namespace · mount · proc
//! ```
//!
//! Functions that run between clone3 and execve allocate nothing and take no lock; their headers say so.

#![allow(
    unsafe_code,
    reason = "this module is the fence: every other one is checked to have none"
)]

pub mod fdpass;
pub mod memfd;
pub mod netlink;
pub mod pidfd;
pub mod proc;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Turns the result of a system call into a value or the error in errno(3).
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Takes the descriptor that a system call has just returned.
fn take_descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for the caller, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
