//! Volumes of a container.

use cri_api::runtime::v1::{self as cri, MountPropagation};

use super::FieldError;
use super::id_map::{id_mappings, ranges_message};
use super::image::{image_spec, image_spec_message};
use crate::spec::{
    ContainerPath, HostPath, MountOption, NamespaceOptions, VolumeAccess, VolumeMount,
    VolumePropagation, VolumeSource,
};

/// Converts a volume of a request.
///
/// The kernel maps the owners of a volume's files by a user namespace. Only the pod's user namespace exists, so that
/// a volume must have the pod's mappings or none.
pub(super) fn volume(
    field: &str,
    mount: &cri::Mount,
    pod: &NamespaceOptions,
) -> Result<VolumeMount, FieldError> {
    let source = source(field, mount)?;
    let id_map = id_mappings(field, &mount.uid_mappings, &mount.gid_mappings)?;
    if id_map.is_some() && id_map != pod.userns {
        let remedy = "give the mappings of the pod's user namespace, or none";
        return Err(FieldError::invalid(
            format!("{field}.uidMappings"),
            "another mapping than the pod's",
            remedy,
        ));
    }
    let propagation = propagation(field, mount.propagation)?;
    let flags = (mount.readonly, mount.recursive_read_only);
    let access = VolumeAccess::of_request(flags, propagation, &source).map_err(|error| {
        FieldError::invalid(
            format!("{field}.{}", error.field),
            error.value,
            error.remedy,
        )
    })?;
    Ok(VolumeMount {
        container_path: ContainerPath::new(
            &format!("{field}.container_path"),
            &mount.container_path,
        )?,
        source,
        access,
        propagation,
        selinux_relabel: mount.selinux_relabel,
        id_map,
        options: options(field, &mount.mount_options)?,
    })
}

fn source(field: &str, mount: &cri::Mount) -> Result<VolumeSource, FieldError> {
    let image = mount.image.as_ref().filter(|image| !image.image.is_empty());
    let Some(image) = image else {
        if !mount.image_sub_path.is_empty() {
            let remedy = "set image, or leave image_sub_path empty";
            return Err(FieldError::missing(format!("{field}.image"), remedy));
        }
        return Ok(VolumeSource::Host(HostPath::new(
            &format!("{field}.host_path"),
            &mount.host_path,
        )?));
    };
    if !mount.host_path.is_empty() {
        let remedy = "leave it empty for a volume from an image";
        return Err(FieldError::invalid(
            format!("{field}.host_path"),
            &mount.host_path,
            remedy,
        ));
    }
    let sub_path = &mount.image_sub_path;
    let sub_field = format!("{field}.image_sub_path");
    if sub_path.starts_with('/') {
        let remedy = "give a path relative to the image's root";
        return Err(FieldError::invalid(sub_field, sub_path, remedy));
    }
    let sub_path = match sub_path.as_str() {
        "" => String::new(),
        text => ContainerPath::new(&sub_field, text)?.as_str()[1..].to_owned(),
    };
    Ok(VolumeSource::Image {
        image: image_spec(&format!("{field}.image"), Some(image))?,
        sub_path,
    })
}

/// Converts mount options. An unknown option is refused, because it may be one that protects.
fn options(field: &str, names: &[String]) -> Result<Vec<MountOption>, FieldError> {
    let option = |(index, name): (usize, &String)| {
        let known = MountOption::ALL
            .into_iter()
            .find(|known| known.as_str() == name);
        known.ok_or_else(|| {
            let field = format!("{field}.mount_options[{index}]");
            FieldError::invalid(field, name, "give noexec, nodev or nosuid")
        })
    };
    names.iter().enumerate().map(option).collect()
}

fn propagation(field: &str, number: i32) -> Result<VolumePropagation, FieldError> {
    match MountPropagation::try_from(number) {
        Ok(MountPropagation::PropagationPrivate) => Ok(VolumePropagation::Private),
        Ok(MountPropagation::PropagationHostToContainer) => Ok(VolumePropagation::HostToContainer),
        Ok(MountPropagation::PropagationBidirectional) => Ok(VolumePropagation::Bidirectional),
        Err(_) => Err(FieldError::invalid(
            format!("{field}.propagation"),
            number,
            "give PRIVATE (0), HOST_TO_CONTAINER (1) or BIDIRECTIONAL (2)",
        )),
    }
}

/// Converts a volume for the container's status, which echoes the request.
pub(super) fn volume_message(volume: &VolumeMount) -> cri::Mount {
    let (host_path, image, image_sub_path) = match &volume.source {
        VolumeSource::Host(path) => (path.as_str().to_owned(), None, String::new()),
        VolumeSource::Image { image, sub_path } => (
            String::new(),
            Some(image_spec_message(image)),
            sub_path.clone(),
        ),
    };
    let propagation = match volume.propagation {
        VolumePropagation::Private => MountPropagation::PropagationPrivate,
        VolumePropagation::HostToContainer => MountPropagation::PropagationHostToContainer,
        VolumePropagation::Bidirectional => MountPropagation::PropagationBidirectional,
    };
    let mappings = volume.id_map.as_ref();
    cri::Mount {
        container_path: volume.container_path.as_str().to_owned(),
        host_path,
        readonly: volume.access.is_read_only(),
        selinux_relabel: volume.selinux_relabel,
        propagation: propagation.into(),
        uid_mappings: mappings
            .map(|map| ranges_message(&map.uids))
            .unwrap_or_default(),
        gid_mappings: mappings
            .map(|map| ranges_message(&map.gids))
            .unwrap_or_default(),
        recursive_read_only: volume.access == VolumeAccess::RecursiveReadOnly,
        image,
        image_sub_path,
        mount_options: volume
            .options
            .iter()
            .map(|option| option.as_str().to_owned())
            .collect(),
    }
}
