//! Images from archives: a root file system, an OCI layout, or what `docker save` writes.
//!
//! What an archive is, its first names tell. A root file system is unpacked as it comes; the others
//! list their parts in no certain order, so they are spread out in the staging directory first.

use super::image::{Image, chain_ids};
use super::index::names_of;
use super::layer::{self, Expected, LayerError};
use super::manifest::{self, LAYERS_MAX, Machine, ManifestError, Parsed};
use super::pull::{PullErrorKind, layer_kind, manifest_kind};
use super::registry::DOCUMENT_MAX;
use super::store::{Candidate, ImageStore, Slot, StagedLayer, Staging, StoreError};
use super::unpack::{self, UnpackError};
use super::{Digest, Reference, ReferenceError, Target};
use crate::disk::Dir;
use bytes::Bytes;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use oci_spec::image::ImageIndex;
use serde::Deserialize;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;

/// How much of an archive is looked at to tell what it is, in bytes.
const HEAD: usize = 64 << 10;
/// The search path in images that do not bring one, as everywhere.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The annotation by which an OCI layout names its images (image specification, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd and Docker name theirs.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Why an archive did not become an image.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The name cannot be one.
    #[error("cannot name an image {name:?}")]
    InvalidName {
        /// The text.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A digest is not ours to choose.
    #[error(
        "cannot name an imported image {0:?}: give it a tag, its digest follows from its content"
    )]
    Digest(String),
    /// The archive could not be read.
    #[error("cannot read the archive of image {name}")]
    Read {
        /// The image.
        name: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The archive of images could not be spread out.
    #[error("cannot spread out the archive of image {name}")]
    Unpack {
        /// The image.
        name: String,
        /// What happened.
        #[source]
        source: UnpackError,
    },
    /// The archive lacks something, or has too much.
    #[error("the archive of image {name} {what}")]
    Archive {
        /// The image.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The image in the archive is not one this machine can run.
    #[error("cannot use the archive of image {name}")]
    Manifest {
        /// The image.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {number} of image {name}")]
    Layer {
        /// The image.
        name: String,
        /// Counted from the bottom, the first is 0.
        number: usize,
        /// What happened.
        #[source]
        source: LayerError,
    },
    /// The store could not keep it.
    #[error("cannot store image {name}")]
    Store {
        /// The image.
        name: String,
        /// What happened.
        #[source]
        source: StoreError,
    },
}

impl ImportError {
    /// What the failure means to the caller.
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::InvalidName { .. } | Self::Digest(_) => PullErrorKind::InvalidReference,
            Self::Read { .. } | Self::Archive { .. } => PullErrorKind::Corrupt,
            Self::Unpack { source, .. } if source.is_no_space() => PullErrorKind::NoSpace,
            Self::Unpack { source, .. } if source.is_too_large() => PullErrorKind::TooLarge,
            Self::Unpack { source, .. } if source.is_local() => PullErrorKind::Internal,
            Self::Unpack { .. } => PullErrorKind::Corrupt,
            Self::Manifest { source, .. } => manifest_kind(source),
            Self::Layer { source, .. } => layer_kind(source),
            Self::Store { source, .. } if source.is_no_space() => PullErrorKind::NoSpace,
            Self::Store { .. } => PullErrorKind::Internal,
        }
    }
}

/// Imports in a thread of its own, which goes on when the caller goes away.
pub(super) async fn import(
    store: &ImageStore,
    name: &str,
    archive: Box<dyn Read + Send>,
) -> Result<Arc<Image>, ImportError> {
    let reference: Reference = name.parse().map_err(|source| ImportError::InvalidName {
        name: name.to_owned(),
        source,
    })?;
    if matches!(reference.target(), Target::Digest(_)) {
        return Err(ImportError::Digest(name.to_owned()));
    }
    let (store, text) = (store.clone(), reference.to_string());
    let imported = tokio::task::spawn_blocking(move || {
        let import = Import {
            store: &store,
            reference: &reference,
        };
        let result = import.run(archive);
        if result.is_err() {
            store.inner.release_space();
        }
        result
    });
    let interrupted = |_| ImportError::Store {
        name: text,
        source: StoreError::Interrupted,
    };
    imported.await.map_err(interrupted)?
}

