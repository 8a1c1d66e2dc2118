//! The state of one extraction, and what is done with each entry.

use super::archive::Archive;
use super::error::UnpackError;
use super::member::Member;
use super::path::{Path, to_path};
use super::root::{LastTouch, Root, Touched};
use super::usage::{LeftOut, Limits, Standing, Unpacked};
use crate::metadata::{DEFAULT_ACL, Metadata};
use std::io::Read;
use tar::EntryType;

/// The size of the copy buffer, in bytes.
const BUFFER: usize = 128 << 10;
/// The prefix of names that hide another (image specification, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The rest, after the prefix, of the name that hides all of the lower directory.
pub(super) const OPAQUE: &[u8] = b".wh..opq";

/// The state of one extraction.
pub(super) struct Extraction<'a> {
    pub(super) root: Root<'a>,
    pub(super) limits: Limits,
    pub(super) entries: u64,
    pub(super) content: u64,
    pub(super) usage: Unpacked,
    /// Metadata that is set on directories at the end.
    pub(super) directories: Vec<LastTouch>,
    pub(super) left_out: LeftOut,
    pub(super) buffer: Vec<u8>,
}

impl<'a> Extraction<'a> {
    /// Begins the extraction of a layer below `root`.
    pub(super) fn new(root: Root<'a>, limits: Limits) -> Self {
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
            buffer: vec![0; BUFFER],
        }
    }

    /// Extracts one member of the archive: a file, or a whiteout.
    pub(super) fn take<R: Read>(
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
    pub(super) fn count(&mut self, path: &Path, stored: u64) -> Result<(), UnpackError> {
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

    /// Sets the metadata of directories, which making their entries has changed, and returns the space of the layer.
    pub(super) fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let implied = std::mem::take(&mut self.root.implied);
        self.usage.inodes += implied.len() as u64;
        self.usage.bytes += 4096 * implied.len() as u64;
        // The listed ones last: one may have been implied before.
        for touch in implied.iter().chain(&self.directories) {
            if self.root.touch(touch)? == Touched::WithoutAcl {
                let path = Path::parse(&touch.path)?;
                self.left_out.add(&path, [DEFAULT_ACL.into()]);
            }
        }
        if self.root.depends() {
            self.usage.standing = Standing::OnLower;
        }
        self.usage.left_out = self.left_out;
        Ok(self.usage)
    }
}
