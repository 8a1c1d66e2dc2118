//! Directories in memory, for what is in /run on a node.

use std::path::Path;

/// Mounts a tmpfs at a directory.
pub fn mount(directory: &Path) {
    let directory = directory.display().to_string();
    e2e::program::run("mount", ["-t", "tmpfs", "tmpfs", directory.as_str()]).ok();
}
