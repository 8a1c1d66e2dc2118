//! Extracts a layer's tar stream into a directory, in overlay's form.
//!
//! A layer is hostile input. Every entry is created relative to a descriptor of its parent, which is
//! resolved beneath the layer's own root (`RESOLVE_IN_ROOT`: an absolute link or `..` in a link ends
//! at that root); a name that leads out, an oversized header, too many entries or too many bytes end the
//! extraction. Nothing here follows a final symbolic link, or sets `trusted.*` attributes that a layer asks
//! for; what is left out is said.
//!
//! Nearly every layer stands alone: it lists the directories its entries lie in, and its hard links lead
//! to its own files. One that does not depends on the layers below, and only then they are asked for:
//! what it lacks is copied up into it, as overlay would have done when the layer was made.
//!
//! OCI whiteouts (image specification, "Representing Changes") become overlay's: `.wh.NAME` a
//! character device 0:0, `.wh..wh..opq` the attribute `trusted.overlay.opaque=y`.

mod archive;
mod copy_up;
mod create;
mod metadata;
mod pax;
mod root;
mod sparse;

#[cfg(test)]
mod tests;

use super::{Digest, ViewError};
use archive::{Archive, Member};
use holdfast_disk::Dir;
pub(super) use metadata::{Metadata, Unopened};
use root::{LastTouch, Root, Touched};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use tar::EntryType;

/// What a hostile layer may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries of the archive, the ones that describe others included.
    pub entries: u64,
    /// Content of all files together without their holes, in bytes.
    pub bytes: u64,
}

/// What an unpacked layer takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Content without the holes of sparse files, rounded up to blocks of 4 KiB, in bytes.
    pub bytes: u64,
    /// Files, directories and all others created.
    pub inodes: u64,
    /// Whether the result is the same above all other layers.
    pub standing: Standing,
    /// What the layer says and the image does not get.
    pub left_out: LeftOut,
}

/// What the unpacked form of a layer follows from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// From the layer alone.
    #[default]
    Alone,
    /// From the layers below too.
    OnLower,
}

/// Gives the directories of the layers below, the top one first; `None` while one of them is not there yet.
pub(super) type Below<'a> = &'a dyn Fn() -> Option<Vec<File>>;

/// Why a layer was not extracted.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The stream ended early, or is no tar stream.
    #[error("cannot read the tar stream of the layer")]
    Read(#[source] io::Error),
    /// A name leads out of the layer.
    #[error("layer entry {0:?} leads out of the layer: the image is hostile or broken")]
    Escape(PathBuf),
    /// An entry could not be created.
    #[error("cannot {operation} {} of the layer", path.display())]
    Create {
        /// What was attempted.
        operation: &'static str,
        /// The entry.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An extended attribute could not be set.
    #[error("cannot set the extended attribute {} of {} of the layer", name.display(), path.display())]
    Attribute {
        /// Its name.
        name: OsString,
        /// The entry.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The file system has room, but not for so many attributes of one file.
    #[error(
        "layer entry {path:?} has {size} bytes of the extended attribute {}, more than the file system of the images \
         can keep for one file: put the images on another file system, or build the image again without it",
        name.display()
    )]
    AttributeRoom {
        /// The entry.
        path: PathBuf,
        /// The attribute.
        name: OsString,
        /// The bytes of its value.
        size: usize,
    },
    /// An entry says what no file system can hold.
    #[error("layer entry {path:?} has an unusable {field} {value:?}: build the image again")]
    Field {
        /// The entry.
        path: PathBuf,
        /// The header's field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// An entry that makes no sense, or none with those before it.
    #[error("layer entry {path:?} {what}: build the image again")]
    Broken {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A kind of entry that cannot be extracted faithfully.
    #[error(
        "layer entry {path:?} is of the unknown kind {kind:?}: build the image again without it"
    )]
    Unsupported {
        /// The entry.
        path: PathBuf,
        /// The kind as the header has it.
        kind: char,
    },
    /// An entry leads to the layers below, which are not there yet: not a failure of the layer.
    #[error("layer entry {0:?} depends on the layers below")]
    NeedsLower(PathBuf),
    /// A lower layer could not be read.
    #[error("cannot look for {path:?} in the layers below")]
    Lower {
        /// The path in the image.
        path: PathBuf,
        /// What happened.
        #[source]
        source: ViewError,
    },
    /// More entries than the limit.
    #[error(
        "the layer has more than {0} entries: raise image.max_layer_entries if the image is trusted"
    )]
    TooManyEntries(u64),
    /// More content than the limit.
    #[error(
        "with {path:?} the layer unpacks to more than {limit} bytes: raise image.max_layer_size if the image is trusted"
    )]
    TooLarge {
        /// The entry with which it does.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl UnpackError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        let (Self::Create { source, .. } | Self::Attribute { source, .. }) = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether one of the limits was met.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooManyEntries(_) | Self::TooLarge { .. })
    }

    /// Whether the machine refused, and not the layer is wrong: an attribute whose value is none of its kind, such
    /// as an access control list, is the layer's.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Create { source, .. } | Self::Attribute { source, .. } => {
                let errno = source.raw_os_error().unwrap_or_default();
                ![libc::EINVAL, libc::ERANGE, libc::E2BIG, libc::EFBIG].contains(&errno)
            }
            Self::Lower { .. } => true,
            _ => false,
        }
    }

    /// Whether the layer can be extracted as soon as the layers below are there.
    pub fn needs_lower(&self) -> bool {
        matches!(self, Self::NeedsLower(_))
    }
}

