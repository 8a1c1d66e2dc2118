//! Creating and opening groups in every tree.

use crate::sys::pid::Pid;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::group::Member;
use super::hierarchy::{Tree, controllers, kernel};
use super::{Cgroup, CgroupError, CgroupPath, Controller, Hierarchy, Limits, file};

/// Directories made by a creation that is under way: taken away again, newest first, unless kept.
#[derive(Debug, Default)]
struct CreatedDirectories<'t> {
    dirs: Vec<(&'t Tree, String)>,
}

impl Drop for CreatedDirectories<'_> {
    fn drop(&mut self) {
        for (tree, path) in self.dirs.iter().rev() {
            // An error here cannot be reported besides the one that led here, and a group that someone
            // else uses meanwhile has to stay.
            let _ = file::remove_dir(&tree.root, path.as_str());
        }
    }
}

impl Hierarchy {
    /// Creates a group in every tree, with its missing parents, and applies its limits. A group that is there
    /// already is joined and limited. On v2 the controllers are switched on from the root down to the group's
    /// parent; on v1 an empty cpuset is filled from its parent's.
    ///
    /// On failure every directory that this call made is removed again. Controllers that were switched on
    /// stay on: other groups may rely on them by then.
    ///
    /// # Errors
    /// [`CgroupError::Unavailable`] or [`CgroupError::InternalProcesses`] when a limit needs a controller that
    /// cannot be had, [`CgroupError::InvalidLimit`], and [`CgroupError::Kernel`].
    pub fn create(&self, path: &CgroupPath, limits: &Limits) -> Result<Cgroup, CgroupError> {
        limits.validate()?;
        let mut made = CreatedDirectories::default();
        let mut refused = None;
        let mut members = Vec::with_capacity(self.trees.len());
        for tree in self.trees.iter() {
            members.push(create_in(tree, path, &mut made, &mut refused)?);
        }
        let group = Cgroup::new(path.clone(), members);
        match (group.apply_new(limits), refused) {
            (Ok(()), _) => {}
            // The reason why a controller is missing says more than that it is missing.
            (Err(CgroupError::Unavailable { .. }), Some(reason)) => return Err(reason),
            (Err(error), _) => return Err(error),
        }
        made.dirs.clear();
        Ok(group)
    }

    /// Moves a process from an existing v2 group into one below it, which is made without handing it any
    /// controller: so that the group can hand its controllers to others, which it cannot with processes in it.
    ///
    /// # Errors
    /// [`CgroupError::Kernel`] naming what the kernel refused.
    pub fn set_aside(&self, path: &CgroupPath, process: Pid) -> Result<(), CgroupError> {
        for tree in self.trees.iter().filter(|tree| tree.v1.is_none()) {
            let object = || format!("{}:{path}", tree.label);
            match file::make_dir(&tree.root, path.relative()) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(kernel("create", object(), errno)),
            }
            let dir = file::open_dir(&tree.root, path.relative())
                .map_err(|errno| kernel("open", object(), errno))?;
            file::write(&dir, "cgroup.procs", &process.to_string())
                .map_err(|errno| kernel(format!("move process {process} to"), object(), errno))?;
        }
        Ok(())
    }

    /// Opens an existing group, or None when any tree lacks it, also when it is removed just now: a group that is
    /// only half there is not usable and is made whole by [`Hierarchy::create`] or taken away by
    /// [`Hierarchy::remove`].
    ///
    /// # Errors
    /// [`CgroupError::Kernel`] when a directory is there and cannot be opened.
    pub fn open(&self, path: &CgroupPath) -> Result<Option<Cgroup>, CgroupError> {
        let mut members = Vec::with_capacity(self.trees.len());
        for tree in self.trees.iter() {
            match file::open_dir(&tree.root, path.relative()) {
                Ok(dir) => match member(tree, path, dir) {
                    Err(CgroupError::Gone { .. }) => return Ok(None),
                    opened => members.push(opened?),
                },
                Err(Errno::ENOENT | Errno::ENODEV) => return Ok(None),
                Err(errno) => {
                    return Err(kernel("open", format!("{}:{path}", tree.label), errno));
                }
            }
        }
        Ok(Some(Cgroup::new(path.clone(), members)))
    }

    /// Makes an existing group hand its controllers to its children (v2), so that it can serve as a root.
    pub(super) fn hand_down(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        for tree in self.trees.iter().filter(|tree| tree.v1.is_none()) {
            if let Some(refusal) = enable(tree, path.relative())? {
                return Err(refusal);
            }
        }
        Ok(())
    }
}

