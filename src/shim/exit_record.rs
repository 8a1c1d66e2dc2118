//! Exits on disk: what a new daemon finds when this process is gone as well.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{OFlag, renameat};

use crate::fault;
use crate::id::ContainerId;
use crate::sys::{descriptor, path};
use crate::wire::{self, Event};

/// Writes an exit event as the file `exit.ID` in the pod's state directory, complete or not at all.
///
/// # Errors
/// Those of open(2), write(2) and rename(2).
pub(super) fn write(
    directory: BorrowedFd<'_>,
    container: ContainerId,
    event: &Event,
) -> io::Result<()> {
    let content = wire::encode_exit(event).map_err(|_| io::ErrorKind::InvalidData)?;
    let name = CString::new(format!("exit.{container}"))?;
    let _step = fault::step("shim.write-exit")?;
    let temporary = CString::new(format!(".exit.{container}.new"))?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
    let file = path::open_at(directory, temporary.as_c_str(), flags)?;
    let written = descriptor::write(file.as_fd(), &content)?;
    if written != content.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let _rename = fault::step("shim.rename-exit")?;
    Ok(renameat(
        directory,
        temporary.as_c_str(),
        directory,
        name.as_c_str(),
    )?)
}
