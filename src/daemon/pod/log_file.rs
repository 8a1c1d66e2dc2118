//! Opening a container's log.
//!
//! The directory is what the kubelet asked for and trusts. Below it nothing is followed: a pod that can
//! write there must not make the daemon append to another file.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::error::{HostPathError, PodError};
use crate::spec::{ContainerConfig, PodConfig};

/// Where a container's log is, unless logging is off: both the directory and the path must be given.
pub(super) fn path(pod: &PodConfig, container: &ContainerConfig) -> Option<PathBuf> {
    let directory = pod.log_directory.as_ref()?;
    if container.log_path.is_empty() {
        return None;
    }
    Some(directory.as_path().join(&container.log_path))
}

/// Opens the log for appending and makes it, with the directories above, when it is missing.
///
/// # Errors
/// [`HostPathError::Log`] names the path.
pub(super) fn open_log(
    pod: &PodConfig,
    container: &ContainerConfig,
) -> Result<Option<OwnedFd>, PodError> {
    let (Some(path), Some(directory)) = (path(pod, container), &pod.log_directory) else {
        return Ok(None);
    };
    open_below(directory.as_path(), Path::new(&container.log_path))
        .map(Some)
        .map_err(|source| PodError::HostPath(HostPathError::Log { path, source }))
}

fn open_below(directory: &Path, relative: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut parent = open(directory, flags, Mode::empty())?;
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "log_path leaves the log directory",
            ));
        };
        if components.peek().is_none() {
            let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
            let how = beneath(flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY);
            let how = how.mode(Mode::from_bits_truncate(0o640));
            return Ok(openat2(parent.as_fd(), name, how)?);
        }
        match mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        parent = openat2(parent.as_fd(), name, beneath(flags))?;
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "log_path is empty",
    ))
}

fn beneath(flags: OFlag) -> OpenHow {
    OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directories_are_made_and_links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("a/b");
        open_below(&logs, Path::new("c/d.log")).unwrap();
        assert!(logs.join("c/d.log").is_file());
        std::os::unix::fs::symlink("/etc/passwd", logs.join("link.log")).unwrap();
        let error = open_below(&logs, Path::new("link.log")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        std::os::unix::fs::symlink("/etc", logs.join("etc")).unwrap();
        assert!(open_below(&logs, Path::new("etc/x.log")).is_err());
        assert!(open_below(&logs, Path::new("../../x.log")).is_err());
        assert!(open_below(&logs, Path::new("/etc/x.log")).is_err());
    }
}
