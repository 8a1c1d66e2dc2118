//! Names that become parts of the names of directories.

use cri_api::runtime::v1 as cri;

use super::manifest_error::ManifestError;

/// A name that can be part of a directory's name: DNS label characters and dots.
pub(super) fn plain(field: &str, text: &str) -> Result<String, ManifestError> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(fits) || text.starts_with('.') {
        let remedy = "give lower-case letters, digits, hyphens and dots";
        return Err(ManifestError::field(field, text, remedy));
    }
    Ok(text.to_owned())
}

/// `NAMESPACE_NAME_UID`: what the kubelet calls a pod's log directory.
pub(crate) fn log_directory_name(metadata: &cri::PodSandboxMetadata) -> String {
    format!("{}_{}_{}", metadata.namespace, metadata.name, metadata.uid)
}
