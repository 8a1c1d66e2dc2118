//! The records of a pod and of a container, which the disk keeps and readers see.
//!
//! A record is written before an act whose traces outlive the daemon, and after its result. Everything that
//! has to be undone has a name that follows from the record's id, so an intent needs no list of its own.

use holdfast_kernel::error_chain;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::LinuxSeccomp;
use serde::{Deserialize, Serialize};

use super::process::ProcessIdentity;
use super::state::{ContainerPhase, Exit, PodPhase};
use crate::spec::{
    CdiEdits, ContainerConfig, DeviceGrant, Identity, ImageDefaults, PodConfig, Resources, Signal,
};
use holdfast_disk::{Dir, Durability, FileName, FileNameError, Record, RecordError};
use holdfast_image::LayerName;
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_wire::Protocols;

/// Version of the records on disk.
const VERSION: u32 = 1;

/// Largest record: labels, annotations, arguments and environment of one container, several times over.
const LIMIT: usize = 8 << 20;

/// A pod's record in its state directory.
const POD_FILE: &str = "pod.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    /// Its identifier; all names on the machine follow from it.
    pub id: PodId,
    /// The configuration of the request.
    pub config: Arc<PodConfig>,
    /// The present phase of the state machine.
    pub phase: PodPhase,
    /// When it was asked for: nanoseconds since the epoch.
    pub created_at: i64,
    /// The boot that it belongs to: nothing of it runs in another.
    pub boot_id: String,
    /// Its pause process, once there is one.
    pub pause: Option<ProcessIdentity>,
    /// Its shim, once there is one.
    pub shim: Option<ProcessIdentity>,
    /// Its addresses, the primary one first; none with the host's network.
    pub ips: Vec<IpAddr>,
    /// Cgroup that holds those of the pause and of the containers.
    pub cgroup: String,
    /// Resources that the kubelet gave the pod last.
    #[serde(default)]
    pub resources: PodResources,
    /// Versions of the protocol that its shim speaks.
    #[serde(default)]
    pub protocols: Protocols,
    /// The seccomp profile of its pause when it is a file of the host: its content at the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localhost_seccomp: Option<Arc<LinuxSeccomp>>,
    /// The pod whose network namespace it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_owner: Option<PodId>,
}

/// The resources of a pod, as the kubelet reports them. The kubelet itself writes them to the pod's cgroup; the daemon
/// keeps them only to show them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodResources {
    /// Sum of the containers' resources.
    pub resources: Option<Resources>,
    /// Resources that the sandbox itself may need.
    pub overhead: Option<Resources>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub id: ContainerId,
    pub pod: PodId,
    /// The configuration of the request.
    pub config: Arc<ContainerConfig>,
    /// Parts of the configuration that come from the image.
    pub image: Arc<ContainerImage>,
    /// The images among its volumes.
    #[serde(default)]
    pub image_volumes: Vec<ImageVolume>,
    /// Changes by the CDI devices of the request.
    #[serde(default)]
    pub cdi: CdiEdits,
    /// The device nodes behind the devices of the request, as they were at the creation.
    #[serde(default)]
    pub devices: Vec<DeviceGrant>,
    /// Its seccomp profile when that is a file of the host: its content at the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localhost_seccomp: Option<Arc<LinuxSeccomp>>,
    /// Who its processes run as.
    pub identity: Identity,
    /// The present phase of the state machine.
    pub phase: ContainerPhase,
    /// How it had ended when its removal began; none when it had never been started.
    #[serde(default)]
    pub removed_exit: Option<Exit>,
    /// When it was created: nanoseconds since the epoch.
    pub created_at: i64,
    /// When its start was asked for: nanoseconds since the epoch, 0 until then. Written before the shim is asked, so
    /// that the time outlives every later record which the disk refuses.
    #[serde(default)]
    pub started_at: i64,
    /// Its log; none when the pod has no log directory or the container no log path.
    pub log_path: Option<PathBuf>,
    /// Resources in force; they start as the request's and follow updates.
    pub resources: Resources,
    /// The signal that stops it.
    pub stop_signal: Signal,
    /// Parts that this machine refused and that were left out at the start.
    pub degraded: Vec<String>,
}

