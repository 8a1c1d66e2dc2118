//! The machine's start anew, as far as a daemon and its pods can tell.
//!
//! ```text
//!   daemon ended ─▶ processes killed, mounts, links, rules and cgroups gone ─▶ run directory emptied
//!                ─▶ another boot id ─▶ daemon started
//! ```
//!
//! The daemon reads the kernel's boot id. After a reboot it runs in a mount namespace of its own in which a file
//! lies over that: nothing in the daemon is made for this.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::call::until;
use crate::daemon::Daemon;
use crate::leaks;
use crate::program;

/// What becomes of the run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunDir {
    /// It is on a tmpfs.
    Emptied,
    /// It is on a disk.
    Kept,
}

/// Starts the machine of a daemon anew that was killed or terminated before, and the daemon with it.
#[track_caller]
pub fn reboot(daemon: &Daemon, run_dir: RunDir) -> Duration {
    down(daemon, run_dir);
    daemon.restart()
}

/// As [`reboot`], without the daemon's start.
#[track_caller]
pub fn down(daemon: &Daemon, run_dir: RunDir) {
    let place = &daemon.place;
    until("the end of all processes", Duration::from_secs(10), || {
        leaks::kill(place);
        leaks::processes(place).is_empty().then_some(())
    });
    let has_home = place.home().is_some();
    leaks::unplug(place);
    if run_dir == RunDir::Emptied {
        empty(&place.run());
    }
    // /run/netns is on a tmpfs wherever the run directory is.
    empty(&place.netns());
    if has_home {
        program::run("ip", ["netns", "add", place.tag.as_str()]).ok();
        program::run("ip", ["-n", place.tag.as_str(), "link", "set", "lo", "up"]).ok();
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid");
    let id = id.unwrap_or_else(|error| panic!("a new boot id: {error}"));
    fs::write(place.boot_id(), id).unwrap_or_else(|error| panic!("write the boot id: {error}"));
}

fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let gone = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        gone.unwrap_or_else(|error| panic!("remove {}: {error}", path.display()));
    }
}

/// All files below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}
