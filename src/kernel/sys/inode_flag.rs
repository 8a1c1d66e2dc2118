//! Flags of inodes: ioctl_iflags(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_long};
use nix::errno::Errno;

/// `FS_IOC_GETFLAGS`: declared with a long, though the kernel reads and writes an int.
const GET: libc::Ioctl = nix::request_code_read!(b'f', 1, size_of::<c_long>());

/// `FS_IOC_SETFLAGS`, which takes a pointer likewise.
const SET: libc::Ioctl = nix::request_code_write!(b'f', 2, size_of::<c_long>());

/// The flag `FS_TOPDIR_FL` of linux/fs.h.
const TOP_DIRECTORY: c_int = 0x0002_0000;

/// Tells the file system that the directories made in this one have nothing to do with each other, so that it
/// places them apart.
///
/// # Errors
/// ENOTTY or EOPNOTSUPP where the file system knows no such flag: ext2, ext3 and ext4 do.
pub fn spread_directories(directory: BorrowedFd<'_>) -> nix::Result<()> {
    let mut flags: c_int = 0;
    // SAFETY: the kernel writes an int, and `flags` is one that lives until the call returns.
    Errno::result(unsafe { libc::ioctl(directory.as_raw_fd(), GET, &raw mut flags) })?;
    flags |= TOP_DIRECTORY;
    // SAFETY: the kernel reads an int, and `flags` is one that lives until the call returns.
    Errno::result(unsafe { libc::ioctl(directory.as_raw_fd(), SET, &raw const flags) }).map(drop)
}
