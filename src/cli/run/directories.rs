//! Directories that pods from manifests use: logs and emptyDir volumes. A kubelet would make them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cri_api::runtime::v1 as cri;

use super::RootArgs;
use super::manifest::{Directory, Roots, log_directory_name};
use crate::disk::{Dir, DirError, FileName, FileNameError};

/// Why a directory of a pod cannot be made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Make {
        /// The directory.
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
            logs: self.log_root.clone(),
            volumes: self.volume_root.clone(),
            memory_volumes: self.memory_volume_root.clone(),
        }
    }
}

/// Makes directories with exactly their modes; those that exist stay as they are.
pub(super) fn make(directories: &[Directory]) -> Result<(), DirectoryError> {
    for directory in directories {
        let path = directory.path.as_path();
        let failed = |source| DirectoryError::Make {
            path: path.to_owned(),
            source,
        };
        if path.is_dir() {
            continue;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(failed)?;
        // Afterwards, because the umask takes bits from a new directory.
        fs::set_permissions(path, Permissions::from_mode(directory.mode)).map_err(failed)?;
    }
    Ok(())
}

/// Deletes a pod's directories. Missing ones are fine.
pub(in crate::cli) fn delete(
    metadata: &cri::PodSandboxMetadata,
    args: &RootArgs,
) -> Result<(), DirectoryError> {
    delete_one(&args.log_root, &log_directory_name(metadata))?;
    delete_one(&args.volume_root, &metadata.uid)?;
    delete_one(&args.memory_volume_root, &metadata.uid)
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
