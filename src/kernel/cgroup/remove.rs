//! Removing groups: idempotent, children first, never above the path that was asked for.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::group::collect_processes;
use super::hierarchy::{Tree, kernel};
use super::{CgroupError, CgroupPath, Hierarchy, file};

/// How long a removal waits for the last killed processes to leave the group. A dying process leaves within a
/// few milliseconds; one that stays longer hangs in the kernel, and waiting is then the caller's decision.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);
/// Longest pause between two attempts.
const REMOVE_PAUSE_MAX: Duration = Duration::from_millis(16);
/// Deepest nesting that is removed; the kernel's own default for `cgroup.max.depth` is unlimited, and a
/// container with a writable cgroup could nest on purpose.
const DEPTH_LIMIT: usize = 64;

impl Hierarchy {
    /// Removes a group and every group below it from all trees. A missing group is success. Parents stay.
    ///
    /// Every tree is tried even when one fails, so that a single stuck process leaves as little as possible.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes are still inside after half a second;
    /// [`CgroupError::Kernel`] for anything else.
    pub fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let deadline = Instant::now() + REMOVE_DEADLINE;
        let mut first_error = None;
        for tree in self.trees.iter() {
            if let Err(error) = remove_from(tree, path, deadline) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Removes the parents of `path` that are empty, upwards, ending with `up_to` itself, which must be one
    /// of them. A parent that still has children or processes is left, without error.
    ///
    /// # Errors
    /// [`CgroupError::InvalidPath`] when `up_to` is not above `path`; [`CgroupError::Kernel`] when the kernel
    /// refuses for another reason than the group being in use.
    pub fn remove_empty_parents(
        &self,
        path: &CgroupPath,
        up_to: &CgroupPath,
    ) -> Result<(), CgroupError> {
        let below = |inner: &CgroupPath| {
            inner
                .as_str()
                .strip_prefix(up_to.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if path == up_to || !below(path) {
            return Err(CgroupError::InvalidPath {
                path: up_to.to_string(),
                reason: "it does not lie above the removed group",
            });
        }
        for tree in self.trees.iter() {
            let mut current = path.parent();
            while let Some(parent) = current.filter(|parent| below(parent)) {
                match file::remove_dir(&tree.root, parent.relative()) {
                    Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => {}
                    Err(Errno::EBUSY | Errno::ENOTEMPTY) => break,
                    Err(errno) => {
                        return Err(kernel("remove", format!("{}:{parent}", tree.label), errno));
                    }
                }
                current = parent.parent();
            }
        }
        Ok(())
    }
}

fn remove_from(tree: &Tree, path: &CgroupPath, deadline: Instant) -> Result<(), CgroupError> {
    let (parent, leaf) = path.split();
    let object = || format!("{}:{path}", tree.label);
    let parent = match file::open_dir(&tree.root, parent) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        other => other.map_err(|errno| kernel("open the parent of", object(), errno))?,
    };
    let mut pause = Duration::from_micros(500);
    loop {
        match remove_below(&parent, leaf, 0) {
            Ok(()) => return Ok(()),
            Err(Errno::EBUSY) if Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(REMOVE_PAUSE_MAX);
            }
            Err(Errno::EBUSY) => {
                return Err(CgroupError::Busy {
                    path: object(),
                    processes: count_processes(&parent, leaf),
                });
            }
            Err(errno) => return Err(kernel("remove", object(), errno)),
        }
    }
}

/// Removes one group; only when the kernel says it is in use are its children looked at, because most have
/// none.
fn remove_below(parent: &OwnedFd, name: &str, depth: usize) -> Result<(), Errno> {
    match file::remove_dir(parent, name) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) if depth < DEPTH_LIMIT => {}
        Err(errno) => return Err(errno),
    }
    let dir = match file::open_dir(parent, name) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        other => other?,
    };
    let inside = file::children(&dir)?;
    if inside.is_empty() {
        return Err(Errno::EBUSY);
    }
    for child in inside {
        remove_below(&dir, &child, depth + 1)?;
    }
    match file::remove_dir(parent, name) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        other => other,
    }
}

fn count_processes(parent: &OwnedFd, leaf: &str) -> usize {
    let mut pids = Vec::new();
    match file::open_dir(parent, leaf).and_then(|dir| collect_processes(&dir, &mut pids)) {
        Ok(()) => pids.len(),
        Err(_) => 0,
    }
}
