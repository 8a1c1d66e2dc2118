//! Volumes of a container: CRI `Mount`, checked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ContainerPath, HostPath, ImageSpec};
use holdfast_wire::plan::IdMappings;

/// A volume: CRI `Mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeMount {
    /// Where, in the container.
    pub container_path: ContainerPath,
    /// What.
    pub source: VolumeSource,
    /// Read-only.
    pub readonly: bool,
    /// Mounts below are read-only as well.
    pub recursive_read_only: bool,
    /// Mount propagation.
    pub propagation: VolumePropagation,
    /// The files get the container's SELinux label.
    pub selinux_relabel: bool,
    /// Id mappings for this mount alone.
    pub id_map: Option<IdMappings>,
    /// What else the mount forbids.
    #[serde(default)]
    pub options: Vec<MountOption>,
}

/// What a mount can forbid: CRI `Mount.mount_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::enum_variant_names,
    reason = "the options of mount(8) have these names"
)]
pub(crate) enum MountOption {
    /// Nothing on it is executed.
    NoExec,
    /// Its device nodes are no devices.
    NoDev,
    /// Its set-user-id and set-group-id bits and file capabilities have no effect.
    NoSuid,
}

impl MountOption {
    /// All that there are.
    pub(crate) const ALL: [Self; 3] = [Self::NoExec, Self::NoDev, Self::NoSuid];

    /// Its name, which CRI and OCI share.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoExec => "noexec",
            Self::NoDev => "nodev",
            Self::NoSuid => "nosuid",
        }
    }
}

/// Where a volume's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeSource {
    /// A path of the host; a missing one becomes a directory, as in containerd.
    Host(HostPath),
    /// An image, with a path below its root (empty: all of it).
    Image {
        /// Reference of the image.
        image: ImageSpec,
        /// Path below the image's root.
        sub_path: String,
    },
}

impl VolumeSource {
    /// What the Spec calls it: the path, or for an image its reference with the path below it.
    pub(crate) fn spec_name(&self) -> PathBuf {
        match self {
            Self::Host(path) => path.as_path().to_owned(),
            Self::Image { image, sub_path } => Path::new(&image.image).join(sub_path),
        }
    }
}

/// CRI `MountPropagation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumePropagation {
    /// None: `rprivate`.
    #[default]
    Private,
    /// Later mounts of the host show up: `rslave`.
    HostToContainer,
    /// In both directions: `rshared`.
    Bidirectional,
}
