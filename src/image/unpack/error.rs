//! Why a layer was not extracted.

use crate::overlay::ViewError;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why a layer was not extracted.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The stream ended early, or is not a tar stream.
    #[error("cannot read the tar stream of the layer")]
    Read(#[source] io::Error),
    /// A name leads out of the layer.
    #[error("layer entry {0:?} leads out of the layer: the image is hostile or broken")]
    Escape(PathBuf),
    /// An entry could not be created.
    #[error("cannot {operation} {} of the layer", path.display())]
    Create {
        /// The operation that failed, as a verb.
        operation: &'static str,
        /// The name of the entry in the layer.
        path: PathBuf,
        /// The error that the kernel gave.
        #[source]
        source: io::Error,
    },
    /// An extended attribute could not be set.
    #[error("cannot set the extended attribute {} of {} of the layer", name.display(), path.display())]
    Attribute {
        /// The name of the attribute.
        name: OsString,
        /// The name of the entry in the layer.
        path: PathBuf,
        /// The error that the kernel gave.
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
        /// The name of the entry in the layer.
        path: PathBuf,
        /// The name of the attribute.
        name: OsString,
        /// The bytes of its value.
        size: usize,
    },
    /// An entry says what no file system can hold.
    #[error("layer entry {path:?} has an unusable {field} {value:?}: build the image again")]
    Field {
        /// The name of the entry in the layer.
        path: PathBuf,
        /// The field of the header.
        field: &'static str,
        /// The value of the field.
        value: String,
    },
    /// An entry that makes no sense, or none with those before it.
    #[error("layer entry {path:?} {what}: build the image again")]
    Broken {
        /// The name of the entry in the layer.
        path: PathBuf,
        /// Description of the fault.
        what: String,
    },
    /// A kind of entry that cannot be extracted faithfully.
    #[error(
        "layer entry {path:?} is of the unknown kind {kind:?}: build the image again without it"
    )]
    Unsupported {
        /// The name of the entry in the layer.
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
        /// The cause of the failure.
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
        /// The limit in bytes.
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

    /// Whether this machine refused although the layer is right. An attribute whose value is not of its kind, such
    /// as an access control list, is the layer's.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Create { source, .. } | Self::Attribute { source, .. } => {
                let errno = source.raw_os_error().unwrap_or_default();
                ![libc::EINVAL, libc::ERANGE, libc::E2BIG, libc::EFBIG].contains(&errno)
            }
            Self::Lower { .. } => true,
            Self::Read(_)
            | Self::Escape(_)
            | Self::AttributeRoom { .. }
            | Self::Field { .. }
            | Self::Broken { .. }
            | Self::Unsupported { .. }
            | Self::NeedsLower(_)
            | Self::TooManyEntries(_)
            | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the layer can be extracted as soon as the layers below are there.
    pub fn needs_lower(&self) -> bool {
        matches!(self, Self::NeedsLower(_))
    }
}

/// Tells faults of the layer from those of the machine by the kernel's error. Nobody else uses the directory, so that
/// some answers can only come from the entries.
pub(super) fn failed(operation: &'static str, path: PathBuf, source: io::Error) -> UnpackError {
    let what = match source.raw_os_error() {
        Some(libc::ENOENT) => "needs something that an earlier entry has replaced",
        Some(libc::ENOTDIR) => "is needed as a directory, which it is not",
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
