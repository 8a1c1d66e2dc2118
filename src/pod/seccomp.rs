//! Seccomp profiles that requests name: files of the host, and profiles that were pulled.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::LinuxSeccomp;

use super::Pods;
use super::error::PodError;
use super::node::Node;
use super::patience::{DEADLINE, patiently};
use crate::spec::seccomp::{MAX_PROFILE, parse_artifact, parse_profile};
use crate::spec::{HostPath, PinnedProfile, SeccompChoice};

/// Whether a profile is a file, which somebody named.
pub fn is_file(choice: &SeccompChoice) -> bool {
    matches!(choice, SeccompChoice::Localhost(_))
}

/// The OCI profile behind a Localhost choice.
pub fn localhost_profile(choice: &SeccompChoice) -> Result<Option<LinuxSeccomp>, PodError> {
    match choice {
        SeccompChoice::Localhost(path) => {
            read("security_context.seccomp.localhost_ref", path).map(Some)
        }
        _ => Ok(None),
    }
}

fn read(field: &'static str, path: &HostPath) -> Result<LinuxSeccomp, PodError> {
    let mut bytes = Vec::new();
    let path = PathBuf::from(path.as_str());
    File::open(&path)
        .and_then(|file| file.take(MAX_PROFILE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| PodError::RequestedFile {
            field,
            path: path.clone(),
            source,
        })?;
    parse_profile(&bytes).map_err(|source| PodError::SeccompProfile {
        field,
        path,
        source,
    })
}

/// A choice with the content of what it names, where that comes from the store. What is pinned goes into the record
/// of the pod or container: it is what its processes have, also those of later commands, whatever becomes of the
/// store and of the file.
pub async fn pin(node: &Arc<Node>, choice: &mut SeccompChoice) -> Result<(), PodError> {
    let SeccompChoice::Oci(pulled) = choice else {
        return Ok(());
    };
    let found = node.images.profile(&pulled.reference)?;
    let missing = || PodError::ProfileMissing(pulled.reference.clone());
    let profile = parse_artifact(&found.ok_or_else(missing)?.text)?;
    let base = match pulled.base.clone() {
        Some(path) => {
            let read = move || read("security_context.seccomp.base_profile.localhost_ref", &path);
            Some(patiently("the base of a seccomp profile", DEADLINE, read).await?)
        }
        None => None,
    };
    pulled.pinned = Some(Box::new(PinnedProfile { profile, base }));
    Ok(())
}

impl Pods {
    /// Whether a published profile can be used here: it is read, and compiled once. Blocks.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check_profile(&self, text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        let profile = parse_artifact(text)?;
        self.0.filters.get(&profile)?;
        Ok(())
    }
}
