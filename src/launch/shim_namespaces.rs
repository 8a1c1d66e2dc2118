//! The namespaces between which launches move.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;

use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::path;

/// The shim's own namespaces, opened while it is in the host's.
#[derive(Debug)]
pub struct ShimNamespaces {
    /// The host's mount namespace.
    pub(super) host_mounts: OwnedFd,
    /// The pid namespace in which the shim runs.
    pub(super) pids: OwnedFd,
    /// The host's network namespace.
    network: OwnedFd,
    /// The small mount namespace, once the shim lives there.
    pub(super) small_mounts: Option<OwnedFd>,
}

impl ShimNamespaces {
    /// Opens the present namespaces.
    ///
    /// # Errors
    /// Those of open(2) on /proc/self/ns.
    pub fn open() -> nix::Result<Self> {
        let open = |name: &std::ffi::CStr| path::open(name, OFlag::O_RDONLY);
        Ok(Self {
            host_mounts: open(c"/proc/self/ns/mnt")?,
            pids: open(c"/proc/self/ns/pid")?,
            network: open(c"/proc/self/ns/net")?,
            small_mounts: None,
        })
    }

    /// Moves the shim to a small mount namespace, where it stays.
    ///
    /// # Errors
    /// Those of setns(2).
    pub fn enter_small_mounts(&mut self, small_mounts: OwnedFd) -> nix::Result<()> {
        namespace::join(small_mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
        self.small_mounts = Some(small_mounts);
        Ok(())
    }

    /// Makes a network namespace, does something inside it and comes back.
    ///
    /// # Errors
    /// Those of unshare(2), of setns(2) and of `action`.
    pub fn new_network<T>(&self, action: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
        namespace::unshare(CloneFlags::CLONE_NEWNET)?;
        let result = action();
        namespace::join(self.network.as_fd(), CloneFlags::CLONE_NEWNET)?;
        result
    }

    /// Does something inside a network namespace and comes back.
    ///
    /// # Errors
    /// Those of setns(2) and of `action`.
    pub fn inside_network<T>(
        &self,
        network: &OwnedFd,
        action: impl FnOnce() -> nix::Result<T>,
    ) -> nix::Result<T> {
        namespace::join(network.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let result = action();
        namespace::join(self.network.as_fd(), CloneFlags::CLONE_NEWNET)?;
        result
    }
}
