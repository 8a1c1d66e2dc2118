//! Creates one entry of a layer.

use super::archive::{Archive, fill, number};
use super::error::UnpackError;
use super::extraction::{Extraction, OPAQUE};
use super::member::Member;
use super::path::Path;
use super::root::{Cleared, LastTouch};
use super::sparse::Sparse;
use crate::metadata::{DEFAULT_ACL, Metadata, Unopened};
use crate::overlay;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, mkfifoat, symlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use tar::EntryType;
use xattr::FileExt;

impl Extraction<'_> {
    /// Creates the entry at `path`, replacing what an earlier entry of the layer left there.
    pub(super) fn create<R: Read>(
        &mut self,
        (archive, member): (&mut Archive<R>, &Member),
        path: &Path,
        mut metadata: Metadata,
    ) -> Result<(), UnpackError> {
        let parent = self.root.parent_of(path)?;
        match member.kind {
            EntryType::Directory => self.directory(&parent, path, &mut metadata),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file((archive, member), &parent, path, &mut metadata)
            }
            EntryType::Link => {
                let target = link_target(member, path)?;
                self.hard_link(target, &parent, path, &mut metadata)
            }
            EntryType::Symlink => {
                let target = link_target(member, path)?;
                self.symlink(target, &parent, path, &mut metadata)
            }
            EntryType::Char | EntryType::Block => {
                let kind = match member.kind {
                    EntryType::Char => SFlag::S_IFCHR,
                    _ => SFlag::S_IFBLK,
                };
                let node = (kind, device_number(member, path)?);
                self.device(node, &parent, path, &mut metadata)
            }
            EntryType::Fifo => self.fifo(&parent, path, &mut metadata),
            kind => Err(UnpackError::Unsupported {
                path: path.to_path(),
                kind: char::from(kind.as_byte()),
            }),
        }?;
        // A directory's was taken; nothing else can have one.
        let list = metadata.default_acl.map(|_| DEFAULT_ACL.into());
        self.left_out
            .add(path, metadata.left_out.into_iter().chain(list));
        Ok(())
    }

    fn fifo(
        &mut self,
        parent: &Rc<OwnedFd>,
        path: &Path,
        metadata: &mut Metadata,
    ) -> Result<(), UnpackError> {
        self.replacing(parent, path, "create the fifo", |name| {
            mkfifoat(parent, name, Mode::empty())
        })?;
        self.count(path, 0)?;
        metadata.apply_at(parent.as_fd(), os_name(path), path, Unopened::Node)
    }

    /// Applies the entry of the root itself.
    pub(super) fn set_root(
        &mut self,
        path: &Path,
        mut metadata: Metadata,
    ) -> Result<(), UnpackError> {
        let top = self.root.top();
        let file = File::from(top.try_clone().map_err(path.io_error("open the root"))?);
        metadata.apply(&file, path)?;
        self.directories.push(LastTouch::new(path, &mut metadata));
        self.left_out.add(path, metadata.left_out);
        Ok(())
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
            b"" | b"." | b".." => return Err(path.broken("is a whiteout of no name")),
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
        metadata: &mut Metadata,
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
        self.directories.push(LastTouch::new(path, metadata));
        if cleared == Cleared::Whiteout {
            make_opaque(
                file.try_clone().map_err(path.io_error("open"))?.into(),
                path,
            )?;
        }
        self.root.entered(path, file.into());
        Ok(())
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
        (archive, member): (&mut Archive<R>, &Member),
        parent: &OwnedFd,
        path: &Path,
        metadata: &mut Metadata,
    ) -> Result<(), UnpackError> {
        self.count(path, member.stored)?;
        let mut file = self.new_file(parent, path)?;
        match &member.sparse {
            Some(sparse) => self.write_parts(sparse, archive, &mut file, path)?,
            None => self.write(archive, member.stored, &mut file, path)?,
        }
        metadata.apply(&file, path)
    }

    /// Writes the parts of a file with holes.
    fn write_parts<R: Read>(
        &mut self,
        sparse: &Sparse,
        archive: &mut Archive<R>,
        file: &mut File,
        path: &Path,
    ) -> Result<(), UnpackError> {
        for [offset, length] in sparse.parts(archive)? {
            file.seek(SeekFrom::Start(*offset))
                .map_err(path.io_error("write"))?;
            self.write(archive, *length, file, path)?;
        }
        if archive.read(&mut [0]).map_err(UnpackError::Read)? != 0 {
            return Err(archive.malformed("a sparse file has more content than its map says"));
        }
        if i64::try_from(sparse.size).is_err() {
            return Err(path.field("size", &sparse.size.to_string()));
        }
        file.set_len(sparse.size).map_err(path.io_error("write"))
    }

    /// Writes so many bytes of the member's content.
    fn write<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        length: u64,
        file: &mut File,
        path: &Path,
    ) -> Result<(), UnpackError> {
        let mut content = archive.by_ref().take(length);
        let mut written = 0;
        loop {
            let read = fill(&mut content, &mut self.buffer).map_err(UnpackError::Read)?;
            if read == 0 {
                break;
            }
            file.write_all(&self.buffer[..read])
                .map_err(path.io_error("write"))?;
            written += read as u64;
        }
        match written == length {
            true => Ok(()),
            false => Err(archive.malformed("a sparse file has less content than its map says")),
        }
    }

    /// Links to an earlier entry of the layer, or to a lower layer's file; the name is resolved beneath
    /// the root, and a final symbolic link is linked itself. What the entry says beside its name holds for all names.
    fn hard_link(
        &mut self,
        target: &[u8],
        parent: &OwnedFd,
        path: &Path,
        metadata: &mut Metadata,
    ) -> Result<(), UnpackError> {
        let target = Path::parse(target)?;
        let Some(target_name) = target.name() else {
            return Err(path.broken("is a hard link to the root"));
        };
        let error = path.error("create the hard link");
        let target_name = OsStr::from_bytes(target_name);
        let here = match self.root.existing_parent_of(&target) {
            Ok(here) if exists(&here, target_name).map_err(&error)? => here,
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => self.bring_up(&target, path)?,
            Err(e) => return Err(error(e)),
        };
        let stat = fstatat(&here, target_name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(&error)?;
        if is_kind(&stat, SFlag::S_IFDIR) {
            return Err(path.broken(&format!("is a hard link to {target}, which is a directory")));
        }
        if overlay::is_whiteout(&stat) {
            return Err(path.broken(&format!("is a hard link to {target}, which is taken away")));
        }
        if target.bytes == path.bytes {
            return Ok(());
        }
        self.replacing(parent, path, "create the hard link", |name| {
            linkat(&here, target_name, parent, name, AtFlags::empty())
        })?;
        metadata.apply_over(&stat, parent.as_fd(), os_name(path), path)
    }

    fn symlink(
        &mut self,
        target: &[u8],
        parent: &OwnedFd,
        path: &Path,
        metadata: &mut Metadata,
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
        metadata: &mut Metadata,
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

fn link_target<'a>(member: &'a Member, path: &Path) -> Result<&'a [u8], UnpackError> {
    match member.link.as_slice() {
        b"" => Err(path.broken("is a link without a target")),
        target if target.contains(&0) => Err(path.field("link target", "with a zero byte")),
        target => Ok(target),
    }
}

