//! An image as the rest of the daemon sees it.

use super::digest::Digest;
use super::digest::DigestError;
use super::document::{Execution, ImageConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The id of an image: the digest of its configuration, the same from whichever registry it came. An
/// artifact has no configuration of its own: its id is the digest of its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// The id of the image with that configuration.
    pub fn of_config(config: Digest) -> Self {
        Self(config)
    }

    /// The id of the artifact with that manifest.
    pub fn of_artifact(manifest: Digest) -> Self {
        Self(manifest)
    }

    /// The digest of the configuration.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

impl FromStr for ImageId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest layer name, in bytes: a 64-bit number in base 36.
const LAYER_NAME_MAX: usize = 13;

/// The directory of an unpacked layer beneath the layers directory.
///
/// It is a number that is never used twice, in base 36: so short that more than a hundred layers fit
/// the 4 KiB of a mount option, and unlike a shortened digest nobody can make two layers collide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerName(String);

/// A text that is not the name of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a layer name")]
pub struct LayerNameError(String);

impl LayerName {
    /// The name of the layer with that number.
    pub(super) fn from_number(mut number: u64) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut name = Vec::new();
        loop {
            name.push(char::from(
                DIGITS[usize::try_from(number % 36).unwrap_or_default()],
            ));
            number /= 36;
            if number == 0 {
                return Self(name.into_iter().rev().collect());
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LayerName {
    type Err = LayerNameError;

    fn from_str(text: &str) -> Result<Self, LayerNameError> {
        let fits = (1..=LAYER_NAME_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(LayerNameError(text.chars().take(40).collect()))
        }
    }
}

impl TryFrom<String> for LayerName {
    type Error = LayerNameError;

    fn try_from(text: String) -> Result<Self, LayerNameError> {
        text.parse()
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> Self {
        name.0
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The use that can be made of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// To run a container of, and to be mounted.
    Container,
    /// To be mounted only: an OCI artifact, files without a configuration.
    Artifact,
}

/// An image in the store; immutable, a changed image is another value.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the configuration; an artifact's is that of its manifest.
    pub id: ImageId,
    /// The use that can be made of the image.
    pub kind: ImageKind,
    /// The names of the image with a tag, `docker.io/library/busybox:latest`; a tag belongs to one image at a time.
    pub repo_tags: Vec<String>,
    /// The names of the image with the digest of a manifest or an index, `docker.io/library/busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// The size of the image in a registry, in bytes: manifest, configuration and compressed layers.
    pub size: u64,
    /// The layers of the image, the bottom one first.
    pub layers: Vec<LayerName>,
    /// The configuration of the image as published; nothing in it may change what the host does.
    pub config: ImageConfig,
    /// The configuration's bytes as published, for verbose replies.
    pub config_json: String,
    /// When it was built, as the configuration says (RFC 3339).
    pub created: Option<String>,
    /// Whether the kubelet must not collect it.
    pub pinned: bool,
    /// The annotations of its manifest.
    pub annotations: Vec<(String, String)>,
}

impl Image {
    fn execution(&self) -> &Execution {
        &self.config.execution
    }

    /// The user (and group) to run as, empty when the image does not say.
    pub fn user(&self) -> &str {
        &self.execution().user
    }

    /// The environment, `NAME=VALUE` each.
    pub fn env(&self) -> &[String] {
        &self.execution().env
    }

    /// The program and its leading arguments.
    pub fn entrypoint(&self) -> &[String] {
        &self.execution().entrypoint
    }

    /// The default arguments, or the command when there is no entrypoint.
    pub fn cmd(&self) -> &[String] {
        &self.execution().cmd
    }

    /// The working directory, empty when the image does not say.
    pub fn working_dir(&self) -> &str {
        &self.execution().working_dir
    }

    /// The signal that asks the program to end, empty when the image does not say.
    pub fn stop_signal(&self) -> &str {
        &self.execution().stop_signal
    }

    /// The declared volumes, sorted.
    pub fn volumes(&self) -> Vec<String> {
        self.execution().volumes.keys().cloned().collect()
    }

    /// The chain id of the image's layers (OCI image specification, "Layer ChainID").
    pub fn chain_id(&self) -> String {
        let diff_ids = &self.config.root_fs.diff_ids;
        let diff_ids: Vec<Digest> = diff_ids.iter().filter_map(|id| id.parse().ok()).collect();
        let chain = chain_ids(&diff_ids).pop();
        chain.map(|chain| chain.to_string()).unwrap_or_default()
    }
}

/// The chain ids of the layers with those diff ids, the bottom one first (OCI image specification, "Layer
/// ChainID"): each tells a layer together with all that lie below it.
pub(super) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            None => *diff_id,
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chains
}
