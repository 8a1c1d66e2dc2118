//! Deletion, only ever beneath a directory descriptor.

use super::dir::{kind_at, open_directory, open_listing};
use super::{Dir, DirError, EntryKind, FileName};
use holdfast_kernel::fault;
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Directories held open at once. A deeper one is moved to the top of the tree being deleted and
/// emptied from there, so that the depth of a hostile tree costs no descriptors.
const OPEN_LEVELS: usize = 32;

/// A directory being emptied.
struct Level {
    /// The name of the directory in the level above.
    name: OsString,
    fd: OwnedFd,
    listing: nix::dir::OwningIter,
}

/// The next action after an entry was looked at.
enum Step {
    Descend(Level),
    Continue,
    LevelDone,
}

impl Dir {
    /// Deletes a file; one that does not exist is deleted already. Refuses a directory.
    pub fn remove_file(&self, name: &FileName) -> Result<(), DirError> {
        let removed = fault::step("disk.remove-file")
            .and_then(|_step| unlinkat(self, name.as_os_str(), UnlinkatFlags::NoRemoveDir));
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.error("delete", name, e)),
        }
    }

    /// Deletes `name` and everything beneath it; what does not exist is deleted already.
    ///
    /// Symbolic links are deleted, never followed, and a mount point anywhere beneath ends the
    /// deletion with [`DirError::MountPoint`]. A repeated call continues where the last one ended.
    pub fn remove_tree(&self, name: &FileName) -> Result<(), DirError> {
        let top = match kind_at(self.as_fd(), name.as_os_str()) {
            Ok(EntryKind::Directory) => match self.open_level(self.as_fd(), name.as_os_str())? {
                Some(level) => level,
                None => return Ok(()),
            },
            Ok(_) => return self.remove_file(name),
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(self.error("inspect", name, e)),
        };
        let _step = fault::step("disk.remove-tree").map_err(|e| self.error("delete", name, e))?;
        loop {
            let top_again = Level {
                name: top.name.clone(),
                fd: top
                    .fd
                    .try_clone()
                    .map_err(|e| self.own_error("duplicate descriptor of", e))?,
                listing: open_listing(top.fd.as_fd()).map_err(|e| self.error("list", name, e))?,
            };
            let moved = self.empty(top_again)?;
            if moved == 0 {
                break;
            }
        }
        let _last = fault::mark("disk.remove-emptied");
        self.remove_directory(self.as_fd(), &top.name)
    }

    /// Empties the tree at `top`, moving directories that lie too deep to `top` itself, and says
    /// how many were moved.
    fn empty(&self, top: Level) -> Result<usize, DirError> {
        let mut moved = 0;
        let mut above = Vec::new();
        let mut level = top;
        loop {
            match self.step(&mut level)? {
                Step::Continue => {}
                Step::Descend(child) if above.len() + 1 >= OPEN_LEVELS => {
                    let target = above.first().unwrap_or(&level);
                    self.move_up(&level, &child, target, moved)?;
                    moved += 1;
                }
                Step::Descend(child) => above.push(std::mem::replace(&mut level, child)),
                Step::LevelDone => {
                    let Some(parent) = above.pop() else {
                        return Ok(moved);
                    };
                    let done = std::mem::replace(&mut level, parent);
                    // A level that was moved up is no longer there and is met again at the top.
                    self.remove_directory(level.fd.as_fd(), &done.name)?;
                }
            }
        }
    }

    /// Deletes the next entry of `level`, or opens it when it is a directory.
    fn step(&self, level: &mut Level) -> Result<Step, DirError> {
        let Some(item) = level.listing.next() else {
            return Ok(Step::LevelDone);
        };
        let item = item.map_err(|e| self.tree_error("list", &level.name, e))?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name == "." || name == ".." {
            return Ok(Step::Continue);
        }
        if item.file_type() != Some(nix::dir::Type::Directory) {
            match unlinkat(&level.fd, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(Step::Continue),
                Err(Errno::EISDIR) => {}
                Err(e) => return Err(self.tree_error("delete", name, e)),
            }
        }
        Ok(self
            .open_level(level.fd.as_fd(), name)?
            .map_or(Step::Continue, Step::Descend))
    }

    fn open_level(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Level>, DirError> {
        let fd = match open_directory(parent, name) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::EXDEV) => {
                return Err(DirError::MountPoint {
                    path: self.tree_path(name),
                });
            }
            Err(e) => return Err(self.tree_error("open directory", name, e)),
        };
        let listing = open_listing(fd.as_fd()).map_err(|e| self.tree_error("list", name, e))?;
        Ok(Some(Level {
            name: name.to_owned(),
            fd,
            listing,
        }))
    }

    fn move_up(
        &self,
        parent: &Level,
        child: &Level,
        target: &Level,
        number: usize,
    ) -> Result<(), DirError> {
        let mut attempt = number;
        loop {
            let name = format!(".holdfast-deep.{attempt}");
            match renameat(
                &parent.fd,
                child.name.as_os_str(),
                &target.fd,
                name.as_str(),
            ) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                // An interrupted deletion, or the tree itself, has that name; take another one.
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => attempt += 1,
                Err(e) => return Err(self.tree_error("move up", &child.name, e)),
            }
        }
    }

    fn remove_directory(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), DirError> {
        match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.tree_error("delete directory", name, e)),
        }
    }

    fn tree_error(&self, operation: &'static str, name: &OsStr, errno: Errno) -> DirError {
        DirError::Io {
            operation,
            path: self.tree_path(name),
            source: errno.into(),
        }
    }

    /// How an entry somewhere beneath this directory is told: its own name, without the way to it.
    fn tree_path(&self, name: &OsStr) -> PathBuf {
        self.path().join("…").join(name)
    }
}