/// Extracts `tar` into `dir`, which is empty and reachable by nobody else.
///
/// The stream is read to the end of the archive, not to its own end.
///
/// # Errors
/// [`UnpackError::NeedsLower`] when `below` is needed and has no answer.
pub(super) fn unpack(
    tar: impl Read,
    dir: &Dir,
    limits: Limits,
    below: Below<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut archive = Archive::new(tar);
    let mut extraction = Extraction::new(Root::new(dir, below)?, limits);
    while let Some(member) = archive.next()? {
        extraction.take(&mut archive, &member)?;
    }
    extraction.finish()
}

/// The state of one extraction.
struct Extraction<'a> {
    root: Root<'a>,
    limits: Limits,
    entries: u64,
    content: u64,
    usage: Unpacked,
    /// What is set on directories last.
    directories: Vec<LastTouch>,
    left_out: LeftOut,
    buffer: Vec<u8>,
}

impl<'a> Extraction<'a> {
    fn new(root: Root<'a>, limits: Limits) -> Self {
        Self {
            root,
            limits,
            entries: 0,
            content: 0,
            usage: Unpacked {
                bytes: 4096,
                inodes: 1,
                ..Unpacked::default()
            },
            directories: Vec::new(),
            left_out: LeftOut::default(),
            buffer: vec![0; create::BUFFER],
        }
    }

    fn take<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        member: &Member,
    ) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries + self.root.implied.len() as u64 > self.limits.entries {
            return Err(UnpackError::TooManyEntries(self.limits.entries));
        }
        let path = Path::parse(&member.name)?;
        let metadata = Metadata::read(member, &path)?;
        let Some(name) = path.name() else {
            if member.kind != EntryType::Directory {
                // containerd 2.4.2 passes over whatever is called like the root.
                tracing::debug!(entry = %to_path(&member.name).display(), "passed over a layer entry that is the root");
                return Ok(());
            }
            return self.set_root(&path, metadata);
        };
        match name.strip_prefix(WHITEOUT_PREFIX) {
            Some(hidden) => self.whiteout(&path, hidden),
            None => self.create((archive, member), &path, metadata),
        }
    }

    /// Counts a file of which so much is stored: holes take no room.
    fn count(&mut self, path: &Path, stored: u64) -> Result<(), UnpackError> {
        self.content = self.content.saturating_add(stored);
        if self.content > self.limits.bytes {
            return Err(UnpackError::TooLarge {
                path: path.to_path(),
                limit: self.limits.bytes,
            });
        }
        let rounded = stored
            .checked_next_multiple_of(4096)
            .ok_or_else(|| path.field("size", &stored.to_string()))?;
        self.usage.bytes += rounded;
        self.usage.inodes += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let implied = std::mem::take(&mut self.root.implied);
        self.usage.inodes += implied.len() as u64;
        self.usage.bytes += 4096 * implied.len() as u64;
        // The listed ones last: one may have been implied before.
        for touch in implied.iter().chain(&self.directories) {
            if self.root.touch(touch)? == Touched::WithoutAcl {
                let path = Path::parse(&touch.path)?;
                self.left_out.add(&path, [metadata::DEFAULT_ACL.into()]);
            }
        }
        if self.root.depends() {
            self.usage.standing = Standing::OnLower;
        }
        self.usage.left_out = self.left_out;
        Ok(self.usage)
    }
}

