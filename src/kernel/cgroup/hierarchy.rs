//! The cgroup trees of this machine, held open at their roots.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode as FileMode;

use super::mounts::{self, TreeMount};
use super::{CgroupError, CgroupPath, Controller, Limits, file};

/// How the kernel's cgroup trees are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A single v2 tree with all controllers.
    V2,
    /// v1 controllers with a v2 tree beside them, in which processes are tracked too.
    Hybrid,
    /// There are v1 trees only.
    V1,
}

/// Who creates the group of a pod. What lies in it is always made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// This process makes the directories itself.
    #[default]
    Cgroupfs,
    /// systemd makes a delegated scope, asked over D-Bus. Only with [`Mode::V2`].
    Systemd,
}

/// A v1 hierarchy or the v2 tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// The name of the tree in messages.
    pub(super) label: String,
    /// The controllers of a v1 tree; None for the v2 tree.
    pub(super) v1: Option<Vec<Controller>>,
    /// The directory that paths start from.
    pub(super) root: OwnedFd,
    /// The controllers the v2 root offers; empty for v1.
    pub(super) offers: Vec<Controller>,
}

impl Tree {
    /// Whether this tree manages the given controller.
    pub(super) fn has(&self, controller: Controller) -> bool {
        self.v1
            .as_ref()
            .unwrap_or(&self.offers)
            .contains(&controller)
    }
}

/// Every cgroup tree of the machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    pub(super) trees: Arc<[Tree]>,
}

impl Hierarchy {
    /// Finds and opens the mounted cgroup trees, wherever they are mounted.
    ///
    /// # Errors
    /// [`CgroupError::NoHierarchy`] when none is mounted; [`CgroupError::Kernel`] when a root cannot be
    /// opened.
    pub fn detect() -> Result<Hierarchy, CgroupError> {
        let mountinfo =
            std::fs::read_to_string("/proc/self/mountinfo").map_err(CgroupError::Mounts)?;
        Hierarchy::at(mounts::parse(&mountinfo))
    }

    /// Opens the given trees.
    pub(super) fn at(mounts: Vec<TreeMount>) -> Result<Hierarchy, CgroupError> {
        let trees = mounts
            .into_iter()
            .map(|mount| {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let root = open(mount.point.as_str(), flags, FileMode::empty())
                    .map_err(|errno| kernel("open", mount.point.clone(), errno))?;
                Ok(Tree::new(mount.label, mount.v1, root))
            })
            .collect::<Result<Arc<[Tree]>, CgroupError>>()?;
        if trees.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(Hierarchy { trees })
    }

    /// The hierarchy seen from a group of this one, which is created where it is missing: every path given to
    /// the result lies below that group. Tests and nested daemons stay inside their own subtree with it.
    ///
    /// # Errors
    /// As [`Hierarchy::create`].
    pub fn below(&self, path: &CgroupPath) -> Result<Hierarchy, CgroupError> {
        let group = self.create(path, &Limits::default())?;
        self.hand_down(path)?;
        let trees = group
            .into_dirs()
            .into_iter()
            .zip(self.trees.iter())
            .map(|(dir, tree)| Tree::new(format!("{}:{path}", tree.label), tree.v1.clone(), dir))
            .collect();
        Ok(Hierarchy { trees })
    }

    /// The layout of the trees.
    pub fn mode(&self) -> Mode {
        let unified = self.trees.iter().any(|tree| tree.v1.is_none());
        let v1 = self.trees.iter().any(|tree| tree.v1.is_some());
        match (unified, v1) {
            (true, false) => Mode::V2,
            (true, true) => Mode::Hybrid,
            (false, _) => Mode::V1,
        }
    }

    /// Whether the trees can still be read.
    ///
    /// # Errors
    /// [`CgroupError::Kernel`] naming the first that cannot.
    pub fn check(&self) -> Result<(), CgroupError> {
        for tree in self.trees.iter() {
            file::open(&tree.root, "cgroup.procs")
                .map_err(|errno| kernel("read", format!("{}:/cgroup.procs", tree.label), errno))?;
        }
        Ok(())
    }

    /// Whether any tree manages the given controller.
    pub fn has(&self, controller: Controller) -> bool {
        self.trees.iter().any(|tree| tree.has(controller))
    }
}

impl Tree {
    fn new(label: String, v1: Option<Vec<Controller>>, root: OwnedFd) -> Tree {
        let offers = match v1 {
            Some(_) => Vec::new(),
            None => controllers(&root).unwrap_or_default(),
        };
        Tree {
            label,
            v1,
            root,
            offers,
        }
    }
}

/// The controllers a v2 group may use.
pub(super) fn controllers(dir: &OwnedFd) -> Result<Vec<Controller>, Errno> {
    Ok(file::read(dir, "cgroup.controllers")?
        .split_whitespace()
        .map(Controller::from_name)
        .filter(|controller| *controller != Controller::Other)
        .collect())
}

/// The error of a failed system call.
pub(super) fn kernel(
    operation: impl Into<String>,
    object: impl Into<String>,
    source: Errno,
) -> CgroupError {
    CgroupError::Kernel {
        operation: operation.into(),
        object: object.into(),
        source,
    }
}
