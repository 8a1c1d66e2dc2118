//! The settings of the images, as the daemon's configuration has them.

use crate::reference::Reference;
use std::path::PathBuf;
use std::time::Duration;

/// How the store works; every field has a default.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// containerd's `certs.d`: a directory of `HOST/hosts.toml`.
    pub hosts_dir: Option<PathBuf>,
    /// Layers of one image under way at once.
    pub max_parallel_layers: usize,
    /// A connection that brings nothing for so long is broken off, and the download resumed.
    pub stall_timeout: Duration,
    /// A download that brings less than this, in bytes per second, is broken off too; 0 sets no limit.
    pub min_download_rate: u64,
    /// The time over which that rate is measured.
    pub download_rate_window: Duration,
    /// References of images the kubelet must not collect; `*` stands for any characters.
    pub pinned: Vec<String>,
    /// The most entries in one layer.
    pub max_layer_entries: u64,
    /// The most content of one layer unpacked, in bytes.
    pub max_layer_bytes: u64,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            hosts_dir: None,
            max_parallel_layers: 3,
            stall_timeout: Duration::from_secs(60),
            min_download_rate: 1 << 10,
            download_rate_window: Duration::from_secs(60),
            pinned: Vec::new(),
            max_layer_entries: 4 << 20,
            max_layer_bytes: 256 << 30,
        }
    }
}

impl ImageSettings {
    /// Brings pinned references into canonical form and keeps patterns as they are. A text that is not a reference
    /// pins nothing.
    pub(crate) fn normalised(mut self) -> Self {
        self.max_parallel_layers = self.max_parallel_layers.max(1);
        for pinned in self.pinned.iter_mut().filter(|pin| !pin.contains('*')) {
            match pinned.parse::<Reference>() {
                Ok(reference) => *pinned = reference.to_string(),
                Err(e) => {
                    tracing::warn!(reference = %pinned, error = &e as &dyn std::error::Error, "cannot pin an image")
                }
            }
        }
        self
    }
}
