//! Owner, mode, times and extended attributes of an entry.

use super::{Path, UnpackError};
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FileStat, Mode, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

/// The prefix under which PAX headers carry extended attributes.
const PAX_XATTR: &[u8] = b"SCHILY.xattr.";

/// What an entry's header says beside its name and content.
#[derive(Debug)]
pub(in crate::image) struct Metadata {
    mode: Mode,
    owner: Uid,
    group: Gid,
    pub mtime: TimeSpec,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Metadata {
    pub(super) fn read<R: Read>(
        entry: &mut tar::Entry<'_, R>,
        path: &Path,
    ) -> Result<Self, UnpackError> {
        let mut xattrs = Vec::new();
        let mut pax_mtime = None;
        let extensions = entry.pax_extensions().map_err(UnpackError::Read)?;
        for extension in extensions.into_iter().flatten() {
            let extension = extension.map_err(UnpackError::Read)?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            if let Some(name) = key.strip_prefix(PAX_XATTR) {
                if is_allowed(name) {
                    xattrs.push((OsStr::from_bytes(name).to_owned(), value.to_vec()));
                }
            } else if key == b"mtime" {
                pax_mtime = Some(parse_time(value).ok_or_else(|| path.field("modification time"))?);
            }
        }
        let header = entry.header();
        let raw = header.as_old();
        let number = |value: io::Result<u64>, raw: &[u8], field| match value {
            Ok(value) => Ok(value),
            // Some writers leave fields they have nothing for empty; everybody reads that as zero.
            Err(_) if raw.iter().all(|b| matches!(b, 0 | b' ')) => Ok(0),
            Err(_) => Err(path.field(field)),
        };
        let narrow = |value: u64, field| u32::try_from(value).map_err(|_| path.field(field));
        let mode = number(header.mode().map(u64::from), &raw.mode, "mode")?;
        let owner = narrow(number(header.uid(), &raw.uid, "owner")?, "owner")?;
        let group = narrow(number(header.gid(), &raw.gid, "group")?, "group")?;
        let seconds = number(header.mtime(), &raw.mtime, "modification time")?;
        Ok(Self {
            mode: Mode::from_bits_truncate(narrow(mode & 0o7777, "mode")?),
            owner: Uid::from_raw(owner),
            group: Gid::from_raw(group),
            mtime: pax_mtime
                .unwrap_or_else(|| TimeSpec::new(i64::try_from(seconds).unwrap_or(i64::MAX), 0)),
            xattrs,
        })
    }

    /// A directory that nothing says anything about.
    pub fn of_implied() -> Self {
        Self {
            mode: Mode::from_bits_truncate(0o755),
            owner: Uid::from_raw(0),
            group: Gid::from_raw(0),
            mtime: TimeSpec::UTIME_OMIT,
            xattrs: Vec::new(),
        }
    }

    /// What a file or directory of a lower layer has, for a copy of it in this one.
    pub fn of_existing(file: &File) -> io::Result<Self> {
        let mut copy = Self::of_stat(&fstat(file)?);
        for name in file.list_xattr()? {
            if is_allowed(name.as_bytes())
                && let Some(value) = file.get_xattr(&name)?
            {
                copy.xattrs.push((name, value));
            }
        }
        Ok(copy)
    }

    /// What a link or a device of a lower layer has.
    pub fn of_stat(stat: &FileStat) -> Self {
        Self {
            mode: Mode::from_bits_truncate(stat.st_mode & 0o7777),
            owner: Uid::from_raw(stat.st_uid),
            group: Gid::from_raw(stat.st_gid),
            mtime: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            xattrs: Vec::new(),
        }
    }

    /// Sets everything on an open file or directory that is a copy.
    pub fn copy_to(&self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.owner), Some(self.group))?;
        fchmod(file, self.mode)?;
        for (name, value) in &self.xattrs {
            file.set_xattr(name, value)?;
        }
        Ok(futimens(file, &self.mtime, &self.mtime)?)
    }

    /// Sets everything on an open file or directory; the order matters: a change of owner clears the
    /// set-id bits and the file capabilities.
    pub(super) fn apply(&self, file: &File, path: &Path) -> Result<(), UnpackError> {
        fchown(file, Some(self.owner), Some(self.group)).map_err(path.error("set the owner of"))?;
        fchmod(file, self.mode).map_err(path.error("set the mode of"))?;
        for (name, value) in &self.xattrs {
            match file.set_xattr(name, value) {
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other.map_err(path.io_error("set an extended attribute of"))?,
            }
        }
        futimens(file, &self.mtime, &self.mtime).map_err(path.error("set the times of"))
    }

    /// Sets owner and times, and the mode unless it is a link's, on something that cannot be opened.
    pub(super) fn apply_at(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        kind: Unopened,
    ) -> Result<(), UnpackError> {
        self.copy_at(parent, name, kind)
            .map_err(path.io_error("set owner, mode or times of"))
    }

    /// Likewise on something that is a copy.
    pub fn copy_at(&self, parent: BorrowedFd<'_>, name: &OsStr, kind: Unopened) -> io::Result<()> {
        let (owner, group) = (Some(self.owner), Some(self.group));
        fchownat(parent, name, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if kind == Unopened::Node {
            let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
            fchmodat(parent, name, self.mode, follow)?;
        }
        let links = UtimensatFlags::NoFollowSymlink;
        Ok(utimensat(parent, name, &self.mtime, &self.mtime, links)?)
    }
}

/// What kind of thing [`Metadata::apply_at`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Unopened {
    /// A symbolic link, which has no mode.
    Symlink,
    /// A device or a fifo, made just now, so that no link can be in its place.
    Node,
}

/// Whether a layer may set that attribute: `trusted.overlay.*` would redirect the kernel's overlay,
/// and labels of the host's security module are the host's business.
fn is_allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Parses PAX's decimal seconds with an optional fraction, maybe negative.
fn parse_time(value: &[u8]) -> Option<TimeSpec> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(TimeSpec::new(seconds - 1, 1_000_000_000 - nanoseconds));
    }
    Some(TimeSpec::new(seconds, nanoseconds))
}
