//! Manifests, indexes and configurations: from bytes to what a pull needs, and which platform to take.

use super::digest::{Digest, DigestError};
use super::document::{Descriptor, Document, DocumentError, ImageConfig};
use super::platform::{Machine, Platform};

/// The most layers of an image; overlay takes no more (`OVL_MAX_STACK`).
pub(super) const LAYERS_MAX: usize = 500;

/// The annotation that names a file of an artifact (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";
/// The longest such name, in bytes.
const NAME_MAX: usize = 1024;

/// The types of manifests and indexes, OCI's and Docker's.
const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    DOCKER_MANIFEST,
];
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The types of the configuration of a container image.
const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// Types of a configuration or a layer that old registries and build tools write for an image
/// (github.com/distribution/distribution#1621; the list is that of moby 29, daemon/internal/distribution/registry.go).
const DEFAULTED_TYPES: [&str; 4] = [
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// Why a document does not describe an image this machine can run.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A document is not JSON, or a field has a value of another type.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Neither a manifest nor an index, or both at once.
    #[error("the document is neither an image manifest nor an index: {0}")]
    Kind(&'static str),
    /// The index has no image at all.
    #[error("{0}: push or save the image again")]
    NoImage(&'static str),
    /// The index has nothing for this machine.
    #[error("the image is not made for {wanted}, only for: {}", found.join(", "))]
    Platform {
        /// The platform of this machine.
        wanted: String,
        /// The platforms that the image is made for.
        found: Vec<String>,
    },
    /// A layer is something else than a file system, or encrypted.
    #[error("cannot unpack a layer of the type {0}")]
    Layer(String),
    /// A file of an artifact cannot have that name, or two have it.
    #[error("the artifact has a file that cannot be called {0:?}")]
    FileName(String),
    /// Manifest and configuration contradict each other.
    #[error("the manifest has {layers} layers, the configuration {diff_ids}")]
    LayerCount {
        /// The number of layers in the manifest.
        layers: usize,
        /// The number of layers in the configuration.
        diff_ids: usize,
    },
    /// More layers than the kernel can stack.
    #[error("an image of {0} layers has more than the 500 that overlay can stack")]
    TooManyLayers(usize),
    /// A digest that cannot be verified.
    #[error("{place} names content that cannot be verified")]
    Digest {
        /// Which field of which document.
        place: String,
        /// The fault of the digest.
        #[source]
        source: DigestError,
    },
    /// A size that no content has.
    #[error("{place}: invalid value {size}: a size in bytes is not negative")]
    Size {
        /// Which field of which document.
        place: String,
        /// The size that the document names.
        size: i64,
    },
}

/// The kinds of documents that a registry serves.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A list of manifests, with the one to take.
    Index(Choice),
    /// A manifest, of an image or an artifact.
    Manifest(Manifest),
}

/// The manifest or index that an index has for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub digest: Digest,
    /// Where the platform of the chosen entry is to be looked up.
    pub platform: PlatformSource,
}

/// Who says what an image is made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PlatformSource {
    /// Whoever asked for this manifest, or the index that led to it: an image of another platform is used with a
    /// warning, because emulators run it (containerd 2.4.2 and moby 29 compare nothing here).
    #[default]
    Caller,
    /// The configuration alone, because the index does not tell: an image of another platform is not this one.
    Config,
}

/// The manifest of an image.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub kind: ManifestKind,
    pub config: Part,
    /// The bottom one first.
    pub layers: Vec<Part>,
    /// The annotations, sorted by name.
    pub annotations: Vec<(String, String)>,
    /// Who says what the image is made for.
    pub platform: PlatformSource,
}

/// The object that a manifest describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestKind {
    /// A container image: its layers are to be unpacked.
    Image,
    /// An artifact: its layers are files (image specification, "Guidelines for Artifact Usage").
    Artifact(Vec<ArtifactFile>),
}

/// A file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArtifactFile {
    /// Names separated by slashes, none of them special.
    pub name: String,
    pub part: Part,
}

/// A part of an image, as its manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub digest: Digest,
    pub size: u64,
}

impl Manifest {
    /// The size of the configuration and the layers in a registry, in bytes.
    pub(crate) fn content_size(&self) -> u64 {
        self.layers
            .iter()
            .chain([&self.config])
            .fold(0, |sum, part| sum.saturating_add(part.size))
    }
}

