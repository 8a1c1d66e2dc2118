//! Copies out of the merged view: what a volume begins with, what a layer needs of the ones below.

use super::error::ViewError;
use super::view::{Merged, MergedEntry, look_up, open_layers, walk};
use crate::image::LayerName;
use crate::metadata::{Metadata, Unopened};
use holdfast_disk::Dir;
use holdfast_kernel::sys::hole;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Directories within directories that are copied; a deeper tree is an error.
const DEPTH_MAX: usize = 1024;

/// Copies a file, a link or a node to `name` in `to`, with owner, mode, times and attributes.
pub(crate) fn copy_entry(found: MergedEntry, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match found {
        MergedEntry::File(mut from) => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mut made = File::from(openat(to, name, flags, Mode::S_IRUSR)?);
            copy_data(&mut from, &mut made)?;
            Metadata::of_existing(&from)?.copy_to(&made)
        }
        MergedEntry::Link(text, stat) => {
            symlinkat(text.as_os_str(), to, name)?;
            Metadata::of_stat(&stat).copy_at(to, name, Unopened::Symlink)
        }
        MergedEntry::Node(stat) => {
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            mknodat(to, name, kind, Mode::empty(), stat.st_rdev)?;
            Metadata::of_stat(&stat).copy_at(to, name, Unopened::Node)
        }
        MergedEntry::Directory(_) => Err(Errno::EISDIR.into()),
        MergedEntry::Nothing => Err(Errno::ENOENT.into()),
    }
}

/// Copies the content of a file into an empty one. Holes stay holes.
fn copy_data(from: &mut File, to: &mut File) -> io::Result<()> {
    let size = from.metadata()?.len();
    for part in hole::data(from, size)? {
        from.seek(SeekFrom::Start(part.start))?;
        to.seek(SeekFrom::Start(part.start))?;
        io::copy(&mut from.take(part.end - part.start), to)?;
    }
    to.set_len(size)
}

/// Copies what the image made of `layers` (the bottom one first) has in the directory `path` into the
/// empty directory `to`, and makes `to` like it. An image that has no directory there leaves `to` as it is.
///
/// The path, and links in it, are resolved beneath the image's root; links in the directory are copied, not
/// followed. Names of one file stay names of one file.
pub(crate) fn copy_directory(
    layers_dir: &Dir,
    layers: &[LayerName],
    path: &str,
    to: &Dir,
) -> Result<(), ViewError> {
    let failed = |source| ViewError::Io {
        path: path.to_owned(),
        source,
    };
    let root = open_layers(layers_dir, layers).map_err(failed)?;
    let MergedEntry::Directory(from) = walk(Rc::new(root), path)? else {
        return Ok(());
    };
    let to = File::from(to.as_fd().try_clone_to_owned().map_err(failed)?);
    let mut copy = Copy {
        root: to.try_clone().map_err(failed)?,
        names: HashMap::new(),
    };
    copy.directory(&from, &to, Path::new("."))
        .map_err(|(at, source)| ViewError::Io {
            path: Path::new(path).join(at).display().to_string(),
            source,
        })
}

/// A copy under way.
struct Copy {
    root: File,
    /// The first name of each file that has several, by device and inode.
    names: HashMap<(u64, u64), PathBuf>,
}

/// A failure, and its path below the copied directory.
type Failure = (PathBuf, io::Error);

impl Copy {
    fn directory(&mut self, from: &Merged, to: &File, at: &Path) -> Result<(), Failure> {
        let failed = |e: io::Error| (at.to_owned(), e);
        if at.components().count() > DEPTH_MAX {
            return Err(failed(Errno::ELOOP.into()));
        }
        for name in names(from).map_err(failed)? {
            let at = at.join(&name);
            let found = look_up(from, &name).map_err(|e| (at.clone(), e.into()))?;
            self.entry(found, to, (&at, &name))?;
        }
        // Last: creating what is in it changes its times.
        let like = from.first().map(Metadata::of_existing).transpose();
        let copied = like.and_then(|like| like.map_or(Ok(()), |like| like.copy_to(to)));
        copied.map_err(failed)
    }

    fn entry(
        &mut self,
        found: MergedEntry,
        to: &File,
        (at, name): (&Path, &OsStr),
    ) -> Result<(), Failure> {
        let failed = |e: io::Error| (at.to_owned(), e);
        let kernel = |e: Errno| failed(e.into());
        match found {
            MergedEntry::Nothing => Ok(()),
            MergedEntry::Directory(from) => {
                mkdirat(to, name, Mode::S_IRWXU).map_err(kernel)?;
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
                let made = openat(to, name, flags | OFlag::O_CLOEXEC, Mode::empty());
                self.directory(&from, &File::from(made.map_err(kernel)?), at)
            }
            MergedEntry::File(file) => {
                let facts = file.metadata().map_err(failed)?;
                let key = (facts.dev(), facts.ino());
                if let Some(first) = self.names.get(&key) {
                    let linked = linkat(&self.root, first, to, name, AtFlags::empty());
                    return linked.map_err(kernel);
                }
                if facts.nlink() > 1 {
                    self.names.insert(key, at.to_owned());
                }
                copy_entry(MergedEntry::File(file), to.as_fd(), name).map_err(failed)
            }
            other => copy_entry(other, to.as_fd(), name).map_err(failed),
        }
    }
}

/// The names in a merged directory, those that are taken away included.
fn names(directory: &Merged) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for layer in directory.iter() {
        // A descriptor of its own: reading moves its offset.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut entries = nix::dir::Dir::openat(layer, ".", flags, Mode::empty())?;
        for entry in entries.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.insert(OsString::from_vec(name));
            }
        }
    }
    Ok(names)
}