/// One import.
struct Import<'a> {
    store: &'a ImageStore,
    reference: &'a Reference,
}

/// The parts of an image, as files of a spread-out archive.
struct Parts {
    /// `None` for `docker save`, which has none of its own.
    manifest: Option<Bytes>,
    config: Bytes,
    /// Paths in the archive, with the digest where the archive promises one.
    layers: Vec<(String, Option<Digest>)>,
}

impl Import<'_> {
    fn run(&self, archive: Box<dyn Read + Send>) -> Result<Arc<Image>, ImportError> {
        let mut stream =
            layer::decompress(BufReader::with_capacity(HEAD, archive)).map_err(self.read())?;
        let mut head = Vec::new();
        stream
            .by_ref()
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(self.read())?;
        if head.is_empty() {
            return Err(self.archive("is empty"));
        }
        let kind = detect(&head);
        let stream = Cursor::new(head).chain(stream);
        match kind {
            Archive::RootFs => self.root_fs(stream),
            Archive::Images => self.images(stream),
        }
    }

    fn root_fs(&self, stream: impl Read + Send) -> Result<Arc<Image>, ImportError> {
        let expected = Expected {
            blob: None,
            diff_id: None,
        };
        let staged = self.layer(0, stream, expected, &[])?;
        let mut execution = json!({ "Env": [DEFAULT_PATH] });
        if in_archive(staged.diff(), "bin/sh", OFlag::O_PATH).is_ok() {
            execution["Cmd"] = json!(["/bin/sh"]);
        }
        // No time of creation: the same tree is the same image.
        let config = json!({
            "architecture": Machine::this().to_string().trim_start_matches("linux/"),
            "os": "linux",
            "config": execution,
            "rootfs": { "type": "layers", "diff_ids": [staged.layer.diff_id] },
        });
        let config = Bytes::from(config.to_string());
        let layers = [Arc::new(staged)];
        self.commit((made_manifest(&config, &layers), config), &layers)
    }

    fn images(&self, stream: impl Read) -> Result<Arc<Image>, ImportError> {
        let spread = Staging::new(self.store).map_err(self.store_error())?;
        let nothing = || Some(Vec::new());
        unpack::unpack(stream, &spread.diff, self.store.inner.limits(), &nothing).map_err(
            |source| ImportError::Unpack {
                name: self.reference.to_string(),
                source,
            },
        )?;
        let spread = &spread.diff;
        let parts = if in_archive(spread, "index.json", OFlag::O_PATH).is_ok() {
            self.oci_layout(spread)?
        } else {
            self.docker_archive(spread)?
        };
        if parts.layers.len() > LAYERS_MAX {
            let many = ManifestError::TooManyLayers(parts.layers.len());
            return Err(self.manifest_error()(many));
        }
        let (_, diff_ids) =
            manifest::parse_config(&parts.config, parts.layers.len(), &Machine::this())
                .map_err(self.manifest_error())?;
        let mut layers = Vec::new();
        for (number, ((path, blob), diff_id)) in parts.layers.iter().zip(diff_ids).enumerate() {
            let expected = Expected {
                blob: *blob,
                diff_id: Some(diff_id),
            };
            let file = in_archive(spread, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)
                .map_err(self.read())?;
            layers.push(Arc::new(self.layer(number, file, expected, &layers)?));
        }
        let manifest = parts
            .manifest
            .unwrap_or_else(|| made_manifest(&parts.config, &layers));
        tracing::debug!(image = %self.reference, layers = layers.len(), "importing an image");
        self.commit((manifest, parts.config), &layers)
    }

    /// Unpacks a layer above those of `lower`.
    fn layer(
        &self,
        number: usize,
        source: impl Read + Send,
        expected: Expected,
        lower: &[Arc<StagedLayer>],
    ) -> Result<StagedLayer, ImportError> {
        let staging = Staging::new(self.store).map_err(self.store_error())?;
        let below = || {
            let directories = lower.iter().rev().map(|layer| layer.directory());
            directories.collect::<io::Result<Vec<_>>>().ok()
        };
        let limits = self.store.inner.limits();
        let layer = layer::unpack_verified(source, &staging.diff, expected, limits, &below)
            .map_err(|source| self.layer_error(number, source))?;
        let below = lower.iter().map(|layer| layer.key.diff_id);
        let diff_ids: Vec<Digest> = below.chain([layer.diff_id]).collect();
        let chain = chain_ids(&diff_ids).pop().unwrap_or(layer.diff_id);
        Ok(staging.done(layer, chain))
    }

    fn oci_layout(&self, spread: &Dir) -> Result<Parts, ImportError> {
        let json = |source| ManifestError::Json {
            document: "index.json",
            source,
        };
        let index: ImageIndex = serde_json::from_slice(&self.document(spread, "index.json")?)
            .map_err(json)
            .map_err(self.manifest_error())?;
        let named = index
            .manifests()
            .iter()
            .find(|entry| self.is_named(entry.annotations().as_ref()));
        let mut digest = match (named, index.manifests().as_slice()) {
            (Some(one), _) | (None, [one]) => one
                .digest()
                .to_string()
                .parse()
                .map_err(ManifestError::from),
            _ => return Err(self.archive("holds several images and none of that name")),
        }
        .map_err(self.manifest_error())?;
        loop {
            let bytes = self.blob(spread, digest)?;
            match manifest::parse(&bytes, &Machine::this()).map_err(self.manifest_error())? {
                // Each step verifies a digest, so that an index cannot contain itself.
                Parsed::Index(next) => digest = next,
                Parsed::Manifest(manifest) => {
                    let path =
                        |digest: Digest| format!("blobs/{}/{}", digest.algorithm(), digest.hex());
                    return Ok(Parts {
                        config: self.blob(spread, manifest.config.digest)?,
                        manifest: Some(bytes),
                        layers: manifest
                            .layers
                            .iter()
                            .map(|part| (path(part.digest), Some(part.digest)))
                            .collect(),
                    });
                }
            }
        }
    }

    fn docker_archive(&self, spread: &Dir) -> Result<Parts, ImportError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Saved {
            config: String,
            #[serde(default)]
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let json = |source| ManifestError::Json {
            document: "manifest.json",
            source,
        };
        let saved: Vec<Saved> = serde_json::from_slice(&self.document(spread, "manifest.json")?)
            .map_err(json)
            .map_err(self.manifest_error())?;
        let named = saved.iter().find(|image| {
            image
                .repo_tags
                .iter()
                .flatten()
                .any(|tag| self.is_same(tag))
        });
        let image = match (named, saved.as_slice()) {
            (Some(image), _) | (None, [image]) => image,
            _ => return Err(self.archive("holds several images and none of that name")),
        };
        let layers = image
            .layers
            .iter()
            .map(|path| (path.clone(), None))
            .collect();
        Ok(Parts {
            manifest: None,
            config: self.document(spread, &image.config)?,
            layers,
        })
    }

    fn is_named(&self, annotations: Option<&std::collections::HashMap<String, String>>) -> bool {
        let Some(annotations) = annotations else {
            return false;
        };
        let tag_only =
            |name: &String| matches!(self.reference.target(), Target::Tag(tag) if tag == name);
        annotations
            .get(CONTAINERD_NAME)
            .is_some_and(|name| self.is_same(name))
            || annotations
                .get(REF_NAME)
                .is_some_and(|name| self.is_same(name) || tag_only(name))
    }

    fn is_same(&self, name: &str) -> bool {
        name.parse::<Reference>()
            .is_ok_and(|reference| reference == *self.reference)
    }

    fn blob(&self, spread: &Dir, digest: Digest) -> Result<Bytes, ImportError> {
        let bytes = self.document(
            spread,
            &format!("blobs/{}/{}", digest.algorithm(), digest.hex()),
        )?;
        if digest.same_of(&bytes) != digest {
            return Err(self.archive(&format!(
                "has other content than {digest} under that digest"
            )));
        }
        Ok(bytes)
    }

    fn document(&self, spread: &Dir, path: &str) -> Result<Bytes, ImportError> {
        let file = in_archive(spread, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                self.archive(&format!("lacks {path}"))
            } else {
                self.read()(e)
            }
        })?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(self.read())?;
        if bytes.len() > DOCUMENT_MAX {
            return Err(self.archive(&format!("has a {path} of more than {DOCUMENT_MAX} bytes")));
        }
        Ok(bytes.into())
    }

    fn commit(
        &self,
        (manifest, config): (Bytes, Bytes),
        layers: &[Arc<StagedLayer>],
    ) -> Result<Arc<Image>, ImportError> {
        let digest = Digest::of(&manifest);
        let content: u64 = layers.iter().map(|staged| staged.layer.blob_size).sum();
        let candidate = Candidate {
            names: names_of(self.reference, digest),
            size: content + (manifest.len() + config.len()) as u64,
            manifest: (digest, manifest),
            config: (Digest::of(&config), config),
            layers: layers.iter().cloned().map(Slot::Staged).collect(),
        };
        self.store
            .inner
            .commit(&candidate)
            .map_err(self.store_error())
    }

    fn archive(&self, what: &str) -> ImportError {
        ImportError::Archive {
            name: self.reference.to_string(),
            what: what.to_owned(),
        }
    }

    fn read(&self) -> impl Fn(io::Error) -> ImportError {
        let name = self.reference.to_string();
        move |source| ImportError::Read {
            name: name.clone(),
            source,
        }
    }

    fn manifest_error(&self) -> impl Fn(ManifestError) -> ImportError {
        let name = self.reference.to_string();
        move |source| ImportError::Manifest {
            name: name.clone(),
            source,
        }
    }

    fn store_error(&self) -> impl Fn(StoreError) -> ImportError {
        let name = self.reference.to_string();
        move |source| ImportError::Store {
            name: name.clone(),
            source,
        }
    }

    fn layer_error(&self, number: usize, source: LayerError) -> ImportError {
        ImportError::Layer {
            name: self.reference.to_string(),
            number,
            source,
        }
    }
}

