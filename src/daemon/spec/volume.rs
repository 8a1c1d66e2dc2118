//! Volumes of a container: CRI's `Mount`, checked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ContainerPath, HostPath, ImageSpec};
use holdfast_wire::plan::IdMappings;

/// A volume of a container: CRI's `Mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeMount {
    /// The path in the container at which the volume is mounted.
    pub container_path: ContainerPath,
    /// The host path or the image that is mounted.
    pub source: VolumeSource,
    /// Whether the container may write to the volume.
    pub access: VolumeAccess,
    /// Which later mounts pass between the host and the container.
    pub propagation: VolumePropagation,
    /// Whether the files get the container's SELinux label.
    pub selinux_relabel: bool,
    /// The id mappings of this mount alone.
    pub id_map: Option<IdMappings>,
    /// Options that forbid more than writing.
    #[serde(default)]
    pub options: Vec<MountOption>,
}

#[cfg(test)]
impl VolumeMount {
    /// A writable volume of a host path, for tests that change what they are about.
    pub(crate) fn writable(container_path: &str, host_path: &str) -> Self {
        Self {
            container_path: ContainerPath::new("container_path", container_path).unwrap(),
            source: VolumeSource::Host(HostPath::new("host_path", host_path).unwrap()),
            access: VolumeAccess::ReadWrite,
            propagation: VolumePropagation::Private,
            selinux_relabel: false,
            id_map: None,
            options: Vec::new(),
        }
    }
}

/// Whether a container may write to a volume.
///
/// ```text
///   readonly   recursive_read_only   host path                             image
///   false      false                 ReadWrite                             refused
///   true       false                 ReadOnly                              ReadOnly
///   true       true                  RecursiveReadOnly, if propagation     RecursiveReadOnly, if propagation
///                                    is PRIVATE, otherwise refused         is PRIVATE, otherwise refused
///   false      true                  refused                               refused
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeAccess {
    /// The container may write to the volume.
    ReadWrite,
    /// The volume is read-only. Mounts below it stay as they are on the host.
    ReadOnly,
    /// The volume and all mounts below it are read-only.
    RecursiveReadOnly,
}

/// The flags of a volume do not go together. `field` and `value` are those of the flag at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccessError {
    /// Name of the field in CRI's `Mount`.
    pub field: &'static str,
    /// Value of the field.
    pub value: &'static str,
    /// The remedy, as an imperative.
    pub remedy: &'static str,
}

impl VolumeAccess {
    /// The access that the flags of a request mean. This is the only place that decides which flags go together.
    ///
    /// # Errors
    /// [`AccessError`] for flags that the protocol excludes.
    pub(crate) fn of_request(
        (readonly, recursive_read_only): (bool, bool),
        propagation: VolumePropagation,
        source: &VolumeSource,
    ) -> Result<Self, AccessError> {
        let is_private = propagation == VolumePropagation::Private;
        let recursive = |remedy| AccessError {
            field: "recursive_read_only",
            value: "true",
            remedy,
        };
        match (readonly, recursive_read_only, source) {
            (false, _, VolumeSource::Image { .. }) => Err(AccessError {
                field: "readonly",
                value: "false",
                remedy: "a volume from an image is read-only; set readonly to true",
            }),
            (false, false, VolumeSource::Host(_)) => Ok(Self::ReadWrite),
            (true, false, _) => Ok(Self::ReadOnly),
            (false, true, VolumeSource::Host(_)) => Err(recursive(
                "a writable volume cannot be recursively read-only; set readonly as well",
            )),
            (true, true, _) if is_private => Ok(Self::RecursiveReadOnly),
            (true, true, _) => Err(recursive(
                "a recursively read-only volume has no mount propagation; set propagation to PRIVATE",
            )),
        }
    }

    /// Whether the volume itself is read-only.
    pub(crate) fn is_read_only(self) -> bool {
        match self {
            Self::ReadWrite => false,
            Self::ReadOnly | Self::RecursiveReadOnly => true,
        }
    }
}

/// An option by which a mount forbids something: CRI's `Mount.mount_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::enum_variant_names,
    reason = "the options of mount(8) have these names"
)]
pub(crate) enum MountOption {
    /// Files of the volume cannot be executed.
    NoExec,
    /// Device nodes of the volume give no access to devices.
    NoDev,
    /// Set-user-id bits, set-group-id bits and file capabilities of the volume have no effect.
    NoSuid,
}

impl MountOption {
    /// All options that a request may give.
    pub(crate) const ALL: [Self; 3] = [Self::NoExec, Self::NoDev, Self::NoSuid];

    /// The option's name, which is the same in CRI and OCI.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoExec => "noexec",
            Self::NoDev => "nodev",
            Self::NoSuid => "nosuid",
        }
    }
}

/// The source of a volume's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeSource {
    /// A path of the host. A directory is made where the path is missing, as in containerd.
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
    /// The volume's source in the Spec: the host path, or the image reference followed by the path in the image.
    pub(crate) fn spec_name(&self) -> PathBuf {
        match self {
            Self::Host(path) => path.as_path().to_owned(),
            Self::Image { image, sub_path } => Path::new(&image.image).join(sub_path),
        }
    }
}

/// Which later mounts are seen on the other side: CRI's `MountPropagation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumePropagation {
    /// Later mounts are not seen on the other side: `rprivate`.
    #[default]
    Private,
    /// The container sees later mounts of the host: `rslave`.
    HostToContainer,
    /// Host and container see each other's later mounts: `rshared`.
    Bidirectional,
}

#[cfg(test)]
mod tests {
    use super::VolumePropagation::{Bidirectional, HostToContainer, Private};
    use super::*;

    /// The comments on `readonly`, `recursive_read_only` and `image` of CRI's `Mount` (cri-api v0.37.2). An error is
    /// given by its field.
    #[test]
    fn all_combinations_of_flags_are_decided() {
        use VolumeAccess::{ReadOnly, ReadWrite, RecursiveReadOnly};
        let host = VolumeSource::Host(HostPath::new("host_path", "/srv").unwrap());
        let image = VolumeSource::Image {
            image: ImageSpec::default(),
            sub_path: String::new(),
        };
        let (readonly, recursive) = (Err("readonly"), Err("recursive_read_only"));
        // Flags (readonly, recursive_read_only), then the outcome for a host path and for an image.
        let cases = [
            ((false, false), Private, Ok(ReadWrite), readonly),
            ((false, false), HostToContainer, Ok(ReadWrite), readonly),
            ((false, false), Bidirectional, Ok(ReadWrite), readonly),
            ((false, true), Private, recursive, readonly),
            ((false, true), HostToContainer, recursive, readonly),
            ((false, true), Bidirectional, recursive, readonly),
            ((true, false), Private, Ok(ReadOnly), Ok(ReadOnly)),
            ((true, false), HostToContainer, Ok(ReadOnly), Ok(ReadOnly)),
            ((true, false), Bidirectional, Ok(ReadOnly), Ok(ReadOnly)),
            (
                (true, true),
                Private,
                Ok(RecursiveReadOnly),
                Ok(RecursiveReadOnly),
            ),
            ((true, true), HostToContainer, recursive, recursive),
            ((true, true), Bidirectional, recursive, recursive),
        ];
        for (flags, propagation, of_host, of_image) in cases {
            for (source, wanted) in [(&host, of_host), (&image, of_image)] {
                let found = VolumeAccess::of_request(flags, propagation, source);
                let found = found.map_err(|error| error.field);
                assert_eq!(found, wanted, "{flags:?} {propagation:?} {source:?}");
            }
        }
    }
}
