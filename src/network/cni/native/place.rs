//! The network namespaces that a thread works in.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::SockProtocol;

use super::error::NativeError;
use crate::netlink::NetlinkSocket;
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
