//! Creates one entry of a layer.

use super::metadata::{Metadata, Unopened};
use super::root::Cleared;
use super::sparse::Sparse;
use super::{Extraction, OPAQUE, Path, UnpackError};
use crate::image::overlay;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, mkfifoat, symlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use tar::EntryType;
use xattr::FileExt;

/// The size of the copy buffer, in bytes.
pub(super) const BUFFER: usize = 128 << 10;

impl Extraction<'_> {
    /// Creates the entry at `path`, replacing what an earlier entry of the layer left there.
    pub(super) fn create<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        let parent = self.root.parent_of(path)?;
        match entry.header().entry_type() {
            EntryType::Directory => self.directory(&parent, path, metadata),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(entry, &parent, path, metadata)
            }
            EntryType::Link => self.hard_link(&link_target(entry, path)?, &parent, path),
            EntryType::Symlink => self.symlink(&link_target(entry, path)?, &parent, path, metadata),
            kind @ (EntryType::Char | EntryType::Block) => {
                let header = entry.header();
                let number = |n: std::io::Result<Option<u32>>| {
                    n.ok().flatten().ok_or_else(|| path.field("device number"))
                };
                let device = makedev(
                    number(header.device_major())?.into(),
                    number(header.device_minor())?.into(),
                );
                let kind = if kind == EntryType::Char {
                    SFlag::S_IFCHR
                } else {
                    SFlag::S_IFBLK
                };
                self.device((kind, device), &parent, path, metadata)
            }
            EntryType::Fifo => {
                self.replacing(&parent, path, "create the fifo", |name| {
                    mkfifoat(&parent, name, Mode::empty())
                })?;
                self.count(path, 0)?;
                metadata.apply_at(parent.as_fd(), os_name(path), path, Unopened::Node)
            }
            _ => Err(UnpackError::Unsupported {
                path: path.to_path(),
                kind: "of an unknown type",
            }),
        }
    }

    /// Applies the entry of the root itself.
    pub(super) fn set_root(
        &mut self,
        kind: EntryType,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        if kind != EntryType::Directory {
            return Err(path.field("name"));
        }
        let top = self.root.top();
        let file = File::from(top.try_clone().map_err(path.io_error("open the root"))?);
        self.directories.push((Vec::new(), metadata.mtime));
        metadata.apply(&file, path)
    }

    /// Turns `.wh.NAME` into what overlay understands.
    pub(super) fn whiteout(&mut self, path: &Path, hidden: &[u8]) -> Result<(), UnpackError> {
        let parent = self.root.parent_of(path)?;
        if hidden == OPAQUE {
            let fd = open_directory(&parent, OsStr::new("."))
                .map_err(path.error("open the directory of"))?;
            return make_opaque(fd, path);
        }
        if hidden.starts_with(b".wh.") {
            // Bookkeeping of AUFS that some archives still carry; it means nothing here.
            return Ok(());
        }
        let name = match hidden {
            b"" | b"." | b".." => return Err(path.field("whiteout")),
            hidden => OsStr::from_bytes(hidden),
        };
        match mknodat(&parent, name, SFlag::S_IFCHR, Mode::empty(), 0) {
            Ok(()) => self.count(path, 0),
            // The layer has the name itself: a whiteout hides only the layers below, which a file
            // does anyway and a directory does when it is opaque.
            Err(Errno::EEXIST) => match open_directory(&parent, name) {
                Ok(fd) => make_opaque(fd, path),
                Err(Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
                Err(e) => Err(path.error("open")(e)),
            },
            Err(e) => Err(path.error("create the whiteout")(e)),
        }
    }

    fn directory(
        &mut self,
        parent: &Rc<OwnedFd>,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        let name = os_name(path);
        let mut cleared = Cleared::Plain;
        match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) => self.count(path, 4096)?,
            Err(Errno::EEXIST) if is_directory(parent, name).map_err(path.error("inspect"))? => {}
            Err(Errno::EEXIST) => {
                cleared = self.root.clear(parent, path)?;
                mkdirat(parent, name, Mode::S_IRWXU).map_err(path.error("create the directory"))?;
                self.count(path, 4096)?;
            }
            Err(e) => return Err(path.error("create the directory")(e)),
        }
        let file = File::from(open_directory(parent, name).map_err(path.error("open"))?);
        metadata.apply(&file, path)?;
        self.directories.push((path.bytes.clone(), metadata.mtime));
        if cleared == Cleared::Whiteout {
            make_opaque(
                file.try_clone().map_err(path.io_error("open"))?.into(),
                path,
            )?;
        }
        self.root.entered(path, file.into());
        Ok(())
    }

    /// Creates a file that has its holes described in PAX headers.
    pub(super) fn sparse_file<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        sparse: Sparse,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        let parent = self.root.parent_of(path)?;
        self.count(path, sparse.size)?;
        let mut file = self.new_file(&parent, path)?;
        sparse.write(entry, &mut file, path)?;
        metadata.apply(&file, path)
    }

    fn new_file(&mut self, parent: &OwnedFd, path: &Path) -> Result<File, UnpackError> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = self.replacing(parent, path, "create", |name| {
            openat(parent, name, flags, Mode::S_IRUSR)
        });
        made.map(File::from)
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
        parent: &OwnedFd,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        self.count(path, entry.size())?;
        let mut file = self.new_file(parent, path)?;
        let sparse = entry.header().entry_type() == EntryType::GNUSparse;
        let mut written = 0;
        loop {
            let length = fill(entry, &mut self.buffer).map_err(UnpackError::Read)?;
            if length == 0 {
                break;
            }
            let block = &self.buffer[..length];
            if sparse && block.iter().all(|b| *b == 0) {
                file.seek(SeekFrom::Current(i64::try_from(length).unwrap_or(i64::MAX)))
                    .map_err(path.io_error("write"))?;
            } else {
                file.write_all(block).map_err(path.io_error("write"))?;
            }
            written += length as u64;
        }
        if written != entry.size() {
            return Err(UnpackError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if sparse {
            file.set_len(written).map_err(path.io_error("write"))?;
        }
        metadata.apply(&file, path)
    }

    /// Links to an earlier entry of the layer, or to a lower layer's file; the name is resolved beneath
    /// the root, and a final symbolic link is linked itself.
    fn hard_link(
        &mut self,
        target: &[u8],
        parent: &OwnedFd,
        path: &Path,
    ) -> Result<(), UnpackError> {
        let target = Path::parse(target)?;
        let Some(target_name) = target.name() else {
            return Err(path.field("link target"));
        };
        if target.bytes == path.bytes {
            return Ok(());
        }
        let error = path.error("create the hard link");
        let target_name = OsStr::from_bytes(target_name);
        let here = match self.root.existing_parent_of(&target) {
            Ok(here) if exists(&here, target_name).map_err(&error)? => here,
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => self.bring_up(&target, path)?,
            Err(e) => return Err(error(e)),
        };
        self.replacing(parent, path, "create the hard link", |name| {
            linkat(&here, target_name, parent, name, AtFlags::empty())
        })
    }

    fn symlink(
        &mut self,
        target: &[u8],
        parent: &OwnedFd,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        let target = OsStr::from_bytes(target);
        self.replacing(parent, path, "create the symbolic link", |name| {
            symlinkat(target, parent, name)
        })?;
        self.count(path, 0)?;
        metadata.apply_at(parent.as_fd(), os_name(path), path, Unopened::Symlink)
    }

    fn device(
        &mut self,
        (kind, device): (SFlag, u64),
        parent: &OwnedFd,
        path: &Path,
        metadata: &Metadata,
    ) -> Result<(), UnpackError> {
        let made = self.replacing(parent, path, "create the device", |name| {
            match mknodat(parent, name, kind, Mode::empty(), device) {
                // Containers get their devices from the runtime; a node the kernel does not let us
                // make could not be opened in one either.
                Err(Errno::EPERM) => Ok(false),
                other => other.map(|()| true),
            }
        })?;
        if !made {
            return Ok(());
        }
        self.count(path, 0)?;
        metadata.apply_at(parent.as_fd(), os_name(path), path, Unopened::Node)
    }

    /// Runs `make`, once more after clearing the name when something is there.
    fn replacing<T>(
        &mut self,
        parent: &OwnedFd,
        path: &Path,
        operation: &'static str,
        make: impl Fn(&OsStr) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let name = os_name(path);
        match make(name) {
            Err(Errno::EEXIST) => {
                self.root.clear(parent, path)?;
                make(name).map_err(path.error(operation))
            }
            other => other.map_err(path.error(operation)),
        }
    }
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>, path: &Path) -> Result<Vec<u8>, UnpackError> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() && !target.contains(&0) => Ok(target.into_owned()),
        _ => Err(path.field("link target")),
    }
}

fn os_name(path: &Path) -> &OsStr {
    OsStr::from_bytes(path.name().unwrap_or_default())
}

fn open_directory(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn exists(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    let stat = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

fn make_opaque(fd: OwnedFd, path: &Path) -> Result<(), UnpackError> {
    File::from(fd)
        .set_xattr(overlay::OPAQUE, b"y")
        .map_err(path.io_error("make opaque the directory of"))
}

/// Reads until the buffer is full or the content ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
