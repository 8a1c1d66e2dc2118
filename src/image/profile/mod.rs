//! Security profiles: small OCI artifacts, kept apart from the images.
//!
//! ```text
//!   ROOT/profiles/<hex>.json    a profile, its digest, and the names it was asked for by
//! ```
//!
//! A profile is named by the SHA-256 digest of its manifest, also where it was asked for by another one. Which files
//! are profiles is the caller's to say: this module knows their artifacts, and compares digests.

mod artifact;
mod error;
#[cfg(test)]
mod tests;

use super::digest::Digest;
use super::pull::PullRequest;
use super::reference::{Reference, Target};
use super::registry::Registry;
use super::store::StoreError;
pub use artifact::PROFILE_MAX;
pub use error::ProfileError;
use holdfast_disk::{Dir, Durability, FileName, Record, RecordError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A profile with its names: in JSON each of its bytes may become six.
const RECORD: Record<Profile> = Record::new(1, 8 * PROFILE_MAX);

/// The directory of the profiles.
const DIRECTORY: &str = "profiles";

/// A profile that was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The references by which it was asked for, as they were written.
    pub refs: BTreeSet<String>,
    /// The digest of its file.
    file: Digest,
    /// The content of its file.
    pub text: String,
}

impl Profile {
    /// Whether a reference with this digest means it.
    fn is(&self, digest: &Digest) -> bool {
        let named =
            |text: &String| Pinned::parse(text).is_ok_and(|pinned| pinned.digest == *digest);
        self.digest == *digest || self.refs.iter().any(named)
    }

    fn is_whole(&self) -> bool {
        self.file.same_of(self.text.as_bytes()) == self.file
    }
}

/// A reference with a digest.
struct Pinned {
    reference: Reference,
    digest: Digest,
}

impl Pinned {
    fn parse(text: &str) -> Result<Self, ProfileError> {
        let reference: Reference = text.parse().map_err(|source| ProfileError::Reference {
            reference: text.to_owned(),
            source,
        })?;
        match *reference.target() {
            Target::Digest(digest) => Ok(Self { reference, digest }),
            Target::Tag(_) => Err(ProfileError::Unpinned(text.to_owned())),
        }
    }
}

/// The profiles of this node.
#[derive(Debug)]
pub(super) struct Profiles {
    dir: Dir,
    /// The profiles on disk. The lock is held while both are changed.
    known: Mutex<BTreeMap<Digest, Arc<Profile>>>,
}

impl Profiles {
    /// Reads what is there. A profile that is torn is forgotten: it can be pulled again.
    pub(super) fn open(root: &Dir) -> Result<Self, StoreError> {
        let opening = StoreError::directory("open the security profiles");
        let dir = root
            .create_subdir(&FileName::new(DIRECTORY)?, 0o700)
            .map_err(&opening)?;
        dir.sweep_temporaries().map_err(&opening)?;
        let mut known = BTreeMap::new();
        for entry in dir.entries().map_err(&opening)? {
            match RECORD.load(&dir, &entry.name) {
                Ok(Some(profile)) if profile.is_whole() => {
                    known.insert(profile.digest, Arc::new(profile));
                }
                Ok(None) => {}
                Err(error @ RecordError::UnknownVersion { .. }) => return Err(error.into()),
                Ok(Some(_)) | Err(_) => {
                    let file = dir.join(&entry.name);
                    tracing::error!(file = %file.display(), "a security profile is torn; it has to be pulled anew");
                    dir.remove_file(&entry.name).map_err(&opening)?;
                }
            }
        }
        let known = Mutex::new(known);
        Ok(Self { dir, known })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, Arc<Profile>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a name to a profile that is there; whether it is. Blocks.
    fn rename(&self, digest: &Digest, name: &str) -> Result<bool, StoreError> {
        let mut known = self.known();
        let Some(found) = meant(&known, digest) else {
            return Ok(false);
        };
        if !found.refs.contains(name) {
            let mut profile = Profile::clone(found);
            profile.refs.insert(name.to_owned());
            self.keep(&mut known, profile)?;
        }
        Ok(true)
    }

    /// Keeps a profile, with the names that it has already. Blocks.
    fn add(&self, mut profile: Profile) -> Result<(), StoreError> {
        let mut known = self.known();
        if let Some(present) = known.get(&profile.digest) {
            profile.refs.extend(present.refs.iter().cloned());
        }
        self.keep(&mut known, profile)
    }

    fn keep(
        &self,
        known: &mut BTreeMap<Digest, Arc<Profile>>,
        profile: Profile,
    ) -> Result<(), StoreError> {
        let name = file_name(&profile.digest)?;
        RECORD.store(&self.dir, &name, &profile, Durability::Synced)?;
        known.insert(profile.digest, Arc::new(profile));
        Ok(())
    }

    /// Forgets the profile that a digest means; one that is not there is forgotten already. Blocks.
    fn forget(&self, digest: &Digest) -> Result<(), StoreError> {
        let mut known = self.known();
        let Some(digest) = meant(&known, digest).map(|profile| profile.digest) else {
            return Ok(());
        };
        let removing = StoreError::directory("remove a security profile");
        self.dir
            .remove_file(&file_name(&digest)?)
            .and_then(|()| self.dir.sync())
            .map_err(removing)?;
        known.remove(&digest);
        Ok(())
    }
}

/// The profile that a digest means: its own, or another algorithm's that it was asked for by.
fn meant<'a>(
    known: &'a BTreeMap<Digest, Arc<Profile>>,
    digest: &Digest,
) -> Option<&'a Arc<Profile>> {
    let named = || known.values().find(|profile| profile.is(digest));
    known.get(digest).or_else(named)
}

