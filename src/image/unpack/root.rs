//! Finds and makes the parent directories of entries, beneath the layer's root only.
//!
//! A directory that the layer lists is all its own. One that it only implies is what the layers below
//! say: a directory with its owner and mode, a link to go along, or nothing. Only then they are asked for.

use super::error::UnpackError;
use super::path::{Path, to_path};
use crate::metadata::{DEFAULT_ACL, Metadata};
use crate::overlay::{self, Merged, MergedEntry};
use holdfast_disk::{Dir, FileName};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use xattr::FileExt;

/// The most symbolic links in one name, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// The most directories held open while a name is walked by hand; a name is at most 4 KiB.
const DEPTH_MAX: usize = 2048;

/// Gives the directories of the layers below, the top one first; `None` while one of them is not there yet.
pub(crate) type Below<'a> = &'a dyn Fn() -> Option<Vec<File>>;

/// The directory a layer is extracted into.
pub(super) struct Root<'a> {
    dir: Rc<OwnedFd>,
    /// The parent of the last entry: archives list a directory's entries one after another.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    below: Below<'a>,
    /// The layers below, once they were asked for: the result depends on them then.
    lower: Option<Merged>,
    /// The directories that were made without being listed.
    pub implied: Vec<LastTouch>,
}

/// Metadata of a directory that is set after all its entries were made: making an entry changes the directory's time,
/// and the entry would get the default access control list.
#[derive(Debug)]
pub(super) struct LastTouch {
    pub path: Vec<u8>,
    mtime: TimeSpec,
    default_acl: Option<Vec<u8>>,
}

impl LastTouch {
    /// Takes over the metadata of a directory that is set at the end.
    pub(super) fn new(path: &Path, metadata: &mut Metadata) -> Self {
        Self {
            path: path.bytes.clone(),
            mtime: metadata.mtime,
            default_acl: metadata.default_acl.take(),
        }
    }
}

/// The result of a [`LastTouch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// All is set, or something else took the directory's place.
    Whole,
    /// The file system has no access control lists.
    WithoutAcl,
}

/// A directory of the layer, and what the layers below have in its place.
#[derive(Clone)]
pub(super) struct LayerDirectory {
    pub dir: Rc<OwnedFd>,
    pub lower: Merged,
    path: Vec<u8>,
}

/// The kind of entry that was removed from a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// Nothing, or a file of this layer.
    Plain,
    /// A whiteout of this layer: what comes in its place must hide the lower layers too.
    Whiteout,
}

