//! File systems that are full, or soon are.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, Options};
use crate::place::Place;
use crate::program;

/// Puts a file system of its own at a directory of a place: a tmpfs of this size, as mount(8) takes it. The
/// clean-up of the place takes it away again.
pub fn small(dir: &Path, size: &str) {
    let options = format!("size={size},mode=755");
    let mut args = ["-t", "tmpfs", "-o", &options, "tmpfs"]
        .map(Path::new)
        .to_vec();
    args.push(dir);
    program::run("mount", args).ok();
}

/// A daemon one of whose directories is on a small file system.
pub fn daemon_on_small(dir: fn(&Place) -> PathBuf, size: &str) -> Daemon {
    let place = Place::new();
    Options::default().write(&place);
    small(&dir(&place), size);
    Daemon::at(place)
}

/// What takes all the room of a file system, until it is dropped.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Filler {
    /// Writes a file below this directory until there is no room.
    pub fn of(dir: &Path) -> Self {
        let path = dir.join("filler");
        if let Ok(mut file) = File::create(&path) {
            let block = vec![0x5a; 1 << 20];
            for size in [1 << 20, 4096, 1] {
                while file.write_all(&block[..size]).is_ok() {}
            }
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
