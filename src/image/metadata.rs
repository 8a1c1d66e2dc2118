//! Owner, mode, times and extended attributes of an entry of a layer, and copies of them.

use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

/// The access control list of files that are made in a directory. It is set when no more files are made there.
pub(crate) const DEFAULT_ACL: &str = "system.posix_acl_default";

/// Owner, mode, times and extended attributes of an entry of a layer.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub mode: Mode,
    pub owner: Uid,
    pub group: Gid,
    pub mtime: TimeSpec,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    /// The default access control list, of a directory.
    pub default_acl: Option<Vec<u8>>,
    /// Names of attributes that the entry has and the image does not get.
    pub left_out: Vec<OsString>,
}

impl Metadata {
    /// Takes an extended attribute, or its name where the image must not get it.
    pub(crate) fn attribute(&mut self, name: OsString, value: Vec<u8>) {
        if !is_allowed(name.as_bytes()) {
            self.left_out.push(name);
        } else if name == DEFAULT_ACL {
            self.default_acl = Some(value);
        } else {
            self.xattrs.push((name, value));
        }
    }

    /// A directory that nothing says anything about.
    pub(crate) fn of_implied() -> Self {
        Self {
            mode: Mode::from_bits_truncate(0o755),
            owner: Uid::from_raw(0),
            group: Gid::from_raw(0),
            mtime: TimeSpec::UTIME_OMIT,
            xattrs: Vec::new(),
            default_acl: None,
            left_out: Vec::new(),
        }
    }

    /// Reads the metadata of a file or directory of a lower layer, for a copy in this layer.
    pub(crate) fn of_existing(file: &File) -> io::Result<Self> {
        let mut copy = Self::of_stat(&fstat(file)?);
        for name in file.list_xattr()? {
            if let Some(value) = file.get_xattr(&name)? {
                copy.attribute(name, value);
            }
        }
        Ok(copy)
    }

    /// The metadata of a link or a device of a lower layer.
    pub(crate) fn of_stat(stat: &FileStat) -> Self {
        Self {
            mode: Mode::from_bits_truncate(stat.st_mode & 0o7777),
            owner: Uid::from_raw(stat.st_uid),
            group: Gid::from_raw(stat.st_gid),
            mtime: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            xattrs: Vec::new(),
            default_acl: None,
            left_out: Vec::new(),
        }
    }

    /// Sets everything on an open file or directory that is a copy and complete.
    pub(crate) fn copy_to(&self, file: &File) -> io::Result<()> {
        self.copy_to_parent(file)?;
        if let Some(list) = &self.default_acl {
            file.set_xattr(DEFAULT_ACL, list)?;
        }
        Ok(())
    }

    /// Sets everything on an open directory that is a copy, but for what would reach the files that are made in it.
    pub(crate) fn copy_to_parent(&self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.owner), Some(self.group))?;
        for (name, value) in &self.xattrs {
            file.set_xattr(name, value)?;
        }
        fchmod(file, self.mode)?;
        Ok(futimens(file, &self.mtime, &self.mtime)?)
    }

    /// Sets owner, mode and times on something that is a copy and cannot be opened.
    pub(crate) fn copy_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: Unopened,
    ) -> io::Result<()> {
        self.own_at(parent, name)?;
        self.mode_and_times_at(parent, name, kind)
    }

    /// Sets the owner of something that cannot be opened.
    pub(crate) fn own_at(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let (owner, group) = (Some(self.owner), Some(self.group));
        let links = AtFlags::AT_SYMLINK_NOFOLLOW;
        Ok(fchownat(parent, name, owner, group, links)?)
    }

    /// Sets mode and times of something that cannot be opened.
    pub(crate) fn mode_and_times_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: Unopened,
    ) -> io::Result<()> {
        if kind == Unopened::Node {
            let follow = FchmodatFlags::FollowSymlink;
            fchmodat(parent, name, self.mode, follow)?;
        }
        let links = UtimensatFlags::NoFollowSymlink;
        Ok(utimensat(parent, name, &self.mtime, &self.mtime, links)?)
    }
}

/// The kinds of entries whose metadata [`Metadata::copy_at`] sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// A symbolic link, which has no mode.
    Symlink,
    /// Anything else, made just now, so that no link can be in its place.
    Node,
}

/// Whether the image gets that attribute: `trusted.overlay.*` would redirect the kernel's overlay, and containerd
/// and CRI-O leave all of `trusted.` out; the label is the policy of this machine, as for CRI-O.
fn is_allowed(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.") && name != b"security.selinux"
}
