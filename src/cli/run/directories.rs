//! Directories that pods from manifests use: logs and emptyDir volumes. A kubelet would make them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use cri_api::runtime::v1 as cri;

use super::RootArgs;
use super::manifest::{Needed, NeededKind, Roots, log_directory_name};
use crate::disk::{Dir, DirError, FileName, FileNameError};

/// Why a directory of a pod cannot be made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be deleted.
    #[error("cannot delete the pod's directory below {}", root.display())]
    Delete {
        /// The directory above.
        root: PathBuf,
        /// Why.
        #[source]
        source: DirError,
    },
    /// The pod's name cannot be a directory's.
    #[error("the pod's directories cannot be named after it")]
    Name(#[from] FileNameError),
}

impl RootArgs {
    /// The directories as the manifest wants them.
    pub(super) fn roots(&self) -> Roots {
        Roots {
            logs: absolute(&self.log_root),
            volumes: absolute(&self.volume_root),
            memory_volumes: absolute(&self.memory_volume_root),
        }
    }
}

/// The daemon and the keeper have other working directories.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Makes what a pod needs, directories with exactly their modes; what exists stays as it is.
pub(super) fn make(needed: &[Needed]) -> Result<(), DirectoryError> {
    for one in needed {
        let path = one.path.as_path();
        let made = match one.kind {
            NeededKind::Directory { .. } if path.is_dir() => Ok(()),
            NeededKind::Directory { mode, group } => make_directory(path, mode, group),
            NeededKind::File if path.exists() => Ok(()),
            NeededKind::File => File::create_new(path).map(drop),
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

/// Deletes the directories of a pod that could not be made. Missing ones are fine.
pub(super) fn delete_below(
    metadata: &cri::PodSandboxMetadata,
    args: &RootArgs,
) -> Result<(), DirectoryError> {
    delete_one(&args.log_root, &log_directory_name(metadata))?;
    delete_one(&args.volume_root, &metadata.uid)?;
    delete_one(&args.memory_volume_root, &metadata.uid)
}

/// Deletes a pod's directories. Missing ones are fine.
pub(in crate::cli) fn delete(
    metadata: &cri::PodSandboxMetadata,
    args: &RootArgs,
) -> Result<(), DirectoryError> {
    delete_below(metadata, args)
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
