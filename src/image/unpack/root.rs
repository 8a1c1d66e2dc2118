//! Finds and makes the parent directories of entries, beneath the layer's root only.

use super::{Path, UnpackError, to_path};
use crate::disk::{Dir, FileName};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// The most symbolic links in one name, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// The most directories held open while a name is walked by hand; a name is at most 4 KiB.
const DEPTH_MAX: usize = 2048;

/// The directory a layer is extracted into.
pub(super) struct Root {
    dir: Rc<OwnedFd>,
    /// The parent of the last entry: archives list a directory's entries one after another.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// What stood at a name before it was cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// Nothing, or a file of this layer.
    Plain,
    /// A whiteout of this layer: what comes in its place must hide the lower layers too.
    Whiteout,
}

impl Root {
    pub fn new(dir: &Dir) -> Result<Self, UnpackError> {
        let failed = |source| UnpackError::Create {
            operation: "prepare the directory",
            path: dir.path().to_owned(),
            source,
        };
        let fd = dir.as_fd().try_clone_to_owned().map_err(failed)?;
        // A layer need not say what its root is like; the umask of the daemon is not it.
        fchmod(&fd, Mode::from_bits_truncate(0o755)).map_err(|e| failed(e.into()))?;
        Ok(Self {
            dir: Rc::new(fd),
            last: None,
        })
    }

    /// The root itself.
    pub fn top(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.dir)
    }

    /// The directory an entry lies in, made when missing.
    pub fn parent_of(&mut self, path: &Path) -> Result<Rc<OwnedFd>, UnpackError> {
        let parent = path.parent();
        if parent.is_empty() {
            return Ok(self.top());
        }
        if let Some((known, fd)) = &self.last
            && known == parent
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.open(parent) {
            Ok(fd) => Rc::new(fd),
            Err(Errno::ENOENT) => self.make(parent)?,
            Err(e) => return Err(path.error("open the directory of")(e)),
        };
        self.last = Some((parent.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// The directory an existing entry lies in.
    pub fn existing_parent_of(&self, path: &Path) -> Result<Rc<OwnedFd>, Errno> {
        match path.parent() {
            b"" => Ok(self.top()),
            parent => self.open(parent).map(Rc::new),
        }
    }

    /// Remembers the directory made last: its entries follow.
    pub fn entered(&mut self, path: &Path, fd: OwnedFd) {
        self.last = Some((path.bytes.clone(), Rc::new(fd)));
    }

    /// Deletes what stands at an entry's name, a directory with all that is in it.
    pub fn clear(&mut self, parent: &OwnedFd, path: &Path) -> Result<Cleared, UnpackError> {
        let name = OsStr::from_bytes(path.name().unwrap_or_default());
        let stat = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(Cleared::Plain),
            Err(e) => return Err(path.error("inspect")(e)),
        };
        // A name that led through what is deleted leads elsewhere afterwards.
        self.last = None;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            self.remove_tree(parent, name, path)?;
            return Ok(Cleared::Plain);
        }
        unlinkat(parent, name, UnlinkatFlags::NoRemoveDir).map_err(path.error("replace"))?;
        let whiteout = kind == SFlag::S_IFCHR && stat.st_rdev == 0;
        Ok(if whiteout {
            Cleared::Whiteout
        } else {
            Cleared::Plain
        })
    }

    /// Sets the modification time of a directory, unless something else took its place.
    pub fn set_directory_time(&self, path: &[u8], mtime: &TimeSpec) -> Result<(), UnpackError> {
        let how = how(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW);
        let name = if path.is_empty() {
            OsStr::new(".")
        } else {
            OsStr::from_bytes(path)
        };
        match openat2(&self.dir, name, how) {
            Ok(fd) => futimens(fd, mtime, mtime).map_err(|e| failed("set the times of", path, e)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            Err(e) => Err(failed("open", path, e)),
        }
    }

    fn remove_tree(&self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
        let fd = parent
            .try_clone()
            .map_err(path.io_error("open the directory of"))?;
        let name = FileName::new(name).map_err(|_| path.field("name"))?;
        Dir::from_fd(fd, to_path(path.parent()))
            .remove_tree(&name)
            .map_err(|source| UnpackError::Create {
                operation: "replace the directory",
                path: path.to_path(),
                source: std::io::Error::other(source),
            })
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        openat2(
            &self.dir,
            OsStr::from_bytes(path),
            how(OFlag::O_PATH | OFlag::O_DIRECTORY),
        )
    }

    /// Walks to a directory, making what is missing; links are followed beneath the root, and the
    /// missing target of a link is made too.
    fn make(&self, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        let mut way: VecDeque<OsString> = split(path).collect();
        let mut stack = vec![self.top()];
        let mut links = 0;
        while let Some(name) = way.pop_front() {
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let here = Rc::clone(stack.last().unwrap_or(&self.dir));
            match step(&here, &name) {
                Ok(Step::Directory(fd)) => stack.push(Rc::new(fd)),
                Ok(Step::Link(target)) => {
                    links += 1;
                    if target.as_bytes().starts_with(b"/") {
                        stack.truncate(1);
                    }
                    for component in split(target.as_bytes()).rev() {
                        way.push_front(component);
                    }
                }
                Ok(Step::Missing) => {
                    let made = make_directory(&here, &name)
                        .map_err(|e| failed("create the directory", path, e))?;
                    stack.push(Rc::new(made));
                }
                Err(e) => return Err(failed("open the directory", path, e)),
            }
            if links > LINKS_MAX || stack.len() > DEPTH_MAX {
                return Err(failed("open the directory", path, Errno::ELOOP));
            }
        }
        Ok(stack.pop().unwrap_or_else(|| self.top()))
    }
}

enum Step {
    Directory(OwnedFd),
    Link(OsString),
    Missing,
}

fn step(here: &OwnedFd, name: &OsStr) -> Result<Step, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    match openat2(here, name, how(flags)) {
        Ok(fd) => Ok(Step::Directory(fd)),
        Err(Errno::ENOENT) => Ok(Step::Missing),
        // Without O_DIRECTORY's check the kernel says ELOOP for a link, with it ENOTDIR.
        Err(e @ (Errno::ENOTDIR | Errno::ELOOP)) => {
            readlinkat(here, name).map(Step::Link).map_err(|_| e)
        }
        Err(e) => Err(e),
    }
}

fn make_directory(here: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    mkdirat(here, name, Mode::from_bits_truncate(0o755))?;
    let fd = openat2(
        here,
        name,
        how(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW),
    )?;
    // The umask of the daemon is not the image's business.
    fchmod(&fd, Mode::from_bits_truncate(0o755))?;
    Ok(fd)
}

fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.split(|b| *b == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
        .map(|component| OsStr::from_bytes(component).to_owned())
}

fn how(flags: OFlag) -> OpenHow {
    OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn failed(operation: &'static str, path: &[u8], errno: Errno) -> UnpackError {
    UnpackError::Create {
        operation,
        path: to_path(path),
        source: errno.into(),
    }
}
