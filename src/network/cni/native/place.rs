//! The network namespaces that a thread works in.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::SockProtocol;

use super::error::NativeError;
use crate::netlink::NetlinkSocket;
use holdfast_kernel::fault;
use holdfast_kernel::sys::namespace::{self, CloneFlags};

/// A socket for links, addresses and routes of one namespace.
pub(super) type Routes = NetlinkSocket<OwnedFd>;

/// Opens a socket in the namespace in which the thread is now.
///
/// # Errors
/// [`NativeError::Netlink`].
pub(super) fn socket() -> Result<Routes, NativeError> {
    let socket = NetlinkSocket::open(SockProtocol::NetlinkRoute)?;
    socket.filter_dumps()?;
    Ok(socket)
}

/// Opens the namespace of a pod.
///
/// # Errors
/// [`NativeError::File`].
pub(super) fn open(netns: &Path) -> Result<File, NativeError> {
    File::open(netns).map_err(NativeError::file("open network namespace", netns))
}

/// Moves the calling thread into a namespace for good, and opens a socket there. The thread must be one that ends with
/// its work.
///
/// # Errors
/// [`NativeError::File`], [`NativeError::Netlink`].
pub(super) fn enter(namespace: &File, netns: &Path) -> Result<Routes, NativeError> {
    namespace::join(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
        .map_err(NativeError::file("join network namespace", netns))?;
    socket()
}
/// Sets a value below /proc/sys/net in the namespace of the calling thread, unless it has that value.
///
/// # Errors
/// [`NativeError::File`]; a file that does not exist is one, because its protocol may be turned off.
pub(super) fn set(path: &str, value: &str) -> Result<(), NativeError> {
    let write = || -> io::Result<()> {
        if std::fs::read_to_string(path)?.trim() == value {
            return Ok(());
        }
        let _step = fault::step("sysctl.write")?;
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(value.as_bytes())
    };
    write().map_err(NativeError::file("set", path))
}
