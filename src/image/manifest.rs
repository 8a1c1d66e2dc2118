//! Manifests, indexes and configurations: from bytes to what a pull needs, and which platform to take.

use super::Digest;
use super::digest::DigestError;
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};
use std::collections::HashMap;

/// The most layers of an image; overlay takes no more (`OVL_MAX_STACK`).
pub(super) const LAYERS_MAX: usize = 500;

/// The annotation that names a file of an artifact (image specification, "Pre-Defined Annotation Keys").
const TITLE: &str = "org.opencontainers.image.title";
/// The longest such name, in bytes.
const NAME_MAX: usize = 1024;

/// Why a document does not describe an image this machine can run.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field is missing.
    #[error("the {document} is malformed")]
    Json {
        /// Which document.
        document: &'static str,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Neither a manifest nor an index, or both at once.
    #[error("the document is neither an image manifest nor an index: {0}")]
    Kind(&'static str),
    /// The index has nothing for this machine.
    #[error("the image is not made for {wanted}, only for: {}", found.join(", "))]
    Platform {
        /// This machine.
        wanted: String,
        /// What the image is made for.
        found: Vec<String>,
    },
    /// A layer is something else than a file system, or encrypted.
    #[error("a layer of the type {0} cannot be unpacked")]
    Layer(String),
    /// A file of an artifact cannot have that name, or two have it.
    #[error("the artifact has a file that cannot be called {0:?}")]
    FileName(String),
    /// Manifest and configuration contradict each other.
    #[error("the manifest has {layers} layers, the configuration {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// More layers than the kernel can stack.
    #[error("an image of {0} layers has more than the 500 that overlay can stack")]
    TooManyLayers(usize),
    /// A digest that cannot be verified.
    #[error("the manifest names content that cannot be verified")]
    Digest(#[from] DigestError),
}

/// The machine images are chosen for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    architecture: Arch,
    /// Acceptable variants, the best one first; none of them is an image that names no variant, which is
    /// for the least machine of the architecture.
    variants: Vec<Option<&'static str>>,
}

impl Machine {
    /// The machine this program was built for.
    pub fn this() -> Self {
        let (name, variants) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", amd64_variants()),
            "x86" => ("386", vec![None]),
            "aarch64" => ("arm64", vec![Some("v8"), None]),
            "arm" => ("arm", vec![Some("v7"), Some("v6"), Some("v5"), None]),
            "riscv64" => ("riscv64", vec![None]),
            "powerpc64" => ("ppc64le", vec![None]),
            other => (other, vec![None]),
        };
        Self {
            architecture: Arch::from(name),
            variants,
        }
    }

    /// How well something fits: lower is better, `None` does not run here.
    fn rank(&self, os: &Os, architecture: &Arch, variant: Option<&str>) -> Option<usize> {
        if *os != Os::Linux || *architecture != self.architecture {
            return None;
        }
        let variant = variant.filter(|variant| !variant.is_empty());
        self.variants.iter().position(|known| *known == variant)
    }
}

/// The levels of x86-64 that this processor has. The least comes first, as in all runtimes, so that a node
/// gets what others get; the higher ones are for images that have nothing else.
fn amd64_variants() -> Vec<Option<&'static str>> {
    let mut variants = vec![Some("v1"), None];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("sse4.2") && has!("ssse3") && has!("popcnt");
        let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma") && has!("movbe");
        let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        for (level, present) in [("v2", v2), ("v3", v3), ("v4", v4)] {
            variants.extend(present.then_some(Some(level)));
        }
    }
    variants
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

/// What a document from a registry is.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A list of manifests, with the one to take.
    Index(Digest),
    /// A manifest.
    Manifest(Manifest),
}

/// The manifest of an image.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub kind: ManifestKind,
    pub config: Part,
    /// The bottom one first.
    pub layers: Vec<Part>,
    pub annotations: Vec<(String, String)>,
}

/// What a manifest describes.
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
    /// What a registry stores for the image beside the manifest, in bytes.
    pub fn content_size(&self) -> u64 {
        self.layers
            .iter()
            .chain([&self.config])
            .fold(0, |sum, part| sum.saturating_add(part.size))
    }
}

/// Parses what a registry or an archive has in the place of a manifest.
pub(super) fn parse(bytes: &[u8], machine: &Machine) -> Result<Parsed, ManifestError> {
    let malformed = |source| ManifestError::Json {
        document: "manifest",
        source,
    };
    let fields: HashMap<String, serde::de::IgnoredAny> =
        serde_json::from_slice(bytes).map_err(malformed)?;
    let has = |name: &str| fields.contains_key(name);
    match (has("manifests"), has("layers") || has("config")) {
        // A document that is both would be understood differently by each reader of its digest.
        (true, true) => Err(ManifestError::Kind("it has the fields of both")),
        (true, false) => {
            let index: ImageIndex = serde_json::from_slice(bytes).map_err(malformed)?;
            choose(&index, machine).map(Parsed::Index)
        }
        (false, true) => {
            let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(malformed)?;
            from_oci(&manifest).map(Parsed::Manifest)
        }
        (false, false) if has("fsLayers") => Err(ManifestError::Kind(
            "Docker's schema 1 is obsolete: push it again",
        )),
        (false, false) => Err(ManifestError::Kind("it has the fields of neither")),
    }
}