/// Parses what a registry or an archive has in the place of a manifest.
///
/// The fields decide what it is, and the type that it gives itself must agree: what a registry says of it by
/// Content-Type is not looked at, because many say nothing or something else.
pub(super) fn parse(bytes: &[u8], machine: &Machine) -> Result<Parsed, ManifestError> {
    let document = Document::parse(bytes, "manifest")?;
    let is_index = document.manifests.is_some();
    let is_manifest = document.layers.is_some() || document.config.is_some();
    let says = |types: &[&str]| types.contains(&document.media_type.as_str());
    if is_index && is_manifest {
        // A document that is both would be understood differently by each reader of its digest.
        return Err(ManifestError::Kind("it has the fields of both"));
    }
    if is_index && says(&MANIFEST_TYPES) || is_manifest && says(&INDEX_TYPES) {
        return Err(ManifestError::Kind(
            "its mediaType and its fields contradict each other",
        ));
    }
    if is_index || says(&INDEX_TYPES) {
        return choose(&document.manifests.unwrap_or_default(), machine).map(Parsed::Index);
    }
    if is_manifest {
        return from_document(document).map(Parsed::Manifest);
    }
    Err(ManifestError::Kind(
        if document.fs_layers.is_some() || document.schema_version == 1 {
            "Docker's schema 1 is obsolete: push it again"
        } else {
            "it has the fields of neither"
        },
    ))
}

/// Chooses the best entry of an index for a machine.
pub(super) fn choose(index: &[Descriptor], machine: &Machine) -> Result<Choice, ManifestError> {
    let images = || index.iter().enumerate().filter(|(_, e)| !is_attestation(e));
    let rank = |entry: &Descriptor| match &entry.platform {
        Some(names) => machine.rank(&Platform::from_names(names)),
        // It may be anything, and comes after what says that it fits.
        None => Some(usize::MAX),
    };
    let best = images()
        .filter_map(|(at, entry)| Some((rank(entry)?, at, entry)))
        .min_by_key(|(rank, ..)| *rank);
    // What is not an image by its type, but says that it is made for this machine, stands behind all images.
    let artifact = || {
        let made = |e: &Descriptor| e.platform.is_some() && !is_provenance(e);
        let entries = index.iter().enumerate().filter(|(_, e)| made(e));
        entries
            .filter_map(|(at, entry)| Some((rank(entry)?, at, entry)))
            .min_by_key(|(rank, ..)| *rank)
    };
    match best.or_else(artifact) {
        Some((_, at, entry)) => Ok(Choice {
            digest: digest(&entry.digest, || format!("manifests[{at}].digest"))?,
            platform: match entry.platform {
                Some(_) => PlatformSource::Caller,
                None => PlatformSource::Config,
            },
        }),
        None => Err(not_there(index, machine)),
    }
}

/// Why an index has nothing to choose.
fn not_there(index: &[Descriptor], machine: &Machine) -> ManifestError {
    let platforms = |entry: &Descriptor| entry.platform.as_ref().map(Platform::from_names);
    let images = index.iter().filter(|entry| !is_attestation(entry));
    let found: Vec<String> = images
        .filter_map(platforms)
        .map(|platform| platform.to_string())
        .collect();
    match (index, found.as_slice()) {
        ([], _) => ManifestError::NoImage("the index names no manifest"),
        (_, []) => {
            ManifestError::NoImage("the index names no image, only attestations or artifacts")
        }
        _ => ManifestError::Platform {
            wanted: machine.to_string(),
            found,
        },
    }
}

/// Whether an entry of an index is not an image: build tools put signatures and provenance beside the images.
pub(super) fn is_attestation(entry: &Descriptor) -> bool {
    // An image may say so too: by the type of its configuration (image specification 1.1.1, "Descriptors").
    let kind = bare(&entry.artifact_type);
    let of_image = kind.is_empty()
        || CONFIG_TYPES.contains(&kind.as_str())
        || MANIFEST_TYPES.contains(&kind.as_str());
    is_provenance(entry) || !of_image
}

/// Whether an entry is what BuildKit adds for each image, whatever its platform.
fn is_provenance(entry: &Descriptor) -> bool {
    let unknown = entry.platform.as_ref().is_some_and(|p| p.os == "unknown");
    let refers = entry.annotations.get("vnd.docker.reference.type");
    unknown || refers.is_some_and(|kind| kind == "attestation-manifest")
}

fn from_document(document: Document) -> Result<Manifest, ManifestError> {
    let Some(config) = &document.config else {
        return Err(ManifestError::Kind("it names no configuration"));
    };
    let layers = document.layers.as_deref().unwrap_or_default();
    if layers.len() > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers(layers.len()));
    }
    let is_image = is_image(&document, config, layers);
    let mut parts = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        if is_image && !is_layer(&layer.media_type) {
            return Err(ManifestError::Layer(layer.media_type.clone()));
        }
        parts.push(part(layer, || format!("layers[{at}]"))?);
    }
    let kind = if is_image {
        ManifestKind::Image
    } else {
        ManifestKind::Artifact(files(layers, &parts)?)
    };
    Ok(Manifest {
        kind,
        config: part(config, || "config".to_owned())?,
        layers: parts,
        annotations: document.annotations.into_iter().collect(),
        platform: PlatformSource::Caller,
    })
}

