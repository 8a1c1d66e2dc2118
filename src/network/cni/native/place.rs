//! The network namespaces that a thread works in.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::socket::SockProtocol;

use super::error::NativeError;
use super::message;
use crate::netlink::NetlinkSocket;
use crate::sysctl;
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

/// Sets a value below /proc/sys/net in the namespace of the calling thread, unless it has that value. The file is opened
/// once, because its name is looked up among those of all network namespaces.
///
/// # Errors
/// [`NativeError::File`]; a file that does not exist is one, because its protocol may be turned off.
pub(super) fn set(path: &str, value: &str) -> Result<(), NativeError> {
    let set = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let (mut file, writable) = match options.read(true).write(true).open(path) {
            Ok(file) => (file, Ok(())),
            // Where /proc/sys is read-only, what is set already is enough.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                (File::open(path)?, Err(error))
            }
            Err(error) => return Err(error),
        };
        let mut found = String::new();
        file.read_to_string(&mut found)?;
        if found.trim() == value {
            return Ok(());
        }
        writable?;
        let _step = fault::step("sysctl.write")?;
        file.write_all_at(value.as_bytes(), 0)
    };
    set().map_err(NativeError::file("set", path))
}

/// Has the host forward packets of a family, unless it does.
///
/// # Errors
/// [`NativeError::File`].
pub(super) fn forward(host: &mut Routes, family: i32) -> Result<(), NativeError> {
    if message::forwards(host, family) == Some(true) {
        return Ok(());
    }
    let path = match family {
        libc::AF_INET => sysctl::FORWARD_V4,
        _ => sysctl::FORWARD_V6,
    };
    sysctl::switch_on(path).map_err(NativeError::file("set", path))
}