fn create_in<'t>(
    tree: &'t Tree,
    path: &CgroupPath,
    made: &mut CreatedDirectories<'t>,
    refused: &mut Option<CgroupError>,
) -> Result<Member, CgroupError> {
    let failed = |operation: &str, errno| failed_at(tree, path, operation, "", errno);
    let (parent_path, leaf) = path.split();
    let parent = match file::open_dir(&tree.root, parent_path) {
        Err(Errno::ENOENT) => {
            make_parents(tree, parent_path, made)?;
            file::open_dir(&tree.root, parent_path)
        }
        other => other,
    }
    .map_err(|errno| failed("open the parent of", errno))?;
    if tree.v1.is_none() {
        let first_refusal = enable_down(tree, path)?;
        *refused = refused.take().or(first_refusal);
    }
    match file::make_dir(&parent, leaf) {
        Ok(()) => made.dirs.push((tree, path.relative().to_owned())),
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(failed("create", errno)),
    }
    let dir = file::open_dir(&parent, leaf).map_err(|errno| failed("open", errno))?;
    if tree.v1.is_some() && tree.has(Controller::Cpuset) {
        inherit_cpuset(tree, path, &dir)?;
    }
    member(tree, path, dir)
}

fn make_parents<'t>(
    tree: &'t Tree,
    parent_path: &str,
    made: &mut CreatedDirectories<'t>,
) -> Result<(), CgroupError> {
    let ends = parent_path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([parent_path.len()]);
    for end in ends {
        let ancestor = &parent_path[..end];
        match file::make_dir(&tree.root, ancestor) {
            Ok(()) => made.dirs.push((tree, ancestor.to_owned())),
            Err(Errno::EEXIST) => {}
            Err(errno) => {
                return Err(kernel(
                    "create",
                    format!("{}:/{ancestor}", tree.label),
                    errno,
                ));
            }
        }
    }
    Ok(())
}

/// Switches the controllers on from the root to the parent of `path`. When the parent already hands all of
/// them down, which is the case for every group but the first, one file is read.
fn enable_down(tree: &Tree, path: &CgroupPath) -> Result<Option<CgroupError>, CgroupError> {
    let (parent_path, _) = path.split();
    let wanted = offered(tree);
    if wanted.is_empty() || missing(tree, parent_path, &wanted)?.is_empty() {
        return Ok(None);
    }
    let mut refusal = enable(tree, ".")?;
    if parent_path != "." {
        let ends = parent_path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([parent_path.len()]);
        for end in ends {
            let below = enable(tree, &parent_path[..end])?;
            refusal = refusal.or(below);
        }
    }
    Ok(refusal)
}

