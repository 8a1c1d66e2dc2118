//! How much room there is, and how much a tree takes.

use super::dir::{open_directory, open_listing};
use super::{Dir, DirError};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsSpace {
    /// Its size, in bytes.
    pub total_bytes: u64,
    /// What an unprivileged process may still write, in bytes.
    pub available_bytes: u64,
    /// The number of inodes it can have; 0 where inodes are made on demand.
    pub total_inodes: u64,
    /// The number of inodes left.
    pub available_inodes: u64,
}

/// What a tree takes on its file system, hard links counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Allocated blocks, in bytes.
    pub bytes: u64,
    /// Files, directories and all others.
    pub inodes: u64,
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

    /// What this directory and everything beneath it take, without following links or crossing
    /// mount points; what disappears meanwhile is not counted.
    pub fn usage(&self) -> Result<TreeUsage, DirError> {
        let mut usage = TreeUsage::default();
        let mut seen = HashSet::new();
        count(self, OsStr::new("."), &mut usage, &mut seen)?;
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
                if count(&dir, name, &mut usage, &mut seen)? {
                    let mut further = way.clone();
                    further.push(name.to_owned());
                    pending.push(further);
                }
            }
        }
        Ok(usage)
    }
}

/// Adds one entry and says whether it is a directory.
fn count(
    dir: &Dir,
    name: &OsStr,
    usage: &mut TreeUsage,
    seen: &mut HashSet<(u64, u64)>,
) -> Result<bool, DirError> {
    let stat = match fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(false),
        Err(e) => return Err(dir.own_error("inspect an entry of", e.into())),
    };
    let directory = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    if !directory && stat.st_nlink > 1 && !seen.insert((stat.st_dev, stat.st_ino)) {
        return Ok(false);
    }
    // st_blocks is in units of 512 bytes whatever the file system's block size (inode(7)).
    usage.bytes += u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512);
    usage.inodes += 1;
    Ok(directory)
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
