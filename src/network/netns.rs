//! Pins network namespaces under names that `ip netns` and CNI plugins understand.
//!
//! A pin is a bind mount of the namespace over an empty file. It is the only host mount of a pod.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::fstat;

use holdfast_kernel::fault;

/// Where `ip netns` keeps namespaces (ip-netns(8)).
pub const DEFAULT_DIR: &str = "/run/netns";
/// The longest name of a file, NAME_MAX.
const NAME_LIMIT: usize = 255;
/// How many pins may lie over each other; more than one means that somebody else mounts there.
const STACK_LIMIT: usize = 16;

/// The name of a pinned namespace: one file name of letters, digits, `.`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsName(String);

/// A failed operation on a pin.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The name cannot be a file name.
    #[error("network namespace name `{0}` must be 1 to 255 letters, digits, `.`, `_` or `-`")]
    Name(String),
    /// A file operation or a mount failed.
    #[error("cannot {operation} {}", path.display())]
    Kernel {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The pin or its directory.
        path: PathBuf,
        /// The cause of the failure.
        #[source]
        source: io::Error,
    },
}

impl NetnsName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NetnsError::Name`].
    pub fn new(name: &str) -> Result<NetnsName, NetnsError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty()
            || name.len() > NAME_LIMIT
            || name.starts_with('.')
            || !name.bytes().all(plain)
        {
            return Err(NetnsError::Name(name.chars().take(256).collect()));
        }
        Ok(NetnsName(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetnsName({})", self.0)
    }
}

/// Binds an open namespace to `dir/name` and returns that path. A pin of the same namespace is left as it is,
/// one of another namespace is replaced: it belongs to a pod that died with its daemon.
///
/// # Errors
/// [`NetnsError::Kernel`]; nothing is left behind then.
pub fn pin(dir: &Path, name: &NetnsName, netns: BorrowedFd<'_>) -> Result<PathBuf, NetnsError> {
    let path = dir.join(name.as_str());
    if is_pinned(&path, netns) {
        return Ok(path);
    }
    unpin(dir, name)?;
    let failed = |operation, source: io::Error| NetnsError::Kernel {
        operation,
        path: path.clone(),
        source,
    };
    let _step = fault::step("netns.pin").map_err(|errno| failed("create", errno.into()))?;
    std::fs::create_dir_all(dir).map_err(|error| failed("create the directory of", error))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&path)
        .map_err(|error| failed("create", error))?;
    // The kernel follows the link to the very descriptor, whatever its name.
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    let _bind = fault::mark("netns.bind");
    let bound = mount(
        Some(source.as_str()),
        &path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    );
    bound.map_err(|errno| {
        // The bind failed, so the file is empty and ours; its name is free again for the next attempt.
        let _ = std::fs::remove_file(&path);
        failed("bind a network namespace to", errno.into())
    })?;
    Ok(path)
}

/// Removes a pin; a missing one is success. Processes inside the namespace keep it alive.
///
/// # Errors
/// [`NetnsError::Kernel`].
pub fn unpin(dir: &Path, name: &NetnsName) -> Result<(), NetnsError> {
    let path = dir.join(name.as_str());
    let failed = |operation, source: io::Error| NetnsError::Kernel {
        operation,
        path: path.clone(),
        source,
    };
    for _ in 0..STACK_LIMIT {
        let _step = fault::step("netns.unmount").map_err(|e| failed("unmount", e.into()))?;
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point (any more), or nothing there.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(failed("unmount", errno.into())),
        }
    }
    let _step = fault::step("netns.unpin").map_err(|errno| failed("remove", errno.into()))?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", error)),
        _ => Ok(()),
    }
}

/// Opens a pinned namespace; None when there is no such pin.
///
/// # Errors
/// [`NetnsError::Kernel`].
pub fn open(dir: &Path, name: &NetnsName) -> Result<Option<File>, NetnsError> {
    let path = dir.join(name.as_str());
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path);
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NetnsError::Kernel {
            operation: "open",
            path,
            source,
        }),
    }
}

/// The names in `dir` that begin with `prefix`; none when the directory is missing.
///
/// # Errors
/// [`NetnsError::Kernel`].
pub fn list(dir: &Path, prefix: &str) -> Result<Vec<NetnsName>, NetnsError> {
    let failed = |source| NetnsError::Kernel {
        operation: "list",
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.starts_with(prefix))
            && let Ok(name) = NetnsName::new(name)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A namespace is identified by the device and inode of its nsfs file (namespaces(7)).
fn is_pinned(path: &Path, netns: impl AsFd) -> bool {
    match (std::fs::symlink_metadata(path), fstat(netns)) {
        (Ok(pin), Ok(netns)) => (pin.dev(), pin.ino()) == (netns.st_dev, netns.st_ino),
        _ => false,
    }
}
