//! The index of the store: its record on disk, and the snapshot that readers see.

use super::digest::Digest;
use super::document::ImageConfig;
use super::image::{Image, ImageId, ImageKind, LayerName};
use super::manifest::{self, ManifestError, ManifestKind, Parsed};
use super::platform::Machine;
use super::reference::{Reference, Target};
use holdfast_disk::{Dir, DirError, FileName, FileNameError, Record, TreeFingerprint};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The index on disk. Its size grows by about 1 KiB an image and 100 bytes a layer.
pub(super) const RECORD: Record<Index> = Record::new(1, 64 << 20);

/// The one durable truth: an image that is not in here does not exist, whatever directories say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// The number of the next layer; numbers are never used twice.
    pub next_layer: u64,
    /// The unpacked layers, those of removed images that containers still use included.
    pub layers: BTreeMap<LayerName, LayerRecord>,
    pub images: BTreeMap<ImageId, ImageRecord>,
    /// `NAME:TAG` and `NAME@DIGEST`, as canonical references.
    pub names: BTreeMap<String, ImageId>,
}

/// The identity of an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LayerKey {
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// The chain that it depends on, itself included; none for a layer that stands alone.
    pub chain: Option<Digest>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub diff_id: Digest,
    /// The chain that a layer depends on, itself included; none for one that stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Digest>,
    /// On disk, in bytes.
    pub bytes: u64,
    pub inodes: u64,
    /// Fingerprint of the layer when it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<TreeFingerprint>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    pub manifest: Digest,
    /// In a registry, in bytes.
    pub size: u64,
    /// The bottom one first.
    pub layers: Vec<LayerName>,
}

/// The index with what readers want to know already worked out; immutable.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub index: Index,
    pub images: BTreeMap<ImageId, Arc<Image>>,
    by_key: HashMap<LayerKey, LayerName>,
}