fn choose(index: &ImageIndex, machine: &Machine) -> Result<Digest, ManifestError> {
    let rank = |entry: &&Descriptor| match entry.platform() {
        Some(platform) => {
            let variant = platform.variant().as_deref();
            machine.rank(platform.os(), platform.architecture(), variant)
        }
        // An index of one image, as archives have it, need not tell the platform.
        None => (!is_attestation(entry)).then_some(usize::MAX),
    };
    let best = index
        .manifests()
        .iter()
        .filter(|entry| rank(entry).is_some())
        .min_by_key(rank);
    match best {
        Some(entry) => Ok(entry.digest().to_string().parse()?),
        None => Err(ManifestError::Platform {
            wanted: machine.to_string(),
            found: index
                .manifests()
                .iter()
                .filter(|entry| !is_attestation(entry))
                .map(platform_text)
                .collect(),
        }),
    }
}

/// Build tools put signatures and provenance beside the images of an index.
fn is_attestation(entry: &Descriptor) -> bool {
    let unknown = entry
        .platform()
        .as_ref()
        .is_some_and(|p| p.os().to_string() == "unknown");
    unknown || entry.artifact_type().is_some()
}

fn platform_text(entry: &Descriptor) -> String {
    match entry.platform() {
        Some(platform) => {
            let variant = platform
                .variant()
                .as_deref()
                .map(|v| format!("/{v}"))
                .unwrap_or_default();
            format!("{}/{}{variant}", platform.os(), platform.architecture())
        }
        None => "an unnamed platform".to_owned(),
    }
}

fn from_oci(manifest: &ImageManifest) -> Result<Manifest, ManifestError> {
    let media_type = manifest.config().media_type().to_string();
    let is_config =
        media_type.contains("image.config.v1") || media_type.contains("container.image.v1");
    if manifest.layers().len() > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers(manifest.layers().len()));
    }
    let mut layers = Vec::new();
    for layer in manifest.layers() {
        let media_type = layer.media_type().to_string();
        if is_config && (media_type.contains("encrypted") || !media_type.contains("tar")) {
            return Err(ManifestError::Layer(media_type));
        }
        layers.push(part(layer)?);
    }
    let kind = if is_config {
        ManifestKind::Image
    } else {
        ManifestKind::Artifact(files(manifest)?)
    };
    let mut annotations: Vec<(String, String)> = manifest
        .annotations()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    annotations.sort();
    Ok(Manifest {
        kind,
        config: part(manifest.config())?,
        layers,
        annotations,
    })
}

fn files(manifest: &ImageManifest) -> Result<Vec<ArtifactFile>, ManifestError> {
    let mut files: Vec<ArtifactFile> = Vec::new();
    for layer in manifest.layers() {
        let part = part(layer)?;
        let annotations = layer.annotations().as_ref();
        let title = annotations.and_then(|annotations| annotations.get(TITLE));
        let name = title.cloned().unwrap_or_else(|| part.digest.hex());
        let mut components = name.split('/');
        let fits = components.all(|c| !matches!(c, "" | "." | "..") && c.len() <= 255);
        // A file cannot stand where another one has a directory.
        let clashes = |file: &ArtifactFile| {
            let below = |long: &str, short: &str| {
                long.strip_prefix(short)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            below(&file.name, &name) || below(&name, &file.name)
        };
        if !fits || name.len() > NAME_MAX || name.contains('\0') || files.iter().any(clashes) {
            return Err(ManifestError::FileName(name.chars().take(200).collect()));
        }
        files.push(ArtifactFile { name, part });
    }
    Ok(files)
}

fn part(descriptor: &Descriptor) -> Result<Part, ManifestError> {
    Ok(Part {
        digest: descriptor.digest().to_string().parse()?,
        size: descriptor.size(),
    })
}

/// Parses a configuration; the diff ids are of as many layers as the manifest has.
pub(super) fn parse_config(
    bytes: &[u8],
    layers: usize,
    machine: &Machine,
) -> Result<(ImageConfiguration, Vec<Digest>), ManifestError> {
    let config: ImageConfiguration =
        serde_json::from_slice(bytes).map_err(|source| ManifestError::Json {
            document: "configuration",
            source,
        })?;
    let fits = machine
        .rank(config.os(), config.architecture(), None)
        .is_some();
    if !fits && !config.architecture().to_string().is_empty() {
        let found = vec![format!("{}/{}", config.os(), config.architecture())];
        return Err(ManifestError::Platform {
            wanted: machine.to_string(),
            found,
        });
    }
    let diff_ids = config
        .rootfs()
        .diff_ids()
        .iter()
        .map(|id| id.parse())
        .collect::<Result<Vec<Digest>, _>>()?;
    if diff_ids.len() != layers {
        return Err(ManifestError::LayerCount {
            layers,
            diff_ids: diff_ids.len(),
        });
    }
    Ok((config, diff_ids))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
