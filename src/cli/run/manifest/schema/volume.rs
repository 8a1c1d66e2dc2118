//! Volumes and where they are mounted.

use serde::Deserialize;

/// `Volume`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Volume {
    /// Name.
    pub name: String,
    /// A directory that lives as long as the pod.
    pub empty_dir: Option<EmptyDir>,
    /// A path of the host.
    pub host_path: Option<HostPath>,
    /// An image, read-only.
    pub image: Option<ImageVolume>,
}

/// `ImageVolumeSource`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ImageVolume {
    /// Image reference.
    pub reference: String,
    /// `IfNotPresent` (also when missing), `Always` or `Never`.
    pub pull_policy: Option<String>,
}

/// `EmptyDirVolumeSource`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyDir {
    /// Empty (disk) or `Memory`.
    #[serde(default)]
    pub medium: String,
}

/// `HostPathVolumeSource`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostPath {
    /// Absolute path.
    pub path: String,
    /// Empty (no check), `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket`, `CharDevice` or
    /// `BlockDevice`.
    #[serde(default)]
    pub r#type: String,
}

/// `VolumeMount`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    /// Name of the volume.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// Directory or file below an image volume's root; other volumes have none.
    #[serde(default)]
    pub sub_path: String,
    /// Read-only.
    #[serde(default)]
    pub read_only: bool,
    /// `Disabled` (also when missing) or `Enabled`.
    pub recursive_read_only: Option<String>,
    /// `None` (also when missing), `HostToContainer` or `Bidirectional`.
    pub mount_propagation: Option<String>,
}
