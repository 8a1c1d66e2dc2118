//! Where the directories of pods from manifests are.

use std::path::{Path, PathBuf};

use clap::Args;

use super::manifest::Roots;

/// Where directories of pods are made.
#[derive(Debug, Args, Clone)]
pub struct RootArgs {
    /// Directory for the logs of pods.
    #[arg(long, env = "HOLDFAST_LOG_ROOT", default_value = "/var/log/pods")]
    pub log_root: PathBuf,
    /// Directory for emptyDir volumes on disk.
    #[arg(
        long,
        env = "HOLDFAST_VOLUME_ROOT",
        default_value = "/var/lib/holdfast-volumes"
    )]
    pub volume_root: PathBuf,
    /// Directory for emptyDir volumes with medium Memory; it must be on a tmpfs.
    #[arg(
        long,
        env = "HOLDFAST_MEMORY_VOLUME_ROOT",
        default_value = "/run/holdfast-volumes"
    )]
    pub memory_volume_root: PathBuf,
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
