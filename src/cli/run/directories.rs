//! Directories that pods from manifests use: logs and emptyDir volumes. A kubelet would make them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use cri_api::runtime::v1 as cri;

use super::manifest::{RequiredPath, RequiredPathKind, log_directory_name};
use super::roots::RootArgs;
use crate::annotations::DIRECTORIES_ANNOTATION;
use holdfast_disk::{Dir, DirError, FileName, FileNameError};

/// Why a directory of a pod cannot be made or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// The directory cannot be made.
    #[error("cannot create {}", path.display())]
    Make {
        /// The directory or file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The directory cannot be deleted.
    #[error("cannot delete the pod's directory below {}", root.display())]
    Delete {
        root: PathBuf,
        #[source]
        source: DirError,
    },
    /// The pod's name cannot be a directory's.
    #[error("the pod's directories cannot be named after it")]
    Name(#[from] FileNameError),
}

/// Makes what a pod needs, directories with exactly their modes; what exists stays as it is.
pub(super) fn make(needed: &[RequiredPath]) -> Result<(), DirectoryError> {
    for one in needed {
        let path = one.path.as_path();
        let made = match one.kind {
            RequiredPathKind::Directory { .. } if path.is_dir() => Ok(()),
            RequiredPathKind::Directory { mode, group } => make_directory(path, mode, group),
            RequiredPathKind::File if path.exists() => Ok(()),
            RequiredPathKind::File => File::create_new(path).map(drop),
        };
        made.map_err(|source| DirectoryError::Make {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn make_directory(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    if group.is_some() {
        chown(path, None, group)?;
    }
    // Afterwards, because the umask takes bits from a new directory, and a new group takes the set-group-ID bit.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Writes into a pod's annotations where its directories are.
pub(super) fn record(pod: &mut cri::PodSandboxConfig, args: &RootArgs) {
    let metadata = pod.metadata.clone().unwrap_or_default();
    let all = below(&metadata, args).map(|(root, name)| {
        // The daemon and a later command have other working directories.
        let root = std::path::absolute(&root).unwrap_or(root);
        root.join(name).to_string_lossy().into_owned()
    });
    let all = all.join("\n");
    pod.annotations
        .insert(DIRECTORIES_ANNOTATION.to_owned(), all);
}

/// The directories of a pod below these roots.
fn below(metadata: &cri::PodSandboxMetadata, args: &RootArgs) -> [(PathBuf, String); 3] {
    [
        (args.log_root.clone(), log_directory_name(metadata)),
        (args.volume_root.clone(), metadata.uid.clone()),
        (args.memory_volume_root.clone(), metadata.uid.clone()),
    ]
}

/// The directories that a pod's annotation names. Only an absolute path without `..` whose last component is
/// the pod's own counts: annotations come from whoever made the pod.
fn recorded(metadata: &cri::PodSandboxMetadata, annotation: &str) -> Vec<(PathBuf, String)> {
    let own = [log_directory_name(metadata), metadata.uid.clone()];
    let directory = |line: &str| {
        let path = Path::new(line);
        let mut parts = path.components();
        let plain = parts.next() == Some(Component::RootDir)
            && parts.all(|part| matches!(part, Component::Normal(_)));
        let name = path.file_name()?.to_str()?.to_owned();
        let root = path.parent()?.to_owned();
        (plain && own.contains(&name)).then_some((root, name))
    };
    annotation.lines().filter_map(directory).collect()
}

/// Deletes the directories of a pod that could not be made. Missing ones are fine.
pub(super) fn delete_planned(
    metadata: &cri::PodSandboxMetadata,
    args: &RootArgs,
) -> Result<(), DirectoryError> {
    for (root, name) in below(metadata, args) {
        delete_one(&root, &name)?;
    }
    Ok(())
}

/// Deletes a pod's directories: those that it was made with, and for a pod that does not say so, those below
/// these roots. Missing ones are fine.
pub(crate) fn delete(pod: &cri::PodSandbox, args: &RootArgs) -> Result<(), DirectoryError> {
    let metadata = pod.metadata.clone().unwrap_or_default();
    let directories = match pod.annotations.get(DIRECTORIES_ANNOTATION) {
        Some(annotation) => recorded(&metadata, annotation),
        None => below(&metadata, args).into(),
    };
    for (root, name) in directories {
        delete_one(&root, &name)?;
    }
    Ok(())
}

fn delete_one(root: &Path, name: &str) -> Result<(), DirectoryError> {
    let name = FileName::new(name)?;
    let failed = |source| DirectoryError::Delete {
        root: root.to_owned(),
        source,
    };
    let dir = match Dir::open_root(root) {
        Ok(dir) => dir,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    match dir.remove_tree(&name) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use cri_api::runtime::v1 as cri;

    use super::super::roots::RootArgs;
    use super::{DIRECTORIES_ANNOTATION, record, recorded};

    fn metadata() -> cri::PodSandboxMetadata {
        cri::PodSandboxMetadata {
            name: "web".to_owned(),
            uid: "u-1".to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }
    }

    #[test]
    fn what_is_recorded_is_found_again() {
        let mut pod = cri::PodSandboxConfig {
            metadata: Some(metadata()),
            ..Default::default()
        };
        let roots = RootArgs {
            log_root: PathBuf::from("/a/logs"),
            volume_root: PathBuf::from("volumes"),
            memory_volume_root: PathBuf::from("/c"),
        };
        record(&mut pod, &roots);
        let found = recorded(&metadata(), &pod.annotations[DIRECTORIES_ANNOTATION]);
        assert_eq!(found.len(), 3);
        let logs = (PathBuf::from("/a/logs"), "default_web_u-1".to_owned());
        assert_eq!(found[0], logs);
        assert!(found[1].0.is_absolute() && found[1].0.ends_with("volumes"));
        assert_eq!(found[2], (PathBuf::from("/c"), "u-1".to_owned()));
    }

    #[test]
    fn nothing_else_is_ever_deleted() {
        let found = |annotation: &str| recorded(&metadata(), annotation);
        for annotation in [
            "",
            "/",
            "/etc",
            "etc/u-1",
            "/x/../u-1",
            "/x/u-1/..",
            "./u-1",
            "/x/u-2",
            "/x/u-1/y",
        ] {
            assert!(found(annotation).is_empty(), "{annotation}");
        }
        assert_eq!(found("/x/y/u-1")[0].0, Path::new("/x/y"));
    }
}
