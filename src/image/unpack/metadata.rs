//! Owner, mode, times and extended attributes of an entry.

use super::archive::number;
use super::error::UnpackError;
use super::member::Member;
use super::path::Path;
use crate::metadata::{Metadata, Unopened};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod, futimens};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use xattr::FileExt;

/// The prefix under which PAX records carry extended attributes as they are: GNU tar, Go, libarchive.
const SCHILY: &[u8] = b"SCHILY.xattr.";
/// The prefix of libarchive's own form: the name is encoded as in a URL, the value in Base64. It writes both
/// forms unless it is told otherwise.
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";
/// An access control list, or a label, as text, which says what an attribute would; other readers of layers pass
/// these over too.
const AS_TEXT: [&[u8]; 3] = [b"SCHILY.acl.", b"SCHILY.fflags", b"RHT.security."];
/// Bytes that a file system has free, beside a value, when it does not count as full.
const MIN_FREE_BYTES: u64 = 64 << 10;

impl Metadata {
    /// Reads the metadata of a member from its header and its PAX records.
    pub(super) fn read(member: &Member, path: &Path) -> Result<Self, UnpackError> {
        let raw = member.header.as_old();
        let id = |key, field: &[u8], name| {
            let text = member.records.get(key);
            let id = match text {
                Some(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
                None => number(field),
            };
            // The last is not an id: chown(2) leaves the owner alone then.
            let id = id.and_then(|id: i64| u32::try_from(id).ok());
            id.filter(|id| *id != u32::MAX)
                .ok_or_else(|| path.field(name, &shown(text.unwrap_or(field))))
        };
        let owner = id(b"uid", &raw.uid, "owner")?;
        let group = id(b"gid", &raw.gid, "group")?;
        let mode = number(&raw.mode).and_then(|mode| u32::try_from(mode & 0o7777).ok());
        let mode = mode.ok_or_else(|| path.field("mode", &shown(&raw.mode)))?;
        let mtime = match member.records.get(b"mtime") {
            Some(text) => parse_time(text).ok_or_else(|| shown(text)),
            None => number(&raw.mtime)
                .map(|seconds| TimeSpec::new(seconds, 0))
                .ok_or_else(|| shown(&raw.mtime)),
        };
        let mut metadata = Self {
            mode: Mode::from_bits_truncate(mode),
            owner: Uid::from_raw(owner),
            group: Gid::from_raw(group),
            mtime: mtime.map_err(|text| path.field("modification time", &text))?,
            xattrs: Vec::new(),
            default_acl: None,
            left_out: Vec::new(),
        };
        metadata.read_attributes(member, path)?;
        Ok(metadata)
    }

    fn read_attributes(&mut self, member: &Member, path: &Path) -> Result<(), UnpackError> {
        let mut found: Vec<(OsString, Vec<u8>)> = Vec::new();
        for (key, value) in member.records.iter() {
            if let Some(name) = key.strip_prefix(SCHILY) {
                found.retain(|(known, _)| known.as_bytes() != name);
                found.push((OsStr::from_bytes(name).to_owned(), value.to_vec()));
            } else if let Some(name) = key.strip_prefix(LIBARCHIVE) {
                let unusable = || path.field("extended attribute", &shown(key));
                let name = percent_decode(name).ok_or_else(unusable)?;
                if found.iter().all(|(known, _)| *known != name) {
                    found.push((name, base64_decode(value).ok_or_else(unusable)?));
                }
            } else if AS_TEXT.iter().any(|prefix| key.starts_with(prefix)) {
                self.left_out.push(OsStr::from_bytes(key).to_owned());
            }
        }
        for (name, value) in found {
            if name.is_empty() || name.as_bytes().contains(&0) {
                return Err(path.field("extended attribute", &shown(name.as_bytes())));
            }
            self.attribute(name, value);
        }
        Ok(())
    }

    /// Sets everything on an open file or directory, but for the default access control list. The order matters: a
    /// change of owner clears the set-id bits and the file capabilities, and the mode is the upper bound of an
    /// access control list. What the file system refuses is left out.
    pub(super) fn apply(&mut self, file: &File, path: &Path) -> Result<(), UnpackError> {
        fchown(file, Some(self.owner), Some(self.group)).map_err(path.error("set the owner of"))?;
        self.set_attributes(path, file.as_fd(), |name, value| {
            file.set_xattr(name, value)
        })?;
        fchmod(file, self.mode).map_err(path.error("set the mode of"))?;
        futimens(file, &self.mtime, &self.mtime).map_err(path.error("set the times of"))
    }

    fn set_attributes(
        &mut self,
        path: &Path,
        place: BorrowedFd<'_>,
        set: impl Fn(&OsStr, &[u8]) -> io::Result<()>,
    ) -> Result<(), UnpackError> {
        for (name, value) in std::mem::take(&mut self.xattrs) {
            match set(&name, &value) {
                Ok(()) => {}
                Err(e) if is_refused(&e, &name) => self.left_out.push(name),
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && has_room(place, &value) => {
                    return Err(UnpackError::AttributeRoom {
                        path: path.to_path(),
                        name,
                        size: value.len(),
                    });
                }
                Err(source) => {
                    return Err(UnpackError::Attribute {
                        name,
                        path: path.to_path(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Sets owner, times and attributes, and the mode unless it is a link's, on something that cannot be opened.
    pub(super) fn apply_at(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        kind: Unopened,
    ) -> Result<(), UnpackError> {
        self.copy_at(parent, name, kind)
            .map_err(path.io_error("set owner, mode or times of"))?;
        self.set_attributes_at(parent, name, path)
    }

    fn set_attributes_at(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), UnpackError> {
        if self.xattrs.is_empty() {
            return Ok(());
        }
        let at = in_directory(parent, name);
        self.set_attributes(path, parent, |name, value| xattr::set(&at, name, value))
    }

    /// Sets what a further name of a file says over what the names before said, as containerd 2.4.2 does; `stat` is
    /// what is there. The same owner is not set again: file capabilities, which many writers tell with the first
    /// name only, would be lost.
    pub(super) fn apply_over(
        &mut self,
        stat: &FileStat,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<(), UnpackError> {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFLNK => Unopened::Symlink,
            _ => Unopened::Node,
        };
        let failed = path.io_error("set owner, mode or times of");
        if [stat.st_uid, stat.st_gid] != [self.owner.as_raw(), self.group.as_raw()] {
            self.own_at(parent, name).map_err(&failed)?;
        }
        self.set_attributes_at(parent, name, path)?;
        self.mode_and_times_at(parent, name, kind).map_err(&failed)
    }
}

/// Whether a file cannot have the attribute, as containerd decides it: the file system has none of that kind, or
/// `user.` is for files and directories only (xattr(7)).
fn is_refused(error: &io::Error, name: &OsStr) -> bool {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
    errno == Errno::EOPNOTSUPP || (errno == Errno::EPERM && name.as_bytes().starts_with(b"user."))
}

/// Whether a file system is not full, so that it has no room for a value in one file only: ext4 keeps all attributes
/// of a file in one block.
fn has_room(place: BorrowedFd<'_>, value: &[u8]) -> bool {
    let Ok(facts) = fstatvfs(place) else {
        return false;
    };
    // The root user may have what is reserved.
    facts.blocks_free() * facts.fragment_size() > value.len() as u64 + MIN_FREE_BYTES
}

/// A path to something in an open directory that cannot be opened itself.
fn in_directory(parent: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    path.push(name);
    path
}

/// A field of a header as text.
fn shown(field: &[u8]) -> String {
    let end = field.iter().rposition(|byte| *byte != 0);
    let field = &field[..end.map_or(0, |end| end + 1)];
    String::from_utf8_lossy(field).into_owned()
}

fn percent_decode(text: &[u8]) -> Option<OsString> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let byte = hex::decode(tail.get(..2)?).ok()?;
            name.extend_from_slice(&byte);
            rest = &tail[2..];
        } else {
            name.push(*first);
            rest = tail;
        }
    }
    Some(OsString::from_vec(name))
}

/// libarchive writes no padding.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let padded = STANDARD.decode(text).ok();
    padded.or_else(|| STANDARD_NO_PAD.decode(text).ok())
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