/// Why an image of the index cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The manifest or the configuration could not be read.
    #[error("cannot read the image's documents")]
    Read(#[from] DirError),
    /// A document is missing from the store.
    #[error("document {0} is missing from the image store")]
    Missing(Digest),
    /// A document is not what the index says.
    #[error("document {0} in the image store is damaged")]
    Damaged(Digest),
    /// A document does not describe an image.
    #[error("cannot use the image's documents")]
    Manifest(#[from] ManifestError),
    /// A digest makes no file name; it always does.
    #[error("cannot name the file of a document")]
    Name(#[from] FileNameError),
}

impl Snapshot {
    /// Works out the snapshot of `index`, taking from `before` the images that are in it too.
    ///
    /// An image whose documents are gone or damaged is left out: it is absent, never half there.
    pub(crate) fn build(index: Index, before: &Snapshot, blobs: &Dir, pinned: &[String]) -> Self {
        let mut names: HashMap<ImageId, (Vec<String>, Vec<String>)> = HashMap::new();
        for (name, id) in &index.names {
            let (tags, digests) = names.entry(*id).or_default();
            if name.contains('@') {
                digests.push(name.clone())
            } else {
                tags.push(name.clone())
            }
        }
        let mut images = BTreeMap::new();
        for (id, record) in &index.images {
            let (repo_tags, repo_digests) = names.remove(id).unwrap_or_default();
            let known = before
                .images
                .get(id)
                .filter(|image| image.layers == record.layers);
            let image = match known {
                Some(image) => Image::clone(image),
                None => match load(*id, record, blobs) {
                    Ok(image) => image,
                    Err(e) => {
                        tracing::warn!(image = %id, error = &e as &dyn std::error::Error, "cannot load an image from the store; it is ignored");
                        continue;
                    }
                },
            };
            let mut names = repo_tags.iter().chain(&repo_digests);
            let is_pinned = names.any(|name| pinned.iter().any(|pin| matches(pin, name)));
            let image = Image {
                repo_tags,
                repo_digests,
                pinned: is_pinned,
                size: record.size.max(1),
                ..image
            };
            images.insert(*id, Arc::new(image));
        }
        let by_key = index
            .layers
            .iter()
            .map(|(name, layer)| (layer.key(), name.clone()))
            .collect();
        Self {
            index,
            images,
            by_key,
        }
    }

    /// The unpacked layer of that key.
    pub(crate) fn layer(&self, key: &LayerKey) -> Option<&LayerName> {
        self.by_key.get(key)
    }

    /// The layers images are made of.
    pub(crate) fn referenced(&self) -> BTreeSet<&LayerName> {
        self.index
            .images
            .values()
            .flat_map(|image| &image.layers)
            .collect()
    }

    /// The documents images are made of.
    pub(crate) fn documents(&self) -> BTreeSet<Digest> {
        self.index
            .images
            .iter()
            .flat_map(|(id, record)| [id.digest(), record.manifest])
            .collect()
    }

    /// Finds an image by anything a CRI client may call it, by containerd's rules: a whole id, else a
    /// reference, else a part of an id that only one image begins with.
    pub(crate) fn resolve(&self, any: &str) -> Option<&Arc<Image>> {
        let with_prefix = any.starts_with("sha256:");
        if let Ok(id) = any.parse::<ImageId>() {
            return self.images.get(&id);
        }
        if !with_prefix
            && let Ok(reference) = any.parse::<Reference>()
            && let Some(id) = self.index.names.get(&reference.to_string())
        {
            return self.images.get(id);
        }
        self.by_part_of_id(any.strip_prefix("sha256:").unwrap_or(any))
    }

    fn by_part_of_id(&self, digits: &str) -> Option<&Arc<Image>> {
        if digits.is_empty()
            || !digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let mut matching = self
            .images
            .iter()
            .filter(|(id, _)| id.digest().hex().starts_with(digits));
        match (matching.next(), matching.next()) {
            (Some((_, image)), None) => Some(image),
            _ => None,
        }
    }
}

impl LayerRecord {
    /// The identity of the layer.
    pub(crate) fn key(&self) -> LayerKey {
        LayerKey {
            diff_id: self.diff_id,
            chain: self.chain,
        }
    }
}

impl Index {
    /// Gives an image a name; a tag that meant another image means this one from now on.
    pub(crate) fn name(&mut self, reference: &Reference, id: ImageId) {
        self.names.insert(reference.to_string(), id);
    }

    /// Forgets an image and all its names.
    pub(crate) fn forget(&mut self, id: &ImageId) {
        self.images.remove(id);
        self.names.retain(|_, named| named != id);
    }
}

/// The names a pull of `reference`, whose manifest or index has `digest`, gives an image.
pub(super) fn names_of(reference: &Reference, digest: Digest) -> Vec<Reference> {
    match reference.target() {
        Target::Tag(_) => vec![reference.clone(), reference.at(digest)],
        Target::Digest(_) => vec![reference.clone()],
    }
}

/// Whether `pattern`, in which `*` stands for any characters, is the whole of `name`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // The earliest place for each part leaves the most for those that follow.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The file a document is kept in.
pub(super) fn document_name(digest: Digest) -> Result<FileName, FileNameError> {
    FileName::new(digest.hex())
}

fn load(id: ImageId, record: &ImageRecord, blobs: &Dir) -> Result<Image, LoadError> {
    let manifest = document(blobs, record.manifest)?;
    let config_json = document(blobs, id.digest())?;
    let Parsed::Manifest(manifest) = manifest::parse(&manifest, &Machine::this())? else {
        return Err(LoadError::Damaged(record.manifest));
    };
    let (kind, config) = match &manifest.kind {
        ManifestKind::Image => {
            // The record has those of which something can be seen.
            let layers = manifest.layers.len();
            let (config, _) = manifest::parse_config(&config_json, layers)?;
            (ImageKind::Container, config)
        }
        ManifestKind::Artifact(_) => (ImageKind::Artifact, ImageConfig::default()),
    };
    Ok(Image {
        id,
        kind,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size: record.size,
        layers: record.layers.clone(),
        created: config.created.as_ref().map(|time| time.0.clone()),
        config,
        config_json: String::from_utf8_lossy(&config_json).into_owned(),
        pinned: false,
        annotations: manifest.annotations,
    })
}

fn document(blobs: &Dir, digest: Digest) -> Result<Vec<u8>, LoadError> {
    let bytes = blobs.read_file(&document_name(digest)?, super::registry::DOCUMENT_MAX)?;
    let bytes = bytes.ok_or(LoadError::Missing(digest))?;
    if digest.same_of(&bytes) != digest {
        return Err(LoadError::Damaged(digest));
    }
    Ok(bytes)
}