/// Whether a manifest is that of a container image, by the type of its configuration.
///
/// A defaulted type means an image in a manifest of Docker's, which knows no artifacts; elsewhere the layers have to
/// be those of an image too, since artifacts may have such a configuration.
fn is_image(document: &Document, config: &Descriptor, layers: &[Descriptor]) -> bool {
    let config = bare(&config.media_type);
    if CONFIG_TYPES.contains(&config.as_str()) {
        return true;
    }
    if !DEFAULTED_TYPES.contains(&config.as_str()) || !document.artifact_type.is_empty() {
        return false;
    }
    let of_image = |layer: &Descriptor| {
        let prefixes = [
            "application/vnd.oci.image.layer.",
            "application/vnd.docker.image.",
        ];
        prefixes
            .iter()
            .any(|prefix| layer.media_type.starts_with(prefix))
    };
    document.media_type == DOCKER_MANIFEST || !layers.is_empty() && layers.iter().all(of_image)
}

/// Whether something is a layer that can be unpacked; how it is compressed its bytes tell.
fn is_layer(media_type: &str) -> bool {
    let bare = bare(media_type);
    DEFAULTED_TYPES.contains(&bare.as_str()) || bare.contains("tar") && !bare.contains("encrypted")
}

/// A media type without its parameters, in lower case: RFC 2045 makes no difference.
fn bare(media_type: &str) -> String {
    let bare = media_type.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

fn files(layers: &[Descriptor], parts: &[Part]) -> Result<Vec<ArtifactFile>, ManifestError> {
    let mut files: Vec<ArtifactFile> = Vec::new();
    for (layer, part) in layers.iter().zip(parts) {
        // An empty title counts as missing, and so does null.
        let title = layer.annotations.get(TITLE).filter(|t| !t.is_empty());
        let file = match title {
            Some(title) => file_name(title).map(|name| ArtifactFile { name, part: *part }),
            None => Some(ArtifactFile {
                name: part.digest.hex(),
                part: *part,
            }),
        };
        // A file cannot stand where another one has a directory.
        let below = |long: &str, short: &str| {
            long.strip_prefix(short)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let clashes = |new: &ArtifactFile| {
            let mut names = files.iter().map(|file| &file.name);
            names.any(|name| below(name, &new.name) || below(&new.name, name))
        };
        match file {
            // The same file once more.
            Some(file) if files.contains(&file) => {}
            Some(file) if !clashes(&file) => files.push(file),
            _ => {
                let name = title.cloned().unwrap_or_else(|| part.digest.hex());
                return Err(ManifestError::FileName(name.chars().take(200).collect()));
            }
        }
    }
    Ok(files)
}

/// A title as the name of a file: cleaned as Go's path.Clean does; `None` when it leaves the artifact's directory,
/// or is that directory itself.
fn file_name(title: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in title.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    let name = parts.join("/");
    let fits = !parts.is_empty()
        && parts.iter().all(|part| part.len() <= 255)
        && name.len() <= NAME_MAX
        && !name.contains('\0');
    (fits && !title.starts_with('/')).then_some(name)
}

fn part(descriptor: &Descriptor, place: impl Fn() -> String) -> Result<Part, ManifestError> {
    let size = u64::try_from(descriptor.size).map_err(|_| ManifestError::Size {
        place: format!("{}.size", place()),
        size: descriptor.size,
    })?;
    Ok(Part {
        digest: digest(&descriptor.digest, || format!("{}.digest", place()))?,
        size,
    })
}

/// Reads a digest of a document.
pub(super) fn digest(text: &str, place: impl Fn() -> String) -> Result<Digest, ManifestError> {
    text.parse().map_err(|source| ManifestError::Digest {
        place: place(),
        source,
    })
}

/// Parses a configuration; the diff ids are of as many layers as the manifest has.
pub(super) fn parse_config(
    bytes: &[u8],
    layers: usize,
) -> Result<(ImageConfig, Vec<Digest>), ManifestError> {
    let config = ImageConfig::parse(bytes)?;
    let diff_ids = config.root_fs.diff_ids.iter().enumerate();
    let diff_ids = diff_ids
        .map(|(at, id)| digest(id, || format!("rootfs.diff_ids[{at}]")))
        .collect::<Result<Vec<Digest>, _>>()?;
    if diff_ids.len() != layers {
        return Err(ManifestError::LayerCount {
            layers,
            diff_ids: diff_ids.len(),
        });
    }
    Ok((config, diff_ids))
}

/// Compares what an image is made for with the machine; where only the configuration says it, another platform is
/// refused, otherwise it is worth a warning. `image` is what to call it.
pub(super) fn check_platform(
    config: &ImageConfig,
    said_by: PlatformSource,
    image: &str,
) -> Result<(), ManifestError> {
    let (machine, platform) = (Machine::this(), Platform::from_names(&config.platform));
    // Images made by hand need not say anything.
    if config.platform.architecture.is_empty() || machine.rank(&platform).is_some() {
        return Ok(());
    }
    if said_by == PlatformSource::Config {
        return Err(ManifestError::Platform {
            wanted: machine.to_string(),
            found: vec![platform.to_string()],
        });
    }
    tracing::warn!(
        image,
        %platform,
        %machine,
        "the image is made for another platform: it runs only where an emulator is installed"
    );
    Ok(())
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
