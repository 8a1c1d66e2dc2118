//! Paths of a request, checked once. Both kinds are cleaned; a host path is absolute, and a container path stays in
//! the root.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a path of a request is refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PathError {
    /// The path is empty.
    #[error("{field}: the path is empty; give a path")]
    Empty {
        /// Field of the request.
        field: String,
    },
    /// The path has to start with a slash.
    #[error("{field}: invalid value {path:?}: give an absolute path")]
    Relative {
        /// Field of the request.
        field: String,
        path: String,
    },
    /// The components `..` of a container path lead out of the root.
    #[error(
        "{field}: invalid value {path:?}: the path leads out of the container's root; give a path within it"
    )]
    Escape {
        /// Field of the request.
        field: String,
        path: String,
    },
    /// The path has a NUL byte or is longer than `PATH_MAX`.
    #[error("{field}: invalid value {path:?}: give a path of at most 4095 bytes without NUL bytes")]
    Unusable {
        /// Field of the request.
        field: String,
        /// The first characters of the path.
        path: String,
    },
}

/// `PATH_MAX` of Linux without the closing NUL, in bytes.
const MAX_BYTES: usize = 4095;

fn check(field: &str, text: &str) -> Result<(), PathError> {
    let field = field.to_owned();
    if text.is_empty() {
        return Err(PathError::Empty { field });
    }
    let path = shown(text);
    if text.len() > MAX_BYTES || text.contains('\0') {
        return Err(PathError::Unusable { field, path });
    }
    Ok(())
}

/// The first characters of a path, for an error.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Cleans a path that starts at the root, as Go's path.Clean does: `..` removes the component before it, without a
/// look at the disk. `None` when there is no component before it.
fn clean(text: &str) -> Option<String> {
    let (cleaned, climbs) = clean_at_root(text);
    (!climbs).then_some(cleaned)
}

/// A cleaned path, and whether a `..` of it had no component before it: above the root is the root.
fn clean_at_root(text: &str) -> (String, bool) {
    let mut climbs = false;
    let mut out = String::with_capacity(text.len() + 1);
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => match out.rfind('/') {
                Some(end) => out.truncate(end),
                None => climbs = true,
            },
            part => {
                out.push('/');
                out.push_str(part);
            }
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    (out, climbs)
}

/// An absolute path on the host, cleaned as Go's filepath.Clean does: no `..` is left in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPath(String);

impl HostPath {
    /// Checks `text`; `field` names the request's field in the error.
    ///
    /// # Errors
    /// [`PathError`] for an empty or relative path and for a NUL byte.
    pub fn new(field: &str, text: &str) -> Result<Self, PathError> {
        check(field, text)?;
        if !text.starts_with('/') {
            return Err(PathError::Relative {
                field: field.to_owned(),
                path: shown(text),
            });
        }
        Ok(Self(clean_at_root(text).0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as [`Path`].
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for HostPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new("host path", &text)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0
    }
}

/// A path inside a container's root: cleaned, and always written from the root. Links on it are resolved in the
/// root, after the components `..` are gone, as the reference runtimes do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerPath(String);

impl ContainerPath {
    /// Checks `text`; a relative path is taken from the container's root, as runc does.
    ///
    /// # Errors
    /// [`PathError`] for an empty path, for `..` that leads out of the root and for a NUL byte.
    pub fn new(field: &str, text: &str) -> Result<Self, PathError> {
        check(field, text)?;
        let escape = || PathError::Escape {
            field: field.to_owned(),
            path: shown(text),
        };
        clean(text).map(Self).ok_or_else(escape)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Number of components: mounts are made from the shallow to the deep.
    pub fn depth(&self) -> usize {
        self.0.split('/').filter(|part| !part.is_empty()).count()
    }
}

impl TryFrom<String> for ContainerPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new("container path", &text)
    }
}

impl From<ContainerPath> for String {
    fn from(path: ContainerPath) -> Self {
        path.0
    }
}
