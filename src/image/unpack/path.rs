//! The names of entries, as an archive has them.

use super::error::{UnpackError, failed};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The name of an entry, relative to the layer's root, without `.`, `..` and empty components.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) bytes: Vec<u8>,
}

impl Path {
    /// Cleans a name as Go's path.Clean does, with which containerd and CRI-O begin: `..` takes the component
    /// before it away, whatever that is on the disk.
    ///
    /// # Errors
    /// The name leads out of the layer. CRI-O refuses `../x` too; containerd takes it for `x`.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, UnpackError> {
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
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.bytes
            .rsplit(|b| *b == b'/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// The components before the last one, empty for an entry of the root.
    pub(super) fn parent(&self) -> &[u8] {
        match self.bytes.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.bytes[..slash],
            None => b"",
        }
    }

    /// Returns the path relative to the root of the layer.
    pub(super) fn to_path(&self) -> PathBuf {
        to_path(&self.bytes)
    }

    /// The error of an unusable field of the entry.
    pub(super) fn field(&self, field: &'static str, value: &str) -> UnpackError {
        UnpackError::Field {
            path: self.to_path(),
            field,
            value: value.to_owned(),
        }
    }

    /// The error of an entry that cannot be unpacked, with the end of the sentence about the entry.
    pub(super) fn broken(&self, what: &str) -> UnpackError {
        UnpackError::Broken {
            path: self.to_path(),
            what: what.to_owned(),
        }
    }

    /// Returns a function that makes the error of a failed system call on the entry.
    pub(super) fn error(
        &self,
        operation: &'static str,
    ) -> impl Fn(nix::errno::Errno) -> UnpackError + '_ {
        move |errno| failed(operation, self.to_path(), errno.into())
    }

    /// Returns a function that makes the error of a failed read or write on the entry.
    pub(super) fn io_error(
        &self,
        operation: &'static str,
    ) -> impl Fn(io::Error) -> UnpackError + '_ {
        move |source| failed(operation, self.to_path(), source)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_path())
    }
}

/// A name of an archive as a path of this machine.
pub(super) fn to_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
