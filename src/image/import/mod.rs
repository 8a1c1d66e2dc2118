//! Images from archives: a root file system, an OCI layout, or what `docker save` writes.
//!
//! An archive is unpacked as if it were a root file system, since only its end tells what it is. When the
//! documents of images are found in it ([`contents`]), what was unpacked is where their layers are read from.

mod contents;
mod error;

use super::digest::Digest;
use super::image::{Image, chain_ids};
use super::index::names_of;
use super::layer::{self, Expected, LayerError};
use super::manifest::{self, LAYERS_MAX, ManifestError};
use super::platform::Machine;
use super::reference::{Reference, Target};
use super::store::{Candidate, CandidateLayer, StagedLayer, Staging, Store, StoreError};
use bytes::Bytes;
use contents::{Contents, Parts};
pub use error::ImportError;
use nix::fcntl::OFlag;
use serde_json::json;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// The size of the input buffer, in bytes.
const BUFFER: usize = 64 << 10;
/// The search path in images that do not bring one, as everywhere.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Imports in a thread of its own, which goes on when the caller goes away.
pub(super) async fn import(
    store: &Arc<Store>,
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
    let (store, text) = (Arc::clone(store), reference.to_string());
    let imported = tokio::task::spawn_blocking(move || {
        let import = Import {
            store: &store,
            reference: &reference,
        };
        let result = import.run(archive);
        if result.is_err() {
            store.release_space();
        }
        result
    });
    let interrupted = |_| ImportError::Store {
        name: text,
        source: StoreError::Interrupted,
    };
    imported.await.map_err(interrupted)?
}

/// An import of one archive.
struct Import<'a> {
    store: &'a Arc<Store>,
    reference: &'a Reference,
}

impl Import<'_> {
    fn run(&self, archive: Box<dyn Read + Send>) -> Result<Arc<Image>, ImportError> {
        let archive = BufReader::with_capacity(BUFFER, archive);
        let archive = layer::decompress(archive).map_err(self.read())?;
        let mut archive = BufReader::with_capacity(BUFFER, archive);
        if archive.fill_buf().map_err(self.read())?.is_empty() {
            return Err(self.archive("is empty"));
        }
        let expected = Expected {
            blob: None,
            diff_id: None,
        };
        let staged = self.unpack(archive, expected, &[]);
        let staged = staged.map_err(|e| self.unpack_error(e))?;
        let contents = Contents {
            spread: staged.diff(),
            reference: self.reference,
        };
        match contents.image()? {
            Some(parts) => self.image(contents, parts),
            None if contents.is_root_fs()? => self.root_fs(staged),
            None => Err(ImportError::NotAnImage {
                name: self.reference.to_string(),
                what: "is neither an archive of images (it has no index.json of an OCI layout and no manifest.json \
                       of docker save at its top) nor a root file system: save the image again, or put the files \
                       below the directory where a container is to find them"
                    .to_owned(),
            }),
        }
    }

    fn root_fs(&self, staged: StagedLayer) -> Result<Arc<Image>, ImportError> {
        let contents = Contents {
            spread: staged.diff(),
            reference: self.reference,
        };
        let mut execution = json!({ "Env": [DEFAULT_PATH] });
        if contents.open("bin/sh", OFlag::O_PATH).is_ok() {
            execution["Cmd"] = json!(["/bin/sh"]);
        }
        // No time of creation: the same tree is the same image.
        let config = json!({
            "architecture": Machine::this().architecture(),
            "os": "linux",
            "config": execution,
            "rootfs": { "type": "layers", "diff_ids": [staged.layer.diff_id] },
        });
        let config = Bytes::from(config.to_string());
        let layers = [Arc::new(staged)];
        self.commit((made_manifest(&config, &layers), config), &layers)
    }

    fn image(&self, contents: Contents<'_>, parts: Parts) -> Result<Arc<Image>, ImportError> {
        if parts.layers.len() > LAYERS_MAX {
            let many = ManifestError::TooManyLayers(parts.layers.len());
            return Err(self.manifest_error()(many));
        }
        let (config, diff_ids) = manifest::parse_config(&parts.config, parts.layers.len())
            .map_err(self.manifest_error())?;
        manifest::check_platform(&config, parts.platform, &self.reference.to_string())
            .map_err(self.manifest_error())?;
        let mut layers = Vec::new();
        for (number, ((path, blob), diff_id)) in parts.layers.iter().zip(diff_ids).enumerate() {
            let expected = Expected {
                blob: *blob,
                diff_id: Some(diff_id),
            };
            let layer = self.unpack(contents.layer(path)?, expected, &layers);
            layers.push(Arc::new(layer.map_err(|e| self.layer_error(number, e))?));
        }
        let manifest = parts
            .manifest
            .unwrap_or_else(|| made_manifest(&parts.config, &layers));
        tracing::debug!(image = %self.reference, layers = layers.len(), "importing an image");
        self.commit((manifest, parts.config), &layers)
    }

    /// Unpacks a layer above those of `lower`.
    fn unpack(
        &self,
        source: impl Read + Send,
        expected: Expected,
        lower: &[Arc<StagedLayer>],
    ) -> Result<StagedLayer, LayerFailure> {
        let staging = Staging::new(self.store).map_err(LayerFailure::Store)?;
        let below = || {
            let directories = lower.iter().rev().map(|layer| layer.directory());
            directories.collect::<io::Result<Vec<_>>>().ok()
        };
        let limits = self.store.limits();
        let layer = layer::unpack_verified(source, &staging.diff, expected, limits, &below)
            .map_err(LayerFailure::Layer)?;
        let below = lower.iter().map(|layer| layer.key.diff_id);
        let diff_ids: Vec<Digest> = below.chain([layer.diff_id]).collect();
        let chain = chain_ids(&diff_ids).pop().unwrap_or(layer.diff_id);
        Ok(staging.done(layer, chain))
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
            layers: layers.iter().cloned().map(CandidateLayer::Staged).collect(),
        };
        self.store.commit(&candidate).map_err(self.store_error())
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

    fn unpack_error(&self, failure: LayerFailure) -> ImportError {
        match failure {
            LayerFailure::Store(source) => self.store_error()(source),
            LayerFailure::Layer(source) => ImportError::Unpack {
                name: self.reference.to_string(),
                source,
            },
        }
    }

    fn layer_error(&self, number: usize, failure: LayerFailure) -> ImportError {
        match failure {
            LayerFailure::Store(source) => self.store_error()(source),
            LayerFailure::Layer(source) => ImportError::Layer {
                name: self.reference.to_string(),
                number,
                source,
            },
        }
    }
}

/// Why a layer, or the archive itself, was not unpacked.
enum LayerFailure {
    Store(StoreError),
    Layer(LayerError),
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

#[cfg(test)]
mod tests;
