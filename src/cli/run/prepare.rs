//! Reads the file of a manifest and makes the plan, without asking the daemon.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use cri_api::runtime::v1 as cri;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::arguments::RunArgs;
use super::directories;
use super::manifest::{self, Manifest, ManifestError, PodFacts, PodPlan};
use super::roots::RootArgs;
use crate::annotations::DIGEST_ANNOTATION;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out;

/// The largest manifest, in bytes; etcd takes no larger object.
pub(super) const LARGEST_MANIFEST: u64 = 1536 << 10;

/// Seconds between the stop signal and SIGKILL when neither the manifest nor the command line says.
pub(crate) const GRACE_SECONDS: u32 = 10;

/// Why a manifest cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file, as it was given.
        file: String,
        /// The error of reading it.
        #[source]
        source: io::Error,
    },
    /// The manifest asks for a pod that cannot be run.
    #[error("cannot run {file}")]
    Manifest {
        /// The file, as it was given.
        file: String,
        /// The fault of the manifest.
        #[source]
        source: ManifestError,
    },
}

impl VerbError for PrepareError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Read { .. } => FailureKind::Failed,
            Self::Manifest { .. } => FailureKind::Usage,
        }
    }
}

/// A manifest that can be run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The manifest as it was written, for the keeper.
    pub text: String,
    manifest: Manifest,
    known: PodFacts,
    digest: String,
    roots: RootArgs,
    /// The requests to the daemon, as long as the pod has no address.
    pub plan: PodPlan,
}

impl Prepared {
    /// Reads the text of a manifest and plans its pod.
    pub(super) fn parse(text: String, roots: &RootArgs) -> Result<Self, ManifestError> {
        let digest = digest(&text)?;
        let node_name = nix::unistd::gethostname().unwrap_or_default();
        let planned = |manifest: &Manifest| {
            let namespace = manifest.metadata.namespace.as_deref().unwrap_or("default");
            let known = PodFacts {
                uid: uid(namespace, &manifest.metadata.name),
                roots: roots.roots(),
                node_name: node_name.to_string_lossy().into_owned(),
                pod_ips: Vec::new(),
            };
            Ok((plan(manifest, &known, (&digest, roots))?, known))
        };
        let (manifest, (plan, known)) = manifest::read(&text, planned)?;
        Ok(Self {
            text,
            manifest,
            known,
            digest,
            roots: roots.clone(),
            plan,
        })
    }

    /// The plan of a pod that has these addresses.
    pub(super) fn with_addresses(&self, ips: &[String]) -> Result<PodPlan, PrepareError> {
        let known = PodFacts {
            pod_ips: ips.to_vec(),
            ..self.known.clone()
        };
        let planned = plan(&self.manifest, &known, (&self.digest, &self.roots));
        planned.map_err(|source| PrepareError::Manifest {
            file: self.manifest.metadata.name.clone(),
            source,
        })
    }

    /// Whether a pod was made from another manifest than this one. A pod that has no digest, as those of earlier
    /// releases, counts as made from this one.
    pub(super) fn differs_from(&self, pod: &cri::PodSandbox) -> bool {
        let digest = pod.annotations.get(DIGEST_ANNOTATION);
        digest.is_some_and(|digest| *digest != self.digest)
    }

    /// Seconds between a stop signal and SIGKILL.
    pub(super) fn grace(&self) -> u32 {
        let seconds = self.manifest.spec.termination_grace_period_seconds;
        seconds.unwrap_or(GRACE_SECONDS)
    }

    /// Name, namespace and uid of the pod.
    pub(super) fn metadata(&self) -> cri::PodSandboxMetadata {
        self.plan.sandbox.metadata.clone().unwrap_or_default()
    }
}

fn plan(
    manifest: &Manifest,
    known: &PodFacts,
    (digest, roots): (&str, &RootArgs),
) -> Result<PodPlan, ManifestError> {
    let mut plan = PodPlan::new(manifest, known)?;
    directories::record(&mut plan.sandbox, roots);
    let annotations = &mut plan.sandbox.annotations;
    annotations.insert(DIGEST_ANNOTATION.to_owned(), digest.to_owned());
    Ok(plan)
}

/// SHA-256 of what a manifest says, whatever its comments, its layout and the order of its fields.
fn digest(text: &str) -> Result<String, ManifestError> {
    let mut content = String::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        // A map of JSON is in the order of its keys.
        let value = serde_json::Value::deserialize(document).map_err(ManifestError::Syntax)?;
        if !value.is_null() {
            content += &value.to_string();
        }
    }
    Ok(hex::encode(Sha256::digest(content)))
}

/// Reads the manifest and plans the pod. Nothing is asked of the daemon.
pub(crate) fn prepare(args: &RunArgs) -> Result<Prepared, PrepareError> {
    let file = args.file.display().to_string();
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(source) => return Err(PrepareError::Read { file, source }),
    };
    let prepared = Prepared::parse(text, &args.roots);
    let prepared = prepared.map_err(|source| PrepareError::Manifest { file, source })?;
    let inert = &prepared.manifest.inert;
    if !inert.is_empty() {
        let fields = inert.join(", ");
        out::note(&format!("nothing on a single node acts on: {fields}"));
    }
    Ok(prepared)
}

fn read(file: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(file)?)
    };
    let mut text = String::new();
    input.take(LARGEST_MANIFEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_MANIFEST {
        return Err(io::Error::other("a manifest has 1.5 MiB at most"));
    }
    Ok(text)
}

/// A uid that follows from the name: running a file twice means the same pod.
fn uid(namespace: &str, name: &str) -> String {
    let digits = hex::encode(Sha256::digest(format!("{namespace}/{name}")));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::digest;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: ed}\nspec:\n  containers:\n  - name: a\n    image: i\n";

    #[test]
    fn a_digest_is_of_what_a_manifest_says() {
        let original = digest(POD).unwrap();
        let commented = format!("# a comment\n---\n{POD}\n---\n");
        assert_eq!(digest(&commented).unwrap(), original);
        let ordered = POD.replace("name: a\n    image: i", "image: i\n    name: \"a\"");
        assert_eq!(digest(&ordered).unwrap(), original);
        for edited in [
            POD.replace("image: i", "image: j"),
            format!("{POD}    command: [sleep]\n"),
            POD.replace("{name: ed}", "{name: ed, labels: {a: b}}"),
        ] {
            assert_ne!(digest(&edited).unwrap(), original, "{edited}");
        }
    }
}
