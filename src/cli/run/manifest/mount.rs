//! Where containers have the pod's volumes.

use std::path::Path;

use cri_api::runtime::v1::{self as cri, MountPropagation};

use super::ManifestError;
use super::container::Pod;
use super::schema::{self, Container};
use super::volume::Source;

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
        let common = cri::Mount {
            container_path: mount.mount_path.clone(),
            readonly: mount.read_only,
            recursive_read_only: recursive(&field, mount)?,
            propagation: propagation(&field, mount)?.into(),
            ..Default::default()
        };
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

/// An image, always read-only.
fn image(mount: &schema::VolumeMount, reference: &str, common: cri::Mount) -> cri::Mount {
    cri::Mount {
        image: Some(cri::ImageSpec {
            image: reference.to_owned(),
            user_specified_image: reference.to_owned(),
            ..Default::default()
        }),
        image_sub_path: mount.sub_path.clone(),
        readonly: true,
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