/// Makes one v2 group hand its controllers to its children: all at once, and one by one when the kernel
/// refuses one of them. Ok(Some) is the first refusal.
fn enable(tree: &Tree, ancestor: &str) -> Result<Option<CgroupError>, CgroupError> {
    let wanted = missing(tree, ancestor, &offered(tree))?;
    if wanted.is_empty() {
        return Ok(None);
    }
    let failed = |errno| kernel("open", format!("{}:/{ancestor}", tree.label), errno);
    let dir = file::open_dir(&tree.root, ancestor).map_err(failed)?;
    let request = |names: &[Controller]| -> String {
        let signed: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
        signed.join(" ")
    };
    match file::write(&dir, "cgroup.subtree_control", &request(&wanted)) {
        Ok(()) => return Ok(None),
        // Processes are in the way. One by one the kernel would take those controllers that can tell threads
        // apart, and make the group a threaded one, below which no process can live any more.
        Err(errno @ (Errno::EBUSY | Errno::EOPNOTSUPP)) => {
            return Ok(Some(CgroupError::InternalProcesses {
                path: format!("/{}", ancestor.trim_start_matches('.')),
                source: errno,
            }));
        }
        Err(_) => {}
    }
    let mut refusal = None;
    for controller in wanted {
        let value = request(&[controller]);
        if let Err(errno) = file::write(&dir, "cgroup.subtree_control", &value) {
            let path = format!("/{}", ancestor.trim_start_matches('.'));
            refusal.get_or_insert(match errno {
                Errno::EBUSY | Errno::EOPNOTSUPP => CgroupError::InternalProcesses {
                    path,
                    source: errno,
                },
                _ => kernel(
                    format!("write `{value}` to"),
                    format!("{}:{path}/cgroup.subtree_control", tree.label),
                    errno,
                ),
            });
        }
    }
    Ok(refusal)
}

/// The controllers of [`Controller::ON_V2`] that the v2 root has.
fn offered(tree: &Tree) -> Vec<Controller> {
    Controller::ON_V2
        .into_iter()
        .filter(|controller| tree.offers.contains(controller))
        .collect()
}

fn missing(
    tree: &Tree,
    ancestor: &str,
    wanted: &[Controller],
) -> Result<Vec<Controller>, CgroupError> {
    let name = format!("{ancestor}/cgroup.subtree_control");
    let text = file::read(&tree.root, &name).map_err(|errno| match errno {
        Errno::ENODEV | Errno::ENOENT => CgroupError::Gone {
            path: format!("/{ancestor}"),
        },
        _ => kernel("read", format!("{}:{name}", tree.label), errno),
    })?;
    Ok(wanted
        .iter()
        .copied()
        .filter(|controller| {
            !text
                .split_whitespace()
                .any(|name| name == controller.v2_name())
        })
        .collect())
}

/// Fills an empty v1 cpuset from its parent, from the topmost empty one down: the kernel refuses tasks in a
/// group without CPUs or memory nodes (cgroup-v1/cpusets, "clone_children").
fn inherit_cpuset(tree: &Tree, path: &CgroupPath, leaf: &OwnedFd) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let failed = |errno| {
            let file = format!("/{name} from its parent");
            failed_at(tree, path, "fill", &file, errno)
        };
        if !file::read(leaf, name).map_err(failed)?.trim().is_empty() {
            continue;
        }
        let relative = path.relative();
        let mut value = file::read(&tree.root, name).map_err(failed)?;
        for end in relative
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([relative.len()])
        {
            let ancestor = file::open_dir(&tree.root, &relative[..end]).map_err(failed)?;
            let own = file::read(&ancestor, name).map_err(failed)?;
            if own.trim().is_empty() {
                file::write(&ancestor, name, value.trim()).map_err(failed)?;
            } else {
                value = own;
            }
        }
    }
    Ok(())
}

/// The error of a failed call on a group that was there a moment ago, or whose parent was: where it is missing now,
/// somebody removes it at the same time.
fn failed_at(
    tree: &Tree,
    path: &CgroupPath,
    operation: &str,
    file: &str,
    errno: Errno,
) -> CgroupError {
    match errno {
        Errno::ENODEV | Errno::ENOENT => CgroupError::gone(path),
        _ => kernel(operation, format!("{}:{path}{file}", tree.label), errno),
    }
}

fn member(tree: &Tree, path: &CgroupPath, dir: OwnedFd) -> Result<Member, CgroupError> {
    let offers = match tree.v1 {
        Some(_) => Vec::new(),
        // A v2 tree without controllers at its root, as in hybrid layouts, has none anywhere.
        None if tree.offers.is_empty() => Vec::new(),
        None => controllers(&dir)
            .map_err(|errno| failed_at(tree, path, "read", "/cgroup.controllers", errno))?,
    };
    Ok(Member {
        label: tree.label.clone(),
        v1: tree.v1.clone(),
        offers,
        dir,
    })
}
