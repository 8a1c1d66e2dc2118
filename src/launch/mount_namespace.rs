//! The small mount namespace in which shims live: procfs, the store and an empty directory.
//!
//! A new mount namespace is a copy of its maker's. Made from this one of four mounts, a container's costs
//! the same however many pods and volumes the host has.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::user_namespace;
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::{fdpass, path};
use holdfast_wire::{Greeting, Protocols};

/// Why the small mount namespace could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MountNamespaceError {
    /// A step of the making failed.
    #[error("cannot make the small mount namespace: cannot {0}")]
    Step(&'static str, #[source] Errno),
    /// The descriptor could not be sent.
    #[error("cannot send the small mount namespace to the daemon")]
    Send(#[source] std::io::Error),
}

/// Moves this process into a new small mount namespace with the daemon's root directory at /store and sends
/// a descriptor of it over `socket`, with a [`Greeting`]. The process should then exit; the namespace lives as long as somebody holds it.
///
/// # Errors
/// The step that failed.
pub fn serve_mount_namespace(
    store: &CStr,
    socket: BorrowedFd<'_>,
) -> Result<(), MountNamespaceError> {
    let step = |name: &'static str| move |errno: Errno| MountNamespaceError::Step(name, errno);
    namespace::unshare(CloneFlags::CLONE_NEWNS).map_err(step("unshare the mount namespace"))?;
    mount::make_all_private().map_err(step("make all mounts private"))?;
    let place = mount::clone_tree(AT_FDCWD, store, Depth::Recursive)
        .map_err(step("clone the store's tree"))?;
    mount::set_propagation(place.as_fd(), mount::Propagation::Private, Depth::Recursive)
        .map_err(step("make the store private"))?;
    let root = new(c"tmpfs", Some((c"mode", c"0755"))).map_err(step("mount a tmpfs"))?;
    let procfs = new(c"proc", None).map_err(step("mount procfs"))?;
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let old = path::open(store, directory).map_err(step("open the store"))?;
    mount::attach(root.as_fd(), old.as_fd()).map_err(step("attach the tmpfs"))?;
    let fill = |name: &CStr, tree: Option<BorrowedFd<'_>>| {
        path::make_directory(root.as_fd(), name, 0o755)?;
        let place = path::open_at(root.as_fd(), name, directory)?;
        tree.map_or(Ok(()), |tree| mount::attach(tree, place.as_fd()))
    };
    fill(c"proc", Some(procfs.as_fd())).map_err(step("attach procfs"))?;
    fill(c"store", Some(place.as_fd())).map_err(step("attach the store"))?;
    fill(c"rootfs", None).map_err(step("make the directory for roots"))?;
    mount::set_attributes(root.as_fd(), libc::MOUNT_ATTR_RDONLY, Depth::Single)
        .map_err(step("make the root read-only"))?;
    path::enter(root.as_fd()).map_err(step("enter the new root"))?;
    mount::pivot_here().map_err(step("pivot to the new root"))?;
    let made = path::open(c"/proc/self/ns/mnt", OFlag::O_RDONLY)
        .map_err(step("open the new mount namespace"))?;
    let greeting = Greeting {
        protocols: Protocols::OWN,
        user_namespace_problem: user_namespace::try_out().err().unwrap_or_default(),
    };
    fdpass::send_packet(socket, &greeting.encode(), &[made.as_fd()])
        .map_err(MountNamespaceError::Send)
}

fn new(fs_type: &CStr, option: Option<(&CStr, &CStr)>) -> nix::Result<std::os::fd::OwnedFd> {
    let file_system = NewFileSystem::open(fs_type)?;
    if let Some((key, value)) = option {
        file_system.set(key, value)?;
    }
    file_system.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)
}