/// Opens a file of a spread-out archive; links in it, which `docker save` used to write, end at its
/// own root.
fn in_archive(spread: &Dir, path: &str, flags: OFlag) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(spread, path, how)?.into())
}

/// The manifest of an image that comes without one.
fn made_manifest(config: &Bytes, layers: &[Arc<StagedLayer>]) -> Bytes {
    let layers: Vec<_> = layers
        .iter()
        .map(|staged| &staged.layer)
        .map(|layer| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.blob,
                "size": layer.blob_size,
            })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(config),
            "size": config.len(),
        },
        "layers": layers,
    });
    Bytes::from(manifest.to_string())
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    /// The tree of one image.
    RootFs,
    /// Images with their configurations and layers.
    Images,
}

/// Tells from the first entries what an archive is.
fn detect(head: &[u8]) -> Archive {
    let mut archive = tar::Archive::new(head);
    let Ok(entries) = archive.entries() else {
        return Archive::RootFs;
    };
    for entry in entries {
        let Ok(entry) = entry else { break };
        let path = entry.path_bytes();
        let path = String::from_utf8_lossy(&path);
        let path = path.trim_start_matches("./").trim_end_matches('/');
        if path.is_empty() || path == "." {
            continue;
        }
        let first = path.split('/').next().unwrap_or_default();
        let stem = first.trim_end_matches(".json").trim_end_matches(".tar");
        let hashed = stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit());
        let known = matches!(
            first,
            "oci-layout" | "index.json" | "blobs" | "manifest.json" | "repositories"
        );
        return if known || hashed {
            Archive::Images
        } else {
            Archive::RootFs
        };
    }
    Archive::RootFs
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