impl ContainerRecord {
    /// All layers that it uses: its image's and those of its volumes.
    pub(crate) fn layers(&self) -> Vec<LayerName> {
        let volumes = self.image_volumes.iter().flat_map(|volume| &volume.layers);
        self.image.layers.iter().chain(volumes).cloned().collect()
    }
}

/// The image as it was when the container was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerImage {
    /// Image id: `sha256:` and the digest of its configuration.
    pub id: String,
    /// A name with a tag, or with a digest, or the id: the best there was.
    pub reference: String,
    /// A name with a digest, or the id.
    pub digest: String,
    /// Its layers, the bottom one first.
    pub layers: Vec<LayerName>,
    pub defaults: ImageDefaults,
}

/// An image that is a volume of a container, as it was when the container was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImageVolume {
    /// Which of the request's mounts.
    pub mount: usize,
    /// The id of the image.
    pub digest: String,
    /// Its layers, the bottom one first.
    pub layers: Vec<LayerName>,
}

fn pod_record() -> Record<PodRecord> {
    Record::new(VERSION, LIMIT)
}

fn container_record() -> Record<ContainerRecord> {
    Record::new(VERSION, LIMIT)
}

fn container_file(id: ContainerId) -> Result<FileName, FileNameError> {
    FileName::new(format!("container.{id}.json"))
}

/// The record of a container whose parts are being made. A new name makes it the container's.
fn intent_file(id: ContainerId) -> Result<FileName, FileNameError> {
    FileName::new(format!("{INTENT_PREFIX}{id}.json"))
}

/// The beginning of the name of an intent.
const INTENT_PREFIX: &str = "creating.";

/// Why records of a pod could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot keep the record of the pod")]
    Record(#[from] RecordError),
    /// A file or directory.
    #[error("cannot keep the record of the pod")]
    Dir(#[from] holdfast_disk::DirError),
    /// A name that cannot be a file's.
    #[error("cannot keep the record of the pod")]
    Name(#[from] FileNameError),
}

impl StateError {
    /// The content is not what a record is: it was torn by a power failure.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self, Self::Record(RecordError::Damaged { .. }))
    }

    /// The disk is full.
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            Self::Record(error) => error.is_no_space(),
            Self::Dir(error) => error.is_no_space(),
            Self::Name(_) => false,
        }
    }
}

/// Writes a pod's record.
///
/// # Errors
/// [`StateError`] when the disk refuses.
pub(super) fn store_pod(dir: &Dir, record: &PodRecord) -> Result<(), StateError> {
    let name = FileName::new(POD_FILE)?;
    Ok(pod_record().store(dir, &name, record, Durability::Volatile)?)
}

/// Reads a pod's record; `None` when the directory has none.
///
/// # Errors
/// [`StateError`] when it cannot be read or is damaged.
pub(super) fn load_pod(dir: &Dir) -> Result<Option<PodRecord>, StateError> {
    Ok(pod_record().load(dir, &FileName::new(POD_FILE)?)?)
}

/// Writes a container's record.
///
/// # Errors
/// [`StateError`] when the disk refuses.
pub(super) fn store_container(dir: &Dir, record: &ContainerRecord) -> Result<(), StateError> {
    Ok(container_record().store(
        dir,
        &container_file(record.id)?,
        record,
        Durability::Volatile,
    )?)
}

/// Writes that a container's parts are about to be made: until [`confirm_container`] a new daemon undoes them.
///
/// # Errors
/// [`StateError`] when the disk refuses.
pub(super) fn intend_container(dir: &Dir, record: &ContainerRecord) -> Result<(), StateError> {
    let name = intent_file(record.id)?;
    Ok(container_record().store(dir, &name, record, Durability::Volatile)?)
}

/// All parts of a container have been made: the intent becomes its record.
///
/// # Errors
/// [`StateError`] when the disk refuses.
pub(super) fn confirm_container(dir: &Dir, id: ContainerId) -> Result<(), StateError> {
    Ok(dir.rename_into(&intent_file(id)?, dir, &container_file(id)?)?)
}

/// The containers whose making was cut off.
///
/// # Errors
/// [`StateError`] when the directory cannot be listed.
pub(super) fn intended_containers(dir: &Dir) -> Result<Vec<ContainerId>, StateError> {
    let entries = dir.entries()?.into_iter();
    let id = |name: &str| {
        name.strip_prefix(INTENT_PREFIX)?
            .strip_suffix(".json")?
            .parse()
            .ok()
    };
    Ok(entries
        .filter_map(|entry| entry.name.as_str().and_then(id))
        .collect())
}

