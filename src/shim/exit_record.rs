//! Exits on disk: what a new daemon finds when this process is gone as well.
//!
//! ```text
//!   start ──▶ exit.ID, empty, with room reserved ──▶ end ──▶ written in place
//! ```
//!
//! A disk that is full when a container ends has room for its exit. Until that is written the file is empty, which
//! is no exit.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};

use holdfast_kernel::fault;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::{descriptor, path};
use holdfast_wire::{self as wire, Event};

/// Bytes that are enough for any exit.
const RESERVED_BYTES: i64 = 256;

/// Makes the file `exit.ID` in the pod's state directory with room for an exit. A file system that cannot reserve any
/// makes do without.
///
/// # Errors
/// Those of open(2) and fallocate(2).
pub(super) fn reserve(directory: BorrowedFd<'_>, container: ContainerId) -> io::Result<()> {
    let _step = fault::step("shim.reserve-exit")?;
    let file = open(directory, container)?;
    match fallocate(
        file.as_fd(),
        FallocateFlags::FALLOC_FL_KEEP_SIZE,
        0,
        RESERVED_BYTES,
    ) {
        Err(Errno::EOPNOTSUPP) => Ok(()),
        reserved => Ok(reserved?),
    }
}

/// Writes an exit event as the file `exit.ID`. One write(2) within a page: nobody sees a part of it, also when this
/// process is killed meanwhile.
///
/// # Errors
/// Those of open(2) and write(2).
pub(super) fn write(
    directory: BorrowedFd<'_>,
    container: ContainerId,
    event: &Event,
) -> io::Result<()> {
    let content = wire::encode_exit(event).map_err(|_| io::ErrorKind::InvalidData)?;
    let _step = fault::step("shim.write-exit")?;
    let file = open(directory, container)?;
    match descriptor::write(file.as_fd(), &content)? {
        written if written == content.len() => Ok(()),
        _ => Err(io::ErrorKind::StorageFull.into()),
    }
}

/// Not truncated: that would give the room back.
fn open(directory: BorrowedFd<'_>, container: ContainerId) -> io::Result<OwnedFd> {
    let name = CString::new(format!("exit.{container}"))?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
    Ok(path::open_at(directory, name.as_c_str(), flags)?)
}
