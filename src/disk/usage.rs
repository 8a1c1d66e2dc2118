//! The free space of a file system, and the space that a tree of files takes.

use super::dir::{open_directory, open_listing};
use super::{Dir, DirError};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstatat};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsSpace {
    /// The size of the file system in bytes.
    pub total_bytes: u64,
    /// Bytes that an unprivileged process may still write.
    pub available_bytes: u64,
    /// The number of inodes it can have; 0 where inodes are made on demand.
    pub total_inodes: u64,
    /// The number of inodes left.
    pub available_inodes: u64,
}

/// The space of a tree on its file system, hard links counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Allocated blocks, in bytes.
    pub bytes: u64,
    /// Files, directories and all others.
    pub inodes: u64,
}

/// A hash over the names, kinds and sizes of a tree, independent of the order in which they are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFingerprint {
    /// Files, directories and all others, the top directory left out.
    pub entries: u64,
    /// The sum of a hash of each.
    pub sum: u64,
}

impl Dir {
    /// The room on this directory's file system.
    pub fn space(&self) -> Result<FsSpace, DirError> {
        let stat = nix::sys::statvfs::fstatvfs(self.as_fd())
            .map_err(|e| self.own_error("inspect file system of", e.into()))?;
        let fragment = stat.fragment_size();
        Ok(FsSpace {
            total_bytes: stat.blocks().saturating_mul(fragment),
            available_bytes: stat.blocks_available().saturating_mul(fragment),
            total_inodes: stat.files(),
            available_inodes: stat.files_available(),
        })
    }

    /// Adds up the space of this directory and of everything beneath it, without following links or crossing mount
    /// points. Files that disappear meanwhile are not counted.
    pub fn usage(&self) -> Result<TreeUsage, DirError> {
        let mut usage = TreeUsage::default();
        let mut seen = HashSet::new();
        let top = fstatat(self.as_fd(), ".", AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|e| self.own_error("inspect", e.into()))?;
        count(&top, &mut usage, &mut seen);
        self.walk(&mut |_, _, stat| count(stat, &mut usage, &mut seen))?;
        Ok(usage)
    }

    /// Computes the fingerprint of the tree beneath this directory from names, kinds and sizes; content is not read.
    /// Blocks.
    ///
    /// # Errors
    /// [`DirError::Io`] when it cannot be listed.
    pub fn fingerprint(&self) -> Result<TreeFingerprint, DirError> {
        let mut print = TreeFingerprint::default();
        self.walk(&mut |way, name, stat| {
            print.entries += 1;
            print.sum = print.sum.wrapping_add(hash(way, name, stat));
        })?;
        Ok(print)
    }

    /// Shows everything beneath this directory, without following links or crossing mount points: where it
    /// lies, its name and what it is. What disappears meanwhile is left out.
    fn walk(&self, visit: &mut dyn FnMut(&[OsString], &OsStr, &FileStat)) -> Result<(), DirError> {
        // Paths instead of descriptors are pending, so that the width of a tree costs none.
        let mut pending: Vec<Vec<OsString>> = vec![Vec::new()];
        while let Some(way) = pending.pop() {
            let Some(dir) = descend(self, &way)? else {
                continue;
            };
            let listing =
                open_listing(dir.as_fd()).map_err(|e| self.own_error("list", e.into()))?;
            for item in listing {
                let item = item.map_err(|e| self.own_error("list", e.into()))?;
                let name = OsStr::from_bytes(item.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                let stat = match fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::ENOENT) => continue,
                    Err(e) => return Err(dir.own_error("inspect an entry of", e.into())),
                };
                visit(&way, name, &stat);
                if kind(&stat) == SFlag::S_IFDIR {
                    let mut further = way.clone();
                    further.push(name.to_owned());
                    pending.push(further);
                }
            }
        }
        Ok(())
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// FNV-1a over a path, a kind and a size: nobody has to be kept from making two trees alike, and a release
/// must find what an earlier one has computed.
fn hash(way: &[OsString], name: &OsStr, stat: &FileStat) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    // The size of a directory is the file system's affair.
    let size = match kind(stat) {
        SFlag::S_IFREG | SFlag::S_IFLNK => stat.st_size,
        _ => 0,
    };
    let between = std::iter::once(&b'/');
    let path = way
        .iter()
        .flat_map(|part| part.as_bytes().iter().chain(between.clone()));
    let (kind, size) = (kind(stat).bits().to_le_bytes(), size.to_le_bytes());
    let ends = [b'\0'];
    let bytes = path.chain(name.as_bytes()).chain(&ends);
    bytes.chain(&kind).chain(&size).fold(BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

/// Adds one entry, a file with several names once.
fn count(stat: &FileStat, usage: &mut TreeUsage, seen: &mut HashSet<(u64, u64)>) {
    let directory = kind(stat) == SFlag::S_IFDIR;
    if !directory && stat.st_nlink > 1 && !seen.insert((stat.st_dev, stat.st_ino)) {
        return;
    }
    // st_blocks is in units of 512 bytes whatever the file system's block size (inode(7)).
    usage.bytes += u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512);
    usage.inodes += 1;
}

/// Opens the directory reached from `root` by `way`; `None` when it disappeared or is a mount point.
fn descend(root: &Dir, way: &[OsString]) -> Result<Option<Dir>, DirError> {
    let mut dir = root.try_clone()?;
    for name in way {
        let fd = match open_directory(dir.as_fd(), name) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::EXDEV | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            Err(e) => return Err(root.own_error("open a directory beneath", e.into())),
        };
        dir = Dir::from_fd(fd, root.path().to_owned());
    }
    Ok(Some(dir))
}
