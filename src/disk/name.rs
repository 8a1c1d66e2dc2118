//! Names of files: one path component, validated once.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The longest file name Linux file systems take, in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// The prefix of the temporaries of [`super::Dir::replace`]; no caller may use it.
pub(super) const TEMPORARY_PREFIX: &str = ".holdfast-tmp.";

/// One component of a path: never empty, `.` or `..`, and free of `/` and NUL.
///
/// Deletion takes only this type, so that "delete the parent" and "delete everything" cannot be
/// written down.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(OsString);

/// Why a text is not a [`FileName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// The text is empty.
    #[error("a file name may not be empty")]
    Empty,
    /// The text is `.` or `..`.
    #[error("{0:?} names a directory relative to another one and is not a file name")]
    Relative(OsString),
    /// The text contains `/` or NUL.
    #[error("file name {0:?} contains a slash or a NUL byte")]
    Separator(OsString),
    /// The text is longer than 255 bytes.
    #[error("file name of {0} bytes is longer than 255 bytes")]
    TooLong(usize),
    /// The text begins like the temporaries of an interrupted replacement.
    #[error("file name {0:?} is reserved for files being replaced")]
    Reserved(OsString),
}

impl FileName {
    /// Validates `name`; see [`FileNameError`] for what is refused.
    pub fn new(name: impl AsRef<OsStr>) -> Result<Self, FileNameError> {
        let name = Self::any(name.as_ref())?;
        if name.is_temporary() {
            return Err(FileNameError::Reserved(name.0));
        }
        Ok(name)
    }

    /// Accepts, besides the names of [`FileName::new`], those of temporaries, as found in a directory.
    pub(super) fn any(name: &OsStr) -> Result<Self, FileNameError> {
        let bytes = name.as_bytes();
        if bytes.is_empty() {
            return Err(FileNameError::Empty);
        }
        if bytes == b"." || bytes == b".." {
            return Err(FileNameError::Relative(name.to_owned()));
        }
        if bytes.contains(&b'/') || bytes.contains(&0) {
            return Err(FileNameError::Separator(name.to_owned()));
        }
        if bytes.len() > NAME_MAX {
            return Err(FileNameError::TooLong(bytes.len()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Whether an interrupted replacement left this file behind.
    pub(super) fn is_temporary(&self) -> bool {
        self.0.as_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
    }

    /// The name as the kernel takes it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name as text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.0.to_str()
    }
}

impl AsRef<OsStr> for FileName {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl AsRef<std::path::Path> for FileName {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

impl TryFrom<&str> for FileName {
    type Error = FileNameError;

    fn try_from(name: &str) -> Result<Self, FileNameError> {
        Self::new(name)
    }
}

impl std::str::FromStr for FileName {
    type Err = FileNameError;

    fn from_str(name: &str) -> Result<Self, FileNameError> {
        Self::new(name)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.to_string_lossy(), f)
    }
}