/// Extended attributes of a layer that the image does not get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// By name: the first entry that has it, and how many have.
    attributes: BTreeMap<OsString, (PathBuf, u64)>,
}

impl LeftOut {
    fn add(&mut self, path: &Path, names: impl IntoIterator<Item = OsString>) {
        for name in names {
            let (_, count) = self
                .attributes
                .entry(name)
                .or_insert_with(|| (path.to_path(), 0));
            *count += 1;
        }
    }

    /// Tells the operator, a line an attribute.
    pub(crate) fn report(&self, layer: &Digest) {
        for (name, (first, count)) in &self.attributes {
            tracing::warn!(%layer, attribute = %name.display(), entries = count, first = %first.display(),
                "left out an extended attribute that images cannot set or the file system does not have");
        }
    }
}

/// The prefix of names that hide another (image specification, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// What follows the prefix in the name that hides all of the lower directory.
const OPAQUE: &[u8] = b".wh..opq";

/// The name of an entry, relative to the layer's root, without `.`, `..` and empty components.
#[derive(Debug)]
struct Path {
    bytes: Vec<u8>,
}

impl Path {
    /// Cleans a name as Go's path.Clean does, with which containerd and CRI-O begin: `..` takes the component
    /// before it away, whatever that is on the disk.
    ///
    /// # Errors
    /// The name leads out of the layer. CRI-O refuses `../x` too; containerd takes it for `x`.
    fn parse(raw: &[u8]) -> Result<Self, UnpackError> {
        let mut bytes = Vec::with_capacity(raw.len());
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." if bytes.is_empty() => return Err(UnpackError::Escape(to_path(raw))),
                b".." => bytes.truncate(bytes.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                name => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name);
                }
            }
        }
        let path = Self { bytes };
        match path.bytes.contains(&0) {
            true => Err(path.field("name", "with a zero byte")),
            false => Ok(path),
        }
    }

    /// The last component, `None` for the root itself.
    fn name(&self) -> Option<&[u8]> {
        self.bytes
            .rsplit(|b| *b == b'/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// The components before the last one, empty for an entry of the root.
    fn parent(&self) -> &[u8] {
        match self.bytes.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.bytes[..slash],
            None => b"",
        }
    }

    fn to_path(&self) -> PathBuf {
        to_path(&self.bytes)
    }

    fn field(&self, field: &'static str, value: &str) -> UnpackError {
        UnpackError::Field {
            path: self.to_path(),
            field,
            value: value.to_owned(),
        }
    }

    fn broken(&self, what: &str) -> UnpackError {
        UnpackError::Broken {
            path: self.to_path(),
            what: what.to_owned(),
        }
    }

    fn error(&self, operation: &'static str) -> impl Fn(nix::errno::Errno) -> UnpackError + '_ {
        move |errno| failed(operation, self.to_path(), errno.into())
    }

    fn io_error(&self, operation: &'static str) -> impl Fn(io::Error) -> UnpackError + '_ {
        move |source| failed(operation, self.to_path(), source)
    }
}

/// What the kernel's answer means. Nobody else uses the directory, so that some answers can only come from the
/// entries.
fn failed(operation: &'static str, path: PathBuf, source: io::Error) -> UnpackError {
    let what = match source.raw_os_error() {
        Some(libc::ENOENT) => "needs something that an earlier entry has replaced",
        Some(libc::ENOTDIR) => "is needed as a directory and is none",
        Some(libc::ELOOP) => "leads through too many symbolic links",
        Some(libc::ENAMETOOLONG) => "has a name or a target that is too long",
        _ => {
            return UnpackError::Create {
                operation,
                path,
                source,
            };
        }
    };
    let what = what.to_owned();
    UnpackError::Broken { path, what }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_path())
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
