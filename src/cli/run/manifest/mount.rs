//! Where containers have the pod's volumes, and how they may use them.

use std::path::Path;

use cri_api::runtime::v1::{self as cri, MountPropagation};

use super::manifest_error::ManifestError;
use super::pod::{Pod, Source};
use super::schema::{self, Container};

/// How a container may use a mounted volume. [`Access::parse`] alone checks the fields that say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// The container reads and writes; the propagation says which later mounts it shares with the host.
    ReadWrite(MountPropagation),
    /// The container only reads the volume itself; mounts below it may be writable.
    ReadOnly(MountPropagation),
    /// The container only reads, in mounts below the volume too.
    RecursiveReadOnly,
}

impl Access {
    /// Reads `readOnly`, `recursiveReadOnly` and `mountPropagation` of a mount of this volume. An image is read-only
    /// whatever the mount says.
    fn parse(
        field: &str,
        mount: &schema::VolumeMount,
        volume: &Source,
    ) -> Result<Self, ManifestError> {
        let read_only = mount.read_only || matches!(volume, Source::Image(_));
        let propagation = propagation(field, mount)?;
        let recursive = recursive(field, mount)?;
        let field = format!("{field}.recursiveReadOnly");
        match (read_only, recursive, propagation) {
            (false, false, propagation) => Ok(Self::ReadWrite(propagation)),
            (true, false, propagation) => Ok(Self::ReadOnly(propagation)),
            (true, true, MountPropagation::PropagationPrivate) => Ok(Self::RecursiveReadOnly),
            (false, true, _) => {
                let remedy = "set readOnly: true as well";
                Err(ManifestError::field(field, "Enabled", remedy))
            }
            (true, true, _) => {
                let remedy = "leave mountPropagation out, or set it to None";
                Err(ManifestError::field(field, "Enabled", remedy))
            }
        }
    }

    /// Writes the access into a mount of the CRI.
    fn apply(self, mount: cri::Mount) -> cri::Mount {
        let (readonly, recursive_read_only, propagation) = match self {
            Self::ReadWrite(propagation) => (false, false, propagation),
            Self::ReadOnly(propagation) => (true, false, propagation),
            Self::RecursiveReadOnly => (true, true, MountPropagation::PropagationPrivate),
        };
        cri::Mount {
            readonly,
            recursive_read_only,
            propagation: propagation.into(),
            ..mount
        }
    }
}

/// Where a container has the pod's volumes.
pub(super) fn mounts(
    field: &str,
    container: &Container,
    pod: &Pod<'_>,
) -> Result<Vec<cri::Mount>, ManifestError> {
    let mount = |(index, mount): (usize, &schema::VolumeMount)| {
        let field = format!("{field}.volumeMounts[{index}]");
        let volume = pod.volumes.get(&mount.name).ok_or_else(|| {
            let remedy = "spec.volumes has no such volume";
            ManifestError::field(format!("{field}.name"), &mount.name, remedy)
        })?;
        let common = Access::parse(&field, mount, volume)?.apply(cri::Mount {
            container_path: mount.mount_path.clone(),
            ..Default::default()
        });
        match volume {
            Source::Host(path) => host(&field, mount, path, (common, pod)),
            Source::Image(reference) => Ok(image(mount, reference, common)),
        }
    };
    container
        .volume_mounts
        .iter()
        .enumerate()
        .map(mount)
        .collect()
}

/// A path of the host. In a pod with a user namespace it is mapped, so that its owners are the same numbers in
/// the pod.
fn host(
    field: &str,
    mount: &schema::VolumeMount,
    path: &Path,
    (common, pod): (cri::Mount, &Pod<'_>),
) -> Result<cri::Mount, ManifestError> {
    if !mount.sub_path.is_empty() {
        // A container could put a symbolic link there between two starts, and the next one would mount what it
        // points to on the host.
        let remedy = "only volumes of type image have one: mount the whole volume";
        let field = format!("{field}.subPath");
        return Err(ManifestError::field(field, &mount.sub_path, remedy));
    }
    let users = pod.namespaces.userns_options.as_ref();
    Ok(cri::Mount {
        host_path: path.to_string_lossy().into_owned(),
        uid_mappings: users.map(|users| users.uids.clone()).unwrap_or_default(),
        gid_mappings: users.map(|users| users.gids.clone()).unwrap_or_default(),
        ..common
    })
}

/// Mounts an image, or the part of it that the mount names.
fn image(mount: &schema::VolumeMount, reference: &str, common: cri::Mount) -> cri::Mount {
    cri::Mount {
        image: Some(cri::ImageSpec {
            image: reference.to_owned(),
            user_specified_image: reference.to_owned(),
            ..Default::default()
        }),
        image_sub_path: mount.sub_path.clone(),
        ..common
    }
}

fn recursive(field: &str, mount: &schema::VolumeMount) -> Result<bool, ManifestError> {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => Ok(false),
        Some("Enabled") => Ok(true),
        Some(other) => {
            let field = format!("{field}.recursiveReadOnly");
            Err(ManifestError::field(
                field,
                other,
                "give Enabled or Disabled",
            ))
        }
    }
}

fn propagation(
    field: &str,
    mount: &schema::VolumeMount,
) -> Result<MountPropagation, ManifestError> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => {
            let field = format!("{field}.mountPropagation");
            Err(ManifestError::field(
                field,
                other,
                "give None, HostToContainer or Bidirectional",
            ))
        }
    }
}