impl<'a> Root<'a> {
    /// Begins to write into `dir`; `below` has the lower layers.
    pub(super) fn new(dir: &Dir, below: Below<'a>) -> Result<Self, UnpackError> {
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
            below,
            lower: None,
            implied: Vec::new(),
        })
    }

    /// Whether the result is another one above other layers.
    pub(super) fn depends(&self) -> bool {
        self.lower.is_some()
    }

    /// The root of the layer itself.
    pub(super) fn top(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.dir)
    }

    /// The directory an entry lies in, made when missing.
    pub(super) fn parent_of(&mut self, path: &Path) -> Result<Rc<OwnedFd>, UnpackError> {
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
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.make(parent)?.dir,
            Err(e) => return Err(path.error("open the directory of")(e)),
        };
        self.last = Some((parent.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// The directory an existing entry lies in.
    pub(super) fn existing_parent_of(&self, path: &Path) -> Result<Rc<OwnedFd>, Errno> {
        match path.parent() {
            b"" => Ok(self.top()),
            parent => self.open(parent).map(Rc::new),
        }
    }

    /// Remembers the directory made last: its entries follow.
    pub(super) fn entered(&mut self, path: &Path, fd: OwnedFd) {
        self.last = Some((path.bytes.clone(), Rc::new(fd)));
    }

    /// Deletes what stands at an entry's name, a directory with all that is in it.
    pub(super) fn clear(&mut self, parent: &OwnedFd, path: &Path) -> Result<Cleared, UnpackError> {
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

    /// Sets what is to be set last on a directory, unless something else took its place.
    pub(super) fn touch(&self, last: &LastTouch) -> Result<Touched, UnpackError> {
        let how = how(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW);
        let path = last.path.as_slice();
        let name = if path.is_empty() {
            OsStr::new(".")
        } else {
            OsStr::from_bytes(path)
        };
        let dir = match openat2(&self.dir, name, how) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(Touched::Whole),
            Err(e) => return Err(failed("open", path, e)),
        };
        let set = |list: &Vec<u8>| match dir.set_xattr(DEFAULT_ACL, list) {
            Ok(()) => Ok(Touched::Whole),
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Touched::WithoutAcl),
            Err(e) => Err(failed(
                "set the default access control list of",
                path,
                errno(e),
            )),
        };
        let touched = last.default_acl.as_ref().map_or(Ok(Touched::Whole), set)?;
        futimens(&dir, &last.mtime, &last.mtime)
            .map_err(|e| failed("set the times of", path, e))?;
        Ok(touched)
    }

    fn remove_tree(&self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
        let fd = parent
            .try_clone()
            .map_err(path.io_error("open the directory of"))?;
        let name = FileName::new(name).map_err(|_| path.broken("has no name"))?;
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

    /// Walks to a directory, making what is missing as the layers below have it; links are followed
    /// beneath the root, and the missing target of a link is made too.
    pub(super) fn make(&mut self, path: &[u8]) -> Result<LayerDirectory, UnpackError> {
        let mut way: VecDeque<OsString> = split(path).collect();
        let mut stack = vec![self.place(path)?];
        let mut links = 0;
        while let Some(name) = way.pop_front() {
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let Some(here) = stack.last() else { break };
            let next = self
                .step(here, &name)
                .map_err(|e| failed("make the directory", path, e))?;
            match next {
                Next::Directory(place) => stack.push(place),
                Next::Link(target) => {
                    links += 1;
                    if target.as_bytes().starts_with(b"/") {
                        stack.truncate(1);
                    }
                    for component in split(target.as_bytes()).rev() {
                        way.push_front(component);
                    }
                }
            }
            if links > LINKS_MAX || stack.len() > DEPTH_MAX {
                return Err(failed("make the directory", path, Errno::ELOOP));
            }
        }
        match stack.pop() {
            Some(place) => Ok(place),
            None => self.place(path),
        }
    }

    /// The root with the layers below; from here on the result depends on them.
    fn place(&mut self, path: &[u8]) -> Result<LayerDirectory, UnpackError> {
        let lower = match &self.lower {
            Some(lower) => Rc::clone(lower),
            None => {
                let unknown = || UnpackError::NeedsLower(to_path(path));
                let asked = (self.below)().ok_or_else(unknown)?;
                let visible = overlay::visible_roots(asked);
                Rc::clone(self.lower.insert(Rc::new(visible)))
            }
        };
        Ok(LayerDirectory {
            dir: self.top(),
            lower,
            path: Vec::new(),
        })
    }

    fn step(&mut self, here: &LayerDirectory, name: &OsStr) -> Result<Next, Errno> {
        let mut path = here.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        let (dir, lower) = match inspect_entry(&here.dir, name)? {
            Step::Link(target) => return Ok(Next::Link(target)),
            Step::Directory(dir) if overlay::is_opaque(&dir) => (dir, Merged::default()),
            Step::Directory(dir) => match overlay::look_up(&here.lower, name)? {
                MergedEntry::Directory(lower) => (dir, lower),
                _ => (dir, Merged::default()),
            },
            Step::Whiteout => {
                unlinkat(&*here.dir, name, UnlinkatFlags::NoRemoveDir)?;
                let dir = self.imply(here, name, &path, Metadata::of_implied())?;
                dir.set_xattr(overlay::OPAQUE, b"y").map_err(errno)?;
                (dir, Merged::default())
            }
            Step::Missing => match overlay::look_up(&here.lower, name)? {
                MergedEntry::Link(target, _) => return Ok(Next::Link(target)),
                MergedEntry::Directory(lower) => {
                    let like = match lower.first() {
                        Some(top) => Metadata::of_existing(top).map_err(errno)?,
                        None => Metadata::of_implied(),
                    };
                    (self.imply(here, name, &path, like)?, lower)
                }
                // What else is there gives way, as to a directory that is listed.
                _ => (
                    self.imply(here, name, &path, Metadata::of_implied())?,
                    Merged::default(),
                ),
            },
        };
        Ok(Next::Directory(LayerDirectory {
            dir: Rc::new(dir.into()),
            lower,
            path,
        }))
    }

    fn imply(
        &mut self,
        here: &LayerDirectory,
        name: &OsStr,
        path: &[u8],
        mut like: Metadata,
    ) -> Result<File, Errno> {
        mkdirat(&*here.dir, name, Mode::S_IRWXU)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = File::from(openat2(&*here.dir, name, how(flags))?);
        like.copy_to_parent(&dir).map_err(errno)?;
        let path = Path {
            bytes: path.to_vec(),
        };
        self.implied.push(LastTouch::new(&path, &mut like));
        Ok(dir)
    }
}

/// Where a component of a name leads.
enum Next {
    Directory(LayerDirectory),
    Link(OsString),
}

/// The entry of the layer itself under a name on the way to a directory.
enum Step {
    Directory(File),
    Link(OsString),
    Whiteout,
    Missing,
}

fn inspect_entry(here: &OwnedFd, name: &OsStr) -> Result<Step, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    match openat2(here, name, how(flags)) {
        Ok(fd) => Ok(Step::Directory(fd.into())),
        Err(Errno::ENOENT) => Ok(Step::Missing),
        // Without O_DIRECTORY's check the kernel says ELOOP for a link, with it ENOTDIR.
        Err(e @ (Errno::ENOTDIR | Errno::ELOOP)) => {
            let stat = fstatat(here, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if overlay::is_whiteout(&stat) {
                return Ok(Step::Whiteout);
            }
            readlinkat(here, name).map(Step::Link).map_err(|_| e)
        }
        Err(e) => Err(e),
    }
}

fn errno(e: io::Error) -> Errno {
    e.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
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
    super::error::failed(operation, to_path(path), errno.into())
}