/// The number of a device. Linux has 12 bits for the major part and 20 for the minor, and mknod(2) cuts off what is
/// more: another device, or even a whiteout.
fn device_number(member: &Member, path: &Path) -> Result<u64, UnpackError> {
    let header = &member.header;
    let fields = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => [&ustar.dev_major, &ustar.dev_minor],
        (None, Some(gnu)) => [&gnu.dev_major, &gnu.dev_minor],
        (None, None) => return Err(path.broken("is a device and has no room for its number")),
    };
    let [major, minor] = fields.map(|field| number(field));
    let fits = |number: Option<i64>, most: u64| {
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.filter(|number| *number <= most)
    };
    match (fits(major, 0xfff), fits(minor, 0xf_ffff)) {
        (Some(major), Some(minor)) => Ok(makedev(major, minor)),
        _ => {
            let shown = [major, minor].map(|n| n.map_or("?".to_owned(), |n| n.to_string()));
            Err(path.field("device number", &shown.join(":")))
        }
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
    Ok(is_kind(&stat, SFlag::S_IFDIR))
}

fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

fn make_opaque(fd: OwnedFd, path: &Path) -> Result<(), UnpackError> {
    File::from(fd)
        .set_xattr(overlay::OPAQUE, b"y")
        .map_err(path.io_error("make opaque the directory of"))
}
