//! The limits of a layer, and the space of an unpacked layer.

use super::path::Path;
use crate::digest::Digest;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The limits that a hostile layer cannot exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries of the archive, the ones that describe others included.
    pub entries: u64,
    /// Content of all files together without their holes, in bytes.
    pub bytes: u64,
}

/// The space of an unpacked layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Content without the holes of sparse files, rounded up to blocks of 4 KiB, in bytes.
    pub bytes: u64,
    /// Files, directories and all others created.
    pub inodes: u64,
    /// Whether the result is the same above all other layers.
    pub standing: Standing,
    /// Attributes in the layer that the image does not get.
    pub left_out: LeftOut,
}

/// The layers that the unpacked form of a layer depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// From the layer alone.
    #[default]
    Alone,
    /// From the layers below too.
    OnLower,
}

/// Extended attributes of a layer that the image does not get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// For each name the first entry that has the attribute, and the number of such entries.
    pub(super) attributes: BTreeMap<OsString, (PathBuf, u64)>,
}

impl LeftOut {
    /// Counts the attributes of an entry that the image does not get.
    pub(super) fn add(&mut self, path: &Path, names: impl IntoIterator<Item = OsString>) {
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
