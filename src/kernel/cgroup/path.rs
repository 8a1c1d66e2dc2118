//! The path of a group inside the hierarchies.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CgroupError;

/// Longest accepted path in bytes; the kernel's own limit for a path is PATH_MAX (4,096), of which the mount
/// point and a file name take a part.
const PATH_LIMIT: usize = 2048;
/// Longest accepted component: NAME_MAX.
const NAME_LIMIT: usize = 255;

/// A validated path of a group: absolute inside the hierarchy, without `.`, `..`, empty components or NUL,
/// and never the root itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Parses a path such as `/kubepods/burstable/pod1234/abcd`. The leading slash may be missing and a
    /// trailing or doubled one is dropped, because CRI clients write all of these.
    ///
    /// # Errors
    /// [`CgroupError::InvalidPath`] when nothing is left, a component is `.` or `..`, holds a NUL or a line
    /// break, or is too long.
    pub fn new(path: &str) -> Result<CgroupPath, CgroupError> {
        let refuse = |reason| CgroupError::InvalidPath {
            path: path.chars().take(256).collect(),
            reason,
        };
        if path.len() > PATH_LIMIT {
            return Err(refuse("it is longer than 2048 bytes"));
        }
        let mut clean = String::with_capacity(path.len());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if name == "." || name == ".." {
                return Err(refuse("`.` and `..` are not allowed in it"));
            }
            if name.len() > NAME_LIMIT {
                return Err(refuse("a component is longer than 255 bytes"));
            }
            if name.bytes().any(|b| b == 0 || b == b'\n') {
                return Err(refuse("it holds a NUL or a line break"));
            }
            clean.push('/');
            clean.push_str(name);
        }
        if clean.is_empty() {
            return Err(refuse("it names the root of the hierarchy"));
        }
        Ok(CgroupPath(clean))
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// As [`CgroupPath::new`]; also when `name` holds a slash.
    pub fn join(&self, name: &str) -> Result<CgroupPath, CgroupError> {
        if name.is_empty() || name.contains('/') {
            return Err(CgroupError::InvalidPath {
                path: name.chars().take(256).collect(),
                reason: "one non-empty component is wanted",
            });
        }
        CgroupPath::new(&format!("{}/{name}", self.0))
    }

    /// The path without its last component, or None for a child of the root.
    pub fn parent(&self) -> Option<CgroupPath> {
        let (parent, _) = self.0.rsplit_once('/')?;
        (!parent.is_empty()).then(|| CgroupPath(parent.to_owned()))
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path relative to the root of a hierarchy, as `openat` wants it.
    pub(super) fn relative(&self) -> &str {
        self.0.trim_start_matches('/')
    }

    /// The relative path of the parent (`.` for the root) and the last component.
    pub(super) fn split(&self) -> (&str, &str) {
        match self.relative().rsplit_once('/') {
            Some((parent, leaf)) => (parent, leaf),
            None => (".", self.relative()),
        }
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CgroupPath({})", self.0)
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = CgroupError;

    fn try_from(path: String) -> Result<CgroupPath, CgroupError> {
        CgroupPath::new(&path)
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> String {
        path.0
    }
}
