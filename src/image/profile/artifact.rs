//! The artifact of a profile: a manifest with one layer, which is the profile's file as it is.

use super::error::ProfileError;
use crate::digest::Digest;
use crate::document::Document;
use crate::pull::PullRequest;
use crate::reference::Reference;
use crate::registry::{Registry, RegistryError};
use bytes::Bytes;
use std::error::Error;

/// The largest profile, in bytes: what publishers of such artifacts are told (security-profiles-operator 3421).
pub const PROFILE_MAX: usize = 1 << 20;

/// Type of the artifact of a seccomp profile, as publishers write it (security-profiles-operator 3421).
pub(super) const SECCOMP: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// The types of manifests with a configuration and layers.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The layer of a profile, as its manifest describes it.
#[derive(Debug)]
pub(super) struct Artifact {
    reference: String,
    /// The digest of its file.
    pub(super) file: Digest,
    size: u64,
}

impl Artifact {
    /// Reads the manifest of a profile.
    pub(super) fn parse(reference: &str, manifest: &[u8]) -> Result<Self, ProfileError> {
        let refused = |reason: String| ProfileError::Artifact {
            reference: reference.to_owned(),
            reason,
        };
        let manifest = Document::parse(manifest, "manifest").map_err(|error| {
            let cause = error.source().map_or(String::new(), ToString::to_string);
            refused(format!("its manifest is malformed: {cause}"))
        })?;
        if manifest.manifests.is_some() {
            let reason = "it is an index; give the digest of the profile's own manifest";
            return Err(refused(reason.to_owned()));
        }
        if !["", MANIFEST].contains(&manifest.media_type.as_str()) {
            return Err(refused(format!(
                "mediaType is {:?}, not {MANIFEST:?}",
                manifest.media_type
            )));
        }
        // The guidelines of the image specification: a type of its own, or that of its configuration.
        let kind = match manifest.artifact_type.as_str() {
            "" => manifest.config.unwrap_or_default().media_type,
            own => own.to_owned(),
        };
        if kind != SECCOMP {
            return Err(refused(format!(
                "its artifact type is {kind:?}, not {SECCOMP:?}"
            )));
        }
        let layers = manifest.layers.unwrap_or_default();
        let [layer] = layers.as_slice() else {
            return Err(refused(format!(
                "it has {} layers instead of one",
                layers.len()
            )));
        };
        let size = u64::try_from(layer.size).ok();
        let size = size.filter(|size| *size <= PROFILE_MAX as u64);
        let size = size.ok_or_else(|| {
            refused(format!(
                "layers[0].size is {}; a profile has 0 to {PROFILE_MAX} bytes",
                layer.size
            ))
        })?;
        let file = layer.digest.parse();
        Ok(Self {
            reference: reference.to_owned(),
            file: file.map_err(|error| refused(format!("layers[0].digest: {error}")))?,
            size,
        })
    }

    /// The text of the file, whose digest was compared.
    pub(super) fn text(&self, file: &[u8]) -> Result<String, ProfileError> {
        let refused = |reason| ProfileError::Artifact {
            reference: self.reference.clone(),
            reason,
        };
        if file.len() as u64 != self.size {
            let found = file.len();
            return Err(refused(format!(
                "layers[0].size is {}, but it has {found} bytes",
                self.size
            )));
        }
        let text = String::from_utf8(file.to_vec());
        text.map_err(|error| refused(format!("its file is not a text: {error}")))
    }
}

/// Gets the manifest of a profile, what the manifest says, and the file.
pub(super) async fn fetch(
    registry: &Registry,
    reference: &Reference,
    request: &PullRequest,
) -> Result<(Bytes, Artifact, Bytes), ProfileError> {
    let failed = |source: RegistryError| ProfileError::Registry {
        reference: request.reference.clone(),
        source: Box::new(source),
    };
    let repository = registry.repository(reference, request.credentials.clone());
    let repository = repository.await.map_err(failed)?;
    let manifest = repository.manifest(reference.target()).await;
    let manifest = manifest.map_err(failed)?.bytes;
    let artifact = Artifact::parse(&request.reference, &manifest)?;
    let file = repository.small_blob(artifact.file).await;
    Ok((manifest, artifact, file.map_err(failed)?.bytes))
}
