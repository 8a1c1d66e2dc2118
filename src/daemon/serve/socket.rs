//! The socket that the services are on.
//!
//! A client that can connect can become root on this machine. So only root can connect, or one configured group.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, chown};
use tokio::net::UnixListener;

/// Why the daemon cannot listen on its socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// A system call on the socket's path failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The operation, as an infinitive.
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another process serves on this socket.
    #[error("another process serves on {}; stop it or configure another socket", .0.display())]
    InUse(PathBuf),
    /// The path exists and is not a socket.
    #[error("{} exists and is not a socket; remove it or configure another socket", .0.display())]
    Occupied(PathBuf),
    /// The configured group does not exist.
    #[error(
        "configuration: socket_group: invalid value {0:?}: this machine has no such group; create it or name another group"
    )]
    Group(String),
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io {
        operation,
        path,
        source,
    }
}

/// Listens at `path`. A socket that an earlier daemon left is replaced when nobody listens on it.
pub(super) fn listen(path: &Path, group: Option<&str>) -> Result<UnixListener, SocketError> {
    let group = group.map(group_id).transpose()?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(io_error("make the directory", parent))?;
    }
    clear(path)?;
    let listener = UnixListener::bind(path).map_err(io_error("listen on", path))?;
    let mode = match group {
        None => 0o600,
        Some(gid) => {
            share(parent, gid, 0o710)?;
            share(path, gid, 0o660)?;
            0o660
        }
    };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(io_error("set the mode of", path))?;
    Ok(listener)
}

fn group_id(name: &str) -> Result<Gid, SocketError> {
    let unknown = || SocketError::Group(name.to_owned());
    Group::from_name(name)
        .ok()
        .flatten()
        .map(|group| group.gid)
        .ok_or_else(unknown)
}

/// Gives a group access. A directory that is open to more than the group already stays as it is.
fn share(path: &Path, gid: Gid, mode: u32) -> Result<(), SocketError> {
    let found = fs::metadata(path).map_err(io_error("look at", path))?;
    if found.is_dir() && found.permissions().mode() & 0o077 != 0 {
        return Ok(());
    }
    let owned = chown(path, None, Some(gid)).map_err(io::Error::from);
    owned.map_err(io_error("set the group of", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(io_error("set the mode of", path))
}

/// Removes the socket of an earlier daemon, if nobody listens on it.
fn clear(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at", path)(error)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::Occupied(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io_error("remove the stale socket", path))
        }
        Err(error) => Err(io_error("try", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_of_an_earlier_daemon_is_replaced_unless_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run").join("holdfast.sock");
        let first = listen(&path, None).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let refused = listen(&path, None).unwrap_err();
        assert!(matches!(refused, SocketError::InUse(_)), "{refused}");
        drop(first);
        assert!(path.exists(), "a daemon that is killed leaves its socket");
        listen(&path, None).unwrap();
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        fs::create_dir(&path).unwrap();
        let refused = listen(&path, None).unwrap_err();
        assert!(matches!(refused, SocketError::Occupied(_)), "{refused}");
        assert!(path.is_dir());
    }

    #[test]
    fn an_unknown_group_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run").join("holdfast.sock");
        let refused = listen(&path, Some("no-such-group")).unwrap_err();
        assert!(refused.to_string().contains("\"no-such-group\""));
        assert!(!path.parent().unwrap().exists());
    }
}