fn file_name(digest: &Digest) -> Result<FileName, StoreError> {
    Ok(FileName::new(format!("{}.json", digest.hex()))?)
}

impl Profiles {
    /// Makes a profile present, and says whether it was already: no registry is asked then. `check` decides whether
    /// a file is a profile that can be used.
    ///
    /// # Errors
    /// [`ProfileError`]; nothing is kept then.
    pub(super) async fn pull(
        self: &Arc<Self>,
        registry: &Registry,
        request: PullRequest,
        check: impl FnOnce(&str) -> Result<(), Box<dyn Error + Send + Sync>> + Send + 'static,
    ) -> Result<bool, ProfileError> {
        let Pinned { reference, digest } = Pinned::parse(&request.reference)?;
        let name = request.reference.clone();
        let present = self.blocking(move |profiles| profiles.rename(&digest, &name));
        if present.await? {
            return Ok(true);
        }
        let (manifest, artifact, file) = artifact::fetch(registry, &reference, &request).await?;
        let text = artifact.text(&file)?;
        // Compiling a filter takes a while.
        let checked = tokio::task::spawn_blocking(move || check(&text).map(|()| text)).await;
        let text = checked
            .map_err(|_| StoreError::Interrupted)?
            .map_err(|source| ProfileError::Content {
                reference: request.reference.clone(),
                source,
            })?;
        let profile = Profile {
            digest: Digest::of(&manifest),
            refs: BTreeSet::from([request.reference]),
            file: artifact.file,
            text,
        };
        self.blocking(move |profiles| profiles.add(profile)).await?;
        Ok(false)
    }

    /// All profiles, in the order of their digests.
    pub(super) fn list(&self) -> Vec<Arc<Profile>> {
        self.known().values().cloned().collect()
    }

    /// The profile that a reference with a digest means, when it is here.
    pub(super) fn get(&self, reference: &str) -> Result<Option<Arc<Profile>>, ProfileError> {
        let pinned = Pinned::parse(reference)?;
        Ok(meant(&self.known(), &pinned.digest).cloned())
    }

    /// Removes a profile by its digest, or by the digest of a reference that it was asked for by. A profile that is
    /// not here is removed already.
    pub(super) async fn remove(self: &Arc<Self>, digest: &str) -> Result<(), ProfileError> {
        let digest: Digest = digest.parse()?;
        Ok(self
            .blocking(move |profiles| profiles.forget(&digest))
            .await?)
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let profiles = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&profiles)).await;
        done.unwrap_or(Err(StoreError::Interrupted))
    }
}
