//! Volumes that an image declares: a directory of the container for each, with what the image has there.
//!
//! They live and die with the container. What the request mounts at the same place comes instead.

use std::collections::BTreeMap;

use super::error::{ImageUseError, PodError};
use super::node::Node;
use super::record::ContainerRecord;
use crate::spec::{ContainerPath, HostPath, PathError};

/// The declared places that no mount of the request takes, with the number of each.
fn places(record: &ContainerRecord) -> Result<BTreeMap<ContainerPath, usize>, PodError> {
    let requested = |path: &ContainerPath| {
        let mut mounts = record.config.mounts.iter();
        mounts.any(|mount| mount.container_path == *path)
    };
    let mut places = BTreeMap::new();
    for (number, text) in record.image.defaults.volumes.iter().enumerate() {
        let path = ContainerPath::new("the image's configuration, Volumes", text)
            .map_err(of_image(record))?;
        if !requested(&path) {
            // One that is declared twice, in two spellings, is one.
            places.entry(path).or_insert(number);
        }
    }
    Ok(places)
}

/// The error of a volume that the container's image declares.
fn of_image(record: &ContainerRecord) -> impl FnOnce(PathError) -> PodError {
    |source| {
        PodError::Image(ImageUseError::DeclaredVolume {
            image: record.config.image.image.clone(),
            source,
        })
    }
}

/// Where the volumes of a container are mounted, and the directories that they are.
pub(super) fn mounts(
    node: &Node,
    record: &ContainerRecord,
) -> Result<Vec<(ContainerPath, HostPath)>, PodError> {
    let mut mounts = Vec::new();
    for (path, number) in places(record)? {
        let directory = node.volume_path(record.id, number);
        let directory = HostPath::new("root_dir", &directory.to_string_lossy());
        mounts.push((path, directory.map_err(of_image(record))?));
    }
    Ok(mounts)
}

/// Makes the directories and fills them. Blocks.
pub(super) fn make(node: &Node, record: &ContainerRecord) -> Result<(), PodError> {
    for (path, number) in places(record)? {
        let directory = node.make_volume(record.id, number)?;
        let layers = &record.image.layers;
        node.images
            .copy_directory(layers, path.as_str(), &directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::testing;
    use crate::spec::{ContainerConfig, VolumeMount};
    use holdfast_kernel::id::PodId;

    fn declaring(volumes: &[&str]) -> ContainerRecord {
        let config = ContainerConfig {
            mounts: vec![VolumeMount::writable("/requested", "/srv")],
            ..ContainerConfig::default()
        };
        let mut record = testing::container(PodId::random().unwrap(), config);
        let image = Arc::make_mut(&mut record.image);
        image.defaults.volumes = volumes.iter().map(|&text| text.to_owned()).collect();
        record
    }

    /// Docker writes `/a` and `/a/` for the same VOLUME; a mount of the request takes the place of a declared one.
    #[test]
    fn each_declared_place_counts_once_and_mounts_of_the_request_win() {
        let record = declaring(&["/data", "/data/", "/requested", "/requested/", "/b"]);
        let places = places(&record).unwrap();
        let found: Vec<_> = places
            .iter()
            .map(|(path, number)| (path.as_str(), *number))
            .collect();
        assert_eq!(found, [("/b", 4), ("/data", 0)]);
        assert!(super::places(&declaring(&[])).unwrap().is_empty());
    }

    #[test]
    fn an_impossible_place_is_the_images_fault() {
        for wrong in ["/../x", "a/../../b"] {
            let error = places(&declaring(&[wrong])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
            assert!(error.to_string().contains("image.volumes"), "{error}");
        }
    }
}
