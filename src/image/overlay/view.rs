//! Looks names up in the merged view, and reads files of it.

use super::error::ViewError;
use crate::image::LayerName;
use holdfast_disk::{Dir, FileName};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use xattr::FileExt;

/// The name of the directory in a layer that overlay is given.
pub(crate) const DIFF: &str = "diff";
/// The attribute that hides all of a lower directory (kernel, Documentation/filesystems/overlayfs.rst).
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// The most symbolic links in one path, as in the kernel (path_resolution(7)).
pub(super) const LINKS_MAX: usize = 40;
/// The most components walked, links included.
const COMPONENTS_MAX: usize = 4096;

/// The directories that together are one directory of the image, the top layer's first.
pub(crate) type Merged = Rc<Vec<File>>;

/// The entry of a merged directory under a name.
pub(crate) enum MergedEntry {
    /// No layer has it, or a layer takes it away.
    Nothing,
    /// A directory, with what of it shows through.
    Directory(Merged),
    /// A symbolic link: its target, and itself.
    Link(OsString, FileStat),
    /// A regular file, opened for reading.
    File(File),
    /// A device, a fifo or a socket.
    Node(FileStat),
}

/// Reads a file of the image made of `layers` (the bottom one first), `None` when there is no
/// regular file of that path.
pub(crate) fn read_file(
    layers_dir: &Dir,
    layers: &[LayerName],
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>, ViewError> {
    let failed = |source| ViewError::Io {
        path: path.to_owned(),
        source,
    };
    let root = open_layers(layers_dir, layers).map_err(failed)?;
    let MergedEntry::File(file) = walk(Rc::new(root), path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > limit {
        return Err(ViewError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(Some(bytes))
}

/// Whether the image made of `layers` (the bottom one first) has a directory of that path.
pub(crate) fn is_directory(
    layers_dir: &Dir,
    layers: &[LayerName],
    path: &str,
) -> Result<bool, ViewError> {
    let root = open_layers(layers_dir, layers).map_err(|source| ViewError::Io {
        path: path.to_owned(),
        source,
    })?;
    match walk(Rc::new(root), path) {
        // Links that go round lead to nothing.
        Err(ViewError::TooManyLinks { .. }) => Ok(false),
        found => Ok(matches!(found?, MergedEntry::Directory(_))),
    }
}

/// The layers as overlay takes them, the top one first and each once: the kernel refuses a directory that
/// stands in `lowerdir` twice (ELOOP).
///
/// Of a layer that an image has several times the topmost place counts, and the lower ones change nothing
/// that can be seen. Whatever the layer says of a name (a file, a whiteout, an opaque directory) its
/// topmost copy says last; of all other names no copy says anything. Runtimes that keep a directory for
/// each chain id show the same. A layer whose unpacked form follows from those below it has a
/// [`LayerName`] of its own in each place.
pub fn lower_layers(layers: &[LayerName]) -> impl Iterator<Item = &LayerName> {
    let mut seen = BTreeSet::new();
    layers.iter().rev().filter(move |layer| seen.insert(*layer))
}

/// The layers (the bottom one first) of which something can be seen: those from the topmost one up whose root is
/// opaque, or all. The kernel does not look for the attribute on the roots of layers, so that an opaque whiteout
/// there (image specification, "Opaque Whiteout") would have no effect.
pub(crate) fn visible_layers(
    layers_dir: &Dir,
    layers: &[LayerName],
) -> Result<Vec<LayerName>, ViewError> {
    let mut visible = Vec::new();
    for layer in layers.iter().rev() {
        visible.push(layer.clone());
        let opened = open_layers(layers_dir, std::slice::from_ref(layer));
        let root = opened.map_err(|source| ViewError::Io {
            path: "/".to_owned(),
            source,
        })?;
        if root.iter().any(is_opaque) {
            break;
        }
    }
    visible.reverse();
    Ok(visible)
}

/// Keeps the roots of layers that are not hidden as a whole by those above. The top layer is the first.
pub(crate) fn visible_roots(mut roots: Vec<File>) -> Vec<File> {
    if let Some(opaque) = roots.iter().position(is_opaque) {
        roots.truncate(opaque + 1);
    }
    roots
}

/// Opens the directories of layers (the bottom one first); in the answer the top one is first.
pub(crate) fn open_layers(layers_dir: &Dir, layers: &[LayerName]) -> io::Result<Vec<File>> {
    let open = |name: &LayerName| {
        let layer = FileName::new(name.as_str()).map_err(io::Error::other)?;
        let diff = FileName::new(DIFF).map_err(io::Error::other)?;
        let dir = layers_dir
            .subdir(&layer)
            .and_then(|layer| layer.subdir(&diff))
            .map_err(io::Error::other)?;
        std::os::fd::AsFd::as_fd(&dir)
            .try_clone_to_owned()
            .map(File::from)
    };
    lower_layers(layers).map(open).collect()
}

/// Goes to what `path` means beneath `root`, following links, also a last one.
pub(crate) fn walk(root: Merged, path: &str) -> Result<MergedEntry, ViewError> {
    let mut way: VecDeque<OsString> = components(OsStr::new(path)).collect();
    let mut stack = vec![root];
    let (mut links, mut walked) = (0, 0);
    while let Some(name) = way.pop_front() {
        walked += 1;
        if links > LINKS_MAX || walked > COMPONENTS_MAX {
            return Err(ViewError::TooManyLinks {
                path: path.to_owned(),
            });
        }
        if name == ".." {
            if stack.len() > 1 {
                stack.pop();
            }
            continue;
        }
        let Some(here) = stack.last() else {
            return Ok(MergedEntry::Nothing);
        };
        let found = look_up(here, &name).map_err(|e| ViewError::Io {
            path: path.to_owned(),
            source: e.into(),
        })?;
        match found {
            MergedEntry::Directory(dir) => stack.push(dir),
            MergedEntry::Nothing => return Ok(MergedEntry::Nothing),
            other @ (MergedEntry::File(_) | MergedEntry::Node(_)) => {
                return Ok(if way.is_empty() {
                    other
                } else {
                    MergedEntry::Nothing
                });
            }
            MergedEntry::Link(target, _) => {
                links += 1;
                if Path::new(&target).is_absolute() {
                    stack.truncate(1);
                }
                for component in components(&target).rev() {
                    way.push_front(component);
                }
            }
        }
    }
    Ok(stack
        .pop()
        .map_or(MergedEntry::Nothing, MergedEntry::Directory))
}

/// Looks up `name` in the merged directory `here`.
pub(crate) fn look_up(here: &Merged, name: &OsStr) -> Result<MergedEntry, Errno> {
    let mut directories = Vec::new();
    for dir in here.iter() {
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => continue,
            Err(e) => return Err(e),
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = File::from(openat(dir, name, flags, Mode::empty())?);
            let opaque = is_opaque(&opened);
            directories.push(opened);
            if opaque {
                break;
            }
        } else if !directories.is_empty() {
            break;
        } else if kind == SFlag::S_IFLNK {
            return Ok(MergedEntry::Link(readlinkat(dir, name)?, stat));
        } else if kind == SFlag::S_IFREG {
            // Nobody but us writes here, so the file is still the one inspected above.
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            return Ok(MergedEntry::File(File::from(openat(
                dir,
                name,
                flags,
                Mode::empty(),
            )?)));
        } else if is_whiteout(&stat) {
            return Ok(MergedEntry::Nothing);
        } else {
            return Ok(MergedEntry::Node(stat));
        }
    }
    Ok(if directories.is_empty() {
        MergedEntry::Nothing
    } else {
        MergedEntry::Directory(Rc::new(directories))
    })
}

/// Whether it hides what lower layers have of that name: a character device 0:0.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    kind == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Whether a directory of a layer hides all that lower layers have in it.
pub(crate) fn is_opaque(dir: &File) -> bool {
    matches!(dir.get_xattr(OPAQUE), Ok(Some(value)) if value == b"y")
}

fn components(path: &OsStr) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    let parts = path.as_bytes().split(|b| *b == b'/');
    parts
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsStr::from_bytes(part).to_owned())
}