/// Deletes a container's record, or its intent. A missing one is success.
///
/// # Errors
/// [`StateError`] when the disk refuses.
pub(super) fn delete_container(dir: &Dir, id: ContainerId) -> Result<(), StateError> {
    dir.remove_file(&intent_file(id)?)?;
    Ok(dir.remove_file(&container_file(id)?)?)
}

/// Reads the records of all containers of a pod. One that is torn is told and deleted: it is as good as absent.
///
/// # Errors
/// [`StateError`] when one cannot be read.
pub(super) fn load_containers(dir: &Dir) -> Result<Vec<ContainerRecord>, StateError> {
    let mut records = Vec::new();
    for entry in dir.entries()? {
        let Some(name) = entry.name.as_str() else {
            continue;
        };
        if !(name.starts_with("container.") && name.ends_with(".json")) {
            continue;
        }
        match container_record().load(dir, &entry.name) {
            Err(error @ RecordError::Damaged { .. }) => {
                tracing::error!(
                    error = error_chain(&error),
                    "cannot read the record of a container"
                );
                dir.remove_file(&entry.name)?;
            }
            loaded => records.extend(loaded?),
        }
    }
    Ok(records)
}

/// The containers of which a pod's state directory has records, readable or not.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn container_ids(dir: &Dir) -> Result<Vec<ContainerId>, StateError> {
    let entries = dir.entries()?;
    let id = |name: &str| {
        let id = name.strip_prefix("container.")?.strip_suffix(".json")?;
        id.parse().ok()
    };
    Ok(entries
        .iter()
        .filter_map(|entry| id(entry.name.as_str()?))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing;

    #[test]
    fn records_come_back_as_they_were_written() {
        let (_guard, dir) = testing::dir();
        assert!(load_pod(&dir).unwrap().is_none());
        let pod = testing::pod(PodConfig {
            hostname: "box".to_owned(),
            ..PodConfig::default()
        });
        store_pod(&dir, &pod).unwrap();
        let found = load_pod(&dir).unwrap().unwrap();
        assert_eq!((found.id, &found.config), (pod.id, &pod.config));
        let container = testing::container(pod.id, ContainerConfig::default());
        store_container(&dir, &container).unwrap();
        let found = load_containers(&dir).unwrap();
        assert_eq!((found.len(), found[0].id), (1, container.id));
        assert_eq!(container_ids(&dir).unwrap(), [container.id]);
        delete_container(&dir, container.id).unwrap();
        delete_container(&dir, container.id).unwrap();
        assert!(container_ids(&dir).unwrap().is_empty());
    }

    /// A container whose creation was cut off is not served, and its parts are undone.
    #[test]
    fn an_intent_becomes_the_record_when_all_parts_are_made() {
        let (_guard, dir) = testing::dir();
        let pod = testing::pod(PodConfig::default());
        let container = testing::container(pod.id, ContainerConfig::default());
        intend_container(&dir, &container).unwrap();
        assert_eq!(intended_containers(&dir).unwrap(), [container.id]);
        assert!(load_containers(&dir).unwrap().is_empty());
        confirm_container(&dir, container.id).unwrap();
        assert!(intended_containers(&dir).unwrap().is_empty());
        assert_eq!(load_containers(&dir).unwrap()[0].id, container.id);
        intend_container(&dir, &container).unwrap();
        delete_container(&dir, container.id).unwrap();
        assert!(intended_containers(&dir).unwrap().is_empty());
    }

    #[test]
    fn a_torn_record_of_a_container_is_as_good_as_absent_and_one_of_a_pod_is_not() {
        let (guard, dir) = testing::dir();
        let pod = testing::pod(PodConfig::default());
        let container = testing::container(pod.id, ContainerConfig::default());
        store_container(&dir, &container).unwrap();
        let file = guard
            .path()
            .join(format!("container.{}.json", container.id));
        let whole = std::fs::read(&file).unwrap();
        testing::write(&file, &whole[..whole.len() / 2]);
        assert!(load_containers(&dir).unwrap().is_empty());
        assert!(!file.exists(), "the next daemon would find it again");
        testing::write(&guard.path().join(POD_FILE), b"{");
        assert!(load_pod(&dir).unwrap_err().is_damaged());
    }
}
