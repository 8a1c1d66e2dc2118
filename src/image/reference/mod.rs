//! Image references: the names people write, made canonical.
//!
//! The grammar and the defaults are those of the distribution project's `reference` package, which
//! every CRI runtime follows: a first component without dot, colon or capital that is not
//! `localhost` is not a host, the default host is `docker.io`, a single component there lies in
//! `library/`, and no tag means `latest`. Of a tag and a digest together only the digest counts.

use super::digest::Digest;
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The host of names without one.
const DEFAULT_HOST: &str = "docker.io";
/// The older name of the default host, still found in manifests.
const LEGACY_DEFAULT_HOST: &str = "index.docker.io";
/// Where single-component names of the default host lie.
const OFFICIAL_PREFIX: &str = "library/";
/// The tag of names without one.
const DEFAULT_TAG: &str = "latest";
/// The longest name without tag and digest, in bytes (distribution specification, "Pulling manifests").
const NAME_MAX: usize = 255;
/// The longest tag, in bytes (distribution specification, "Pulling manifests").
const TAG_MAX: usize = 128;

/// A canonical image reference: host, repository path, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    host: String,
    path: String,
    target: Target,
}

/// The manifest in a repository that a reference names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A tag, which may move.
    Tag(String),
    /// A manifest, for ever.
    Digest(Digest),
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is not a text.
    #[error("an image reference may not be empty")]
    Empty,
    /// 64 hexadecimal digits are an image id and would be ambiguous as a name.
    #[error("64 hexadecimal digits are an image id, not a name to pull")]
    LooksLikeId,
    /// The repository has capitals.
    #[error("repository {0:?} has capital letters: image names are lower case")]
    Capital(String),
    /// The host is malformed.
    #[error("{0:?} is not a registry host of the form NAME[:PORT]")]
    Host(String),
    /// The repository is malformed.
    #[error("{0:?} is not a repository path of lower-case letters, digits and single separators")]
    Path(String),
    /// The tag is malformed.
    #[error("{0:?} is not a tag of at most 128 letters, digits, dots, dashes and underscores")]
    Tag(String),
    /// The digest is malformed, or of an algorithm this program does not verify.
    #[error("cannot use the digest in the image reference")]
    Digest(#[source] super::digest::DigestError),
    /// The name is longer than registries take.
    #[error("an image name of {0} bytes is longer than 255 bytes")]
    TooLong(usize),
}

impl Reference {
    /// The registry in the name, `docker.io` for those without one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag or the digest.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Host and path, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// The same repository at a digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            target: Target::Digest(digest),
            ..self.clone()
        }
    }
}

impl Target {
    /// The text registries take in `/manifests/…`.
    pub(super) fn as_path(&self) -> String {
        match self {
            Self::Tag(tag) => tag.clone(),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let (host, path) = split_host(name);
        check_host(host)?;
        check_path(&path)?;
        let length = host.len() + 1 + path.len();
        if length > NAME_MAX {
            return Err(ReferenceError::TooLong(length));
        }
        let target = match digest {
            Some(digest) => Target::Digest(digest),
            None => Target::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
        };
        Ok(Self {
            host: host.to_owned(),
            path,
            target,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tag(tag) => write!(f, "{}/{}:{tag}", self.host, self.path),
            Target::Digest(digest) => write!(f, "{}/{}@{digest}", self.host, self.path),
        }
    }
}

/// Splits a tag off; a colon before a slash belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn split_host(name: &str) -> (&str, String) {
    let is_host = |part: &str| {
        part.contains(['.', ':'])
            || part == "localhost"
            || part.bytes().any(|b| b.is_ascii_uppercase())
    };
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => (DEFAULT_HOST, name),
    };
    let host = if host == LEGACY_DEFAULT_HOST {
        DEFAULT_HOST
    } else {
        host
    };
    if host == DEFAULT_HOST && !path.contains('/') {
        return (host, format!("{OFFICIAL_PREFIX}{path}"));
    }
    (host, path.to_owned())
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let mut bytes = tag.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let others = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && others && tag.len() <= TAG_MAX {
        return Ok(());
    }
    Err(ReferenceError::Tag(tag.chars().take(TAG_MAX + 1).collect()))
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let refuse = || ReferenceError::Host(host.to_owned());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(refuse)?;
            address
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| refuse())?;
            (
                None,
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name_fits = name.is_none_or(|name| name.split('.').all(label));
    let port_fits = port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok());
    if name_fits && port_fits {
        Ok(())
    } else {
        Err(refuse())
    }
}

fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::Capital(path.to_owned()));
    }
    if path.split('/').all(is_path_component) {
        return Ok(());
    }
    Err(ReferenceError::Path(path.to_owned()))
}

/// Runs of `[a-z0-9]` joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(alphanumeric) || !component.ends_with(alphanumeric) {
        return false;
    }
    component.split(alphanumeric).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}
