//! Safe wrappers over system calls, one file for each kind of kernel object.
//!
//! All `unsafe` of the project is here. A wrapper takes borrowed descriptors and typed arguments, makes one
//! call (or one that has no meaning alone, such as reading a control message) and returns the kernel's
//! answer. This module decides nothing, logs nothing and keeps no state; it never retries except on EINTR,
//! and it never holds a descriptor longer than the call.
//!
//! ```text
//!   process   clone · exec · pid · pidfd · process · signal · credential · limit · seccomp
//!   files     descriptor · path · regular · hole · inode_flag · memfd · fdpass · memory · tty
//!   place     namespace · mount · proc
//! ```
//!
//! Functions that run between clone3 and execve allocate nothing and take no lock, with one exception: nix
//! copies a byte-slice path of more than 1 KiB to the heap. The shim has one thread, so the heap of its
//! child is whole and this is safe.

#![allow(
    unsafe_code,
    reason = "this module is the fence: every other one is checked to have none"
)]

pub mod bpf;
pub mod clone;
pub mod credential;
pub mod descriptor;
pub mod exec;
pub mod fdpass;
pub mod hole;
pub mod inode_flag;
pub mod limit;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod path;
pub mod pid;
pub mod pidfd;
pub mod proc;
pub mod process;
pub mod regular;
pub mod seccomp;
pub mod signal;
pub mod tty;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Turns the result of a system call into a value or the error in errno(3).
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    Errno::result(result).map_err(io::Error::from)
}

/// Takes the descriptor that a system call has just returned.
fn take_descriptor(result: libc::c_long) -> nix::Result<OwnedFd> {
    let number = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for the caller, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The error number of an I/O error; EIO for one that no system call made.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
