//! Extracts a layer's tar stream into a directory, in overlay's form.
//!
//! A layer is hostile input. Every entry is created relative to a descriptor of its parent, which is
//! resolved beneath the layer's own root (`RESOLVE_IN_ROOT`: an absolute link or `..` in a link ends
//! at that root); `..` in a name, an oversized header, too many entries or too many bytes end the
//! extraction. Nothing here follows a final symbolic link, sets `trusted.*` attributes a layer asks
//! for.
//!
//! Nearly every layer stands alone: it lists the directories its entries lie in, and its hard links lead
//! to its own files. One that does not depends on the layers below, and only then they are asked for:
//! what it lacks is copied up into it, as overlay would have done when the layer was made.
//!
//! OCI whiteouts (image specification, "Representing Changes") become overlay's: `.wh.NAME` a
//! character device 0:0, `.wh..wh..opq` the attribute `trusted.overlay.opaque=y`.

mod copy_up;
mod create;
mod metadata;
mod root;
mod sparse;
mod stream;

#[cfg(test)]
mod tests;

use super::ViewError;
use crate::disk::Dir;
pub(super) use metadata::{Metadata, Unopened};
use root::Root;
use sparse::Sparse;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use stream::Metered;
use tar::EntryType;

/// What a hostile layer may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries of the archive, the ones that describe others included.
    pub entries: u64,
    /// Content of all files together, in bytes.
    pub bytes: u64,
}

/// What an unpacked layer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Content rounded up to blocks of 4 KiB, in bytes.
    pub bytes: u64,
    /// Files, directories and all others created.
    pub inodes: u64,
    /// Whether the result is the same above all other layers.
    pub standing: Standing,
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
    /// An entry says what no file system can hold.
    #[error("layer entry {path:?} has an unusable {field}")]
    Field {
        /// The entry.
        path: PathBuf,
        /// The header's field.
        field: &'static str,
    },
    /// A kind of entry that cannot be extracted faithfully.
    #[error("layer entry {path:?} is {kind}, which is not supported")]
    Unsupported {
        /// The entry.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
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
    #[error("the layer has more than {0} entries: raise the limit if the image is trusted")]
    TooManyEntries(u64),
    /// More content than the limit.
    #[error("the layer unpacks to more than {0} bytes: raise the limit if the image is trusted")]
    TooLarge(u64),
}

impl UnpackError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        let Self::Create { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether one of the limits was met.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooManyEntries(_) | Self::TooLarge(_))
    }

    /// Whether the machine refused, and not the layer is wrong.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Lower { .. })
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
    let metered = Metered::new(tar);
    let allowance = metered.allowance();
    let mut archive = tar::Archive::new(metered);
    let mut entries = archive.entries().map_err(UnpackError::Read)?;
    let mut extraction = Extraction::new(Root::new(dir, below)?, limits);
    loop {
        allowance.headers_only();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(UnpackError::Read)?;
        allowance.unlimited();
        extraction.take(&mut entry)?;
        // An entry that carries content it should not have is skipped here, not in the next header.
        io::copy(&mut entry, &mut io::sink()).map_err(UnpackError::Read)?;
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
    /// Modification times of directories, set last because creating in them changes them.
    directories: Vec<(Vec<u8>, nix::sys::time::TimeSpec)>,
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
                standing: Standing::Alone,
            },
            directories: Vec::new(),
            buffer: vec![0; create::BUFFER],
        }
    }

    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries + self.root.implied.len() as u64 > self.limits.entries {
            return Err(UnpackError::TooManyEntries(self.limits.entries));
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let mut sparse = Sparse::read(entry)?;
        let path = match sparse.as_mut().and_then(|sparse| sparse.name.take()) {
            Some(name) => Path::parse(&name)?,
            None => Path::parse(&entry.path_bytes())?,
        };
        let metadata = Metadata::read(entry, &path)?;
        let Some(name) = path.name() else {
            return self.set_root(kind, &path, &metadata);
        };
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            return self.whiteout(&path, hidden);
        }
        match sparse {
            Some(sparse) => self.sparse_file(entry, sparse, &path, &metadata),
            None => self.create(entry, &path, &metadata),
        }
    }

    fn count(&mut self, path: &Path, size: u64) -> Result<(), UnpackError> {
        self.content = self.content.saturating_add(size);
        if self.content > self.limits.bytes {
            return Err(UnpackError::TooLarge(self.limits.bytes));
        }
        let rounded = size
            .checked_next_multiple_of(4096)
            .ok_or_else(|| path.field("size"))?;
        self.usage.bytes += rounded;
        self.usage.inodes += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let implied = std::mem::take(&mut self.root.implied);
        self.usage.inodes += implied.len() as u64;
        self.usage.bytes += 4096 * implied.len() as u64;
        // The listed ones last: one may have been implied before.
        for (path, mtime) in implied.into_iter().chain(self.directories) {
            self.root.set_directory_time(&path, &mtime)?;
        }
        if self.root.depends() {
            self.usage.standing = Standing::OnLower;
        }
        Ok(self.usage)
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
    fn parse(raw: &[u8]) -> Result<Self, UnpackError> {
        let mut bytes = Vec::with_capacity(raw.len());
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(UnpackError::Escape(to_path(raw))),
                name => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(name);
                }
            }
        }
        if bytes.contains(&0) {
            return Err(UnpackError::Field {
                path: to_path(raw),
                field: "name",
            });
        }
        Ok(Self { bytes })
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

    fn field(&self, field: &'static str) -> UnpackError {
        UnpackError::Field {
            path: self.to_path(),
            field,
        }
    }

    fn error(&self, operation: &'static str) -> impl Fn(nix::errno::Errno) -> UnpackError + '_ {
        move |errno| UnpackError::Create {
            operation,
            path: self.to_path(),
            source: errno.into(),
        }
    }

    fn io_error(&self, operation: &'static str) -> impl Fn(io::Error) -> UnpackError + '_ {
        move |source| UnpackError::Create {
            operation,
            path: self.to_path(),
            source,
        }
    }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
