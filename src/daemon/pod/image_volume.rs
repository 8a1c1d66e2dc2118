//! Images as volumes: which image a request means, and that it has what is asked for.

use std::path::PathBuf;

use super::error::{ImageUseError, PodError};
use super::node::Node;
use super::record::{ContainerRecord, ImageVolume};
use crate::plan::ImageTree;
use crate::spec::{ContainerConfig, VolumeSource};
use holdfast_image::{LayerName, lower_layers};

/// Finds the images of all volumes.
///
/// # Errors
/// [`ImageUseError::VolumeMissing`] names the first that is not in the store.
pub(super) fn resolve(node: &Node, config: &ContainerConfig) -> Result<Vec<ImageVolume>, PodError> {
    let mut found = Vec::new();
    for (mount, volume) in config.mounts.iter().enumerate() {
        let VolumeSource::Image { image, .. } = &volume.source else {
            continue;
        };
        let Some(present) = node.images.resolve(&image.image) else {
            return Err(PodError::Image(ImageUseError::VolumeMissing {
                mount,
                image: image.image.clone(),
            }));
        };
        found.push(ImageVolume {
            mount,
            digest: present.id.to_string(),
            layers: present.layers.clone(),
        });
    }
    Ok(found)
}

/// The layers of all images among the volumes, as far as they are in the store.
pub(super) fn layers(node: &Node, config: &ContainerConfig) -> Vec<LayerName> {
    let images = config
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            VolumeSource::Image { image, .. } => node.images.resolve(&image.image),
            VolumeSource::Host(_) => None,
        });
    images.flat_map(|image| image.layers.clone()).collect()
}

/// Checks that every image has the directory that is asked for. Blocks.
///
/// # Errors
/// [`ImageUseError::VolumeSubPath`] names the first that has not.
pub(super) fn check(node: &Node, record: &ContainerRecord) -> Result<(), PodError> {
    for volume in &record.image_volumes {
        let source = &record.config.mounts[volume.mount].source;
        if let VolumeSource::Image { image, sub_path } = source
            && !node.images.is_directory(&volume.layers, sub_path)?
        {
            return Err(PodError::Image(ImageUseError::VolumeSubPath {
                mount: volume.mount,
                image: image.image.clone(),
                sub_path: sub_path.clone(),
            }));
        }
    }
    Ok(())
}

/// The volumes as a launch plan takes them.
pub(super) fn trees(node: &Node, record: &ContainerRecord) -> Vec<ImageTree> {
    let tree = |volume: &ImageVolume| {
        let source = &record.config.mounts.get(volume.mount)?.source;
        let VolumeSource::Image { sub_path, .. } = source else {
            return None;
        };
        Some(ImageTree {
            source: source.spec_name(),
            lower: lower(node, &volume.layers),
            sub_path: sub_path.clone(),
        })
    };
    record.image_volumes.iter().filter_map(tree).collect()
}

/// The directories of layers (the bottom one first) as the shim sees them and overlay takes them.
pub(super) fn lower(node: &Node, layers: &[LayerName]) -> Vec<PathBuf> {
    let directory = node.store_path(node.images.layers_dir());
    lower_layers(layers)
        .map(|layer| directory.join(layer.as_str()).join("diff"))
        .collect()
}
