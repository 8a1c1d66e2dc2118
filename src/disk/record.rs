//! Versioned records: JSON files whose envelope names the version of their content.

use super::{Dir, DirError, Durability, FileName};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::path::PathBuf;

/// A kind of record: the version this program writes and the size it accepts.
///
/// On disk a record is `{"version":N,"data":…}`.
pub struct Record<T> {
    version: u32,
    limit: usize,
    data: PhantomData<fn() -> T>,
}

/// Why a record was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read or replaced.
    #[error("cannot access record {}", path.display())]
    File {
        /// The path of the record's file.
        path: PathBuf,
        /// The error of the disk.
        #[source]
        source: DirError,
    },
    /// The record was written by another release.
    #[error(
        "record {} has version {found}, this program knows version {known}: \
         start the release that wrote it, or remove the file", path.display()
    )]
    UnknownVersion {
        /// The path of the record's file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
        /// The version this program reads.
        known: u32,
    },
    /// The content is not what the version promises.
    #[error("record {} is damaged: remove the file", path.display())]
    Damaged {
        /// The path of the record's file.
        path: PathBuf,
        /// Where the content is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON.
    #[error("cannot encode record {}", path.display())]
    Encode {
        /// The path of the record's file.
        path: PathBuf,
        /// The error of the encoder.
        #[source]
        source: serde_json::Error,
    },
    /// The value is larger than a reader would accept.
    #[error("record {} would have {size} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The path of the record's file.
        path: PathBuf,
        /// The size it would have, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

#[derive(Deserialize)]
struct Version {
    version: u64,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

#[derive(Serialize)]
struct EnvelopeOut<'a, T> {
    version: u32,
    data: &'a T,
}

#[derive(Deserialize)]
struct EnvelopeIn<T> {
    data: T,
}

impl<T> Record<T> {
    /// A kind of record of that version, of at most `limit` bytes on disk.
    pub const fn new(version: u32, limit: usize) -> Self {
        Self {
            version,
            limit,
            data: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Record<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("limit", &self.limit)
            .finish()
    }
}

impl<T: DeserializeOwned> Record<T> {
    /// Reads the record `name`, if there is one.
    pub fn load(&self, dir: &Dir, name: &FileName) -> Result<Option<T>, RecordError> {
        let path = || dir.join(name);
        let bytes = dir
            .read_file(name, self.limit)
            .map_err(|source| RecordError::File {
                path: path(),
                source,
            })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = |source| RecordError::Damaged {
            path: path(),
            source,
        };
        let Version { version, .. } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version != u64::from(self.version) {
            return Err(RecordError::UnknownVersion {
                path: path(),
                found: version,
                known: self.version,
            });
        }
        let envelope: EnvelopeIn<T> = serde_json::from_slice(&bytes).map_err(damaged)?;
        Ok(Some(envelope.data))
    }
}

impl<T: Serialize> Record<T> {
    /// Replaces the record `name` in one step.
    pub fn store(
        &self,
        dir: &Dir,
        name: &FileName,
        data: &T,
        durability: Durability,
    ) -> Result<(), RecordError> {
        let bytes = self.encode(dir, name, data)?;
        dir.replace(name, &bytes, durability)
            .map_err(|source| RecordError::File {
                path: dir.join(name),
                source,
            })
    }

    /// The bytes of a record that is to become `name`.
    pub fn encode(&self, dir: &Dir, name: &FileName, data: &T) -> Result<Vec<u8>, RecordError> {
        let path = || dir.join(name);
        let bytes = serde_json::to_vec(&EnvelopeOut {
            version: self.version,
            data,
        })
        .map_err(|source| RecordError::Encode {
            path: path(),
            source,
        })?;
        if bytes.len() > self.limit {
            return Err(RecordError::TooLarge {
                path: path(),
                size: bytes.len(),
                limit: self.limit,
            });
        }
        Ok(bytes)
    }
}

impl RecordError {
    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.is_no_space())
    }
}
