//! Volumes and where they are mounted.

use serde::Deserialize;

/// `Volume` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub name: String,
    /// A directory that lives as long as the pod.
    pub empty_dir: Option<EmptyDir>,
    /// A path of the host.
    pub host_path: Option<HostPath>,
    /// An image, which is always mounted read-only.
    pub image: Option<ImageVolume>,
}

/// `ImageVolumeSource` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ImageVolume {
    pub reference: String,
    /// `IfNotPresent` (also when missing), `Always` or `Never`.
    pub pull_policy: Option<String>,
}

/// `EmptyDirVolumeSource` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyDir {
    /// Empty (disk) or `Memory`.
    #[serde(default)]
    pub medium: String,
}

/// `HostPathVolumeSource` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostPath {
    pub path: String,
    /// Empty (no check), `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket`, `CharDevice` or
    /// `BlockDevice`.
    #[serde(default)]
    pub r#type: String,
}

/// `VolumeMount` of the Kubernetes API, as far as it is supported.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    /// Name of the volume.
    pub name: String,
    /// Path in the container to mount the volume at.
    pub mount_path: String,
    /// Directory or file below an image volume's root; other volumes have none.
    #[serde(default)]
    pub sub_path: String,
    /// Whether the container may only read the volume.
    #[serde(default)]
    pub read_only: bool,
    /// `Disabled` (also when missing) or `Enabled`.
    pub recursive_read_only: Option<String>,
    /// `None` (also when missing), `HostToContainer` or `Bidirectional`.
    pub mount_propagation: Option<String>,
}
