//! One control group: the same path in every tree, held open.

use crate::sys::pid::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::hierarchy::kernel;
use super::stat_files::StatFiles;
use super::{CgroupError, CgroupPath, Controller, file};

/// The role of a group's directory in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// The v2 tree. A process is born here with CLONE_INTO_CGROUP.
    Unified,
    /// A v1 tree with these controllers (none of interest for a named one). A thread moves itself here by
    /// writing `0` to the `tasks` file.
    V1(&'a [Controller]),
}

/// A directory of a group.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Which tree it belongs to.
    pub role: Role<'a>,
    /// The directory, open for reading.
    pub dir: BorrowedFd<'a>,
}

/// A directory of a group, with what is known of its tree.
#[derive(Debug)]
pub(super) struct Member {
    /// The tree's name in messages.
    pub(super) label: String,
    /// The controllers of a v1 tree; None for the v2 tree.
    pub(super) v1: Option<Vec<Controller>>,
    /// The controllers of this group in the v2 tree; empty for v1.
    pub(super) offers: Vec<Controller>,
    /// The group's directory in that tree.
    pub(super) dir: OwnedFd,
}

impl Member {
    /// Whether the directory is in the v2 tree.
    pub(super) fn is_unified(&self) -> bool {
        self.v1.is_none()
    }

    /// Whether the group has the files of a controller in this directory.
    pub(super) fn has(&self, controller: Controller) -> bool {
        self.v1
            .as_ref()
            .unwrap_or(&self.offers)
            .contains(&controller)
    }
}

/// An existing control group. Keeping it keeps its descriptors open, not the group alive.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) path: CgroupPath,
    pub(super) members: Vec<Member>,
    /// Files of [`Cgroup::stats`], opened at the first reading.
    pub(super) files: StatFiles,
}

impl Cgroup {
    /// Makes a group of directories that exist.
    pub(super) fn new(path: CgroupPath, members: Vec<Member>) -> Cgroup {
        Cgroup {
            path,
            members,
            files: StatFiles::default(),
        }
    }

    /// The group's path in the hierarchies.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The group's directories, the v2 one first where there is one: what a process needs to be put into the
    /// group in every tree.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = self
            .members
            .iter()
            .map(|member| Entry {
                role: match &member.v1 {
                    None => Role::Unified,
                    Some(controllers) => Role::V1(controllers),
                },
                dir: member.dir.as_fd(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.role != Role::Unified);
        entries
    }

    /// The directory that the memory controller's files are in, for [`super::OomWatch`].
    pub fn memory_entry(&self) -> Option<Entry<'_>> {
        self.entries().into_iter().find(|entry| match entry.role {
            Role::Unified => self.unified_has(Controller::Memory),
            Role::V1(controllers) => controllers.contains(&Controller::Memory),
        })
    }

    /// Gives a v2 group to a user, who may then make groups below it and move processes between them. That user
    /// owns the directory and the files that the kernel lists as safe in /sys/kernel/cgroup/delegate; the
    /// limits stay with root. In v1 trees nothing changes.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed; [`CgroupError::Kernel`] otherwise.
    pub fn delegate(&self, user: u32) -> Result<(), CgroupError> {
        let Some(member) = self.members.iter().find(|member| member.is_unified()) else {
            return Ok(());
        };
        let names = file::delegated();
        for name in names.iter().map(String::as_str).chain(["."]) {
            match file::give(&member.dir, name, user) {
                // Which files a group has depends on the kernel.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(self.failed("give away", member, name, errno)),
            }
        }
        Ok(())
    }

    /// The processes of the group and of all groups below it.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed; [`CgroupError::Kernel`] otherwise.
    pub fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let Some(member) = self.tracking() else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_processes(&member.dir, &mut pids)
            .map_err(|errno| self.failed("list the processes of", member, "cgroup.procs", errno))?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether the group or one below it holds a process that is not a zombie.
    ///
    /// # Errors
    /// As [`Cgroup::processes`].
    pub fn populated(&self) -> Result<bool, CgroupError> {
        let Some(unified) = self.members.iter().find(|member| member.is_unified()) else {
            return Ok(!self.processes()?.is_empty());
        };
        let events = file::read(&unified.dir, "cgroup.events")
            .map_err(|errno| self.failed("read", unified, "cgroup.events", errno))?;
        Ok(file::field(&events, "populated") == Some(1))
    }

    /// The directory in which processes are counted: the v2 tree, or else a v1 tree that the runtime always
    /// uses.
    pub(super) fn tracking(&self) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.is_unified())
            .or_else(|| self.find(Controller::Freezer))
            .or_else(|| self.find(Controller::Pids))
            .or_else(|| self.members.first())
    }

    /// The directory whose tree manages a controller.
    pub(super) fn find(&self, controller: Controller) -> Option<&Member> {
        self.members.iter().find(|member| member.has(controller))
    }

    /// The error of a failed call on one of the group's files. A removed group answers ENODEV on an open file and
    /// ENOENT for a name, which may also be a file that this kernel lacks.
    pub(super) fn failed(
        &self,
        operation: &str,
        member: &Member,
        name: &str,
        errno: Errno,
    ) -> CgroupError {
        let gone = match errno {
            Errno::ENODEV => true,
            Errno::ENOENT => !file::is_group(&member.dir),
            _ => false,
        };
        if gone {
            return CgroupError::gone(&self.path);
        }
        kernel(
            operation,
            format!("{}:{}/{name}", member.label, self.path),
            errno,
        )
    }

    /// Returns the descriptors of the group's directories.
    pub(super) fn into_dirs(self) -> Vec<OwnedFd> {
        self.members.into_iter().map(|member| member.dir).collect()
    }

    fn unified_has(&self, controller: Controller) -> bool {
        self.members
            .iter()
            .any(|member| member.is_unified() && member.has(controller))
    }
}

/// Adds the processes of a directory and of everything below it. A group that goes away meanwhile has none.
pub(super) fn collect_processes(dir: &OwnedFd, pids: &mut Vec<Pid>) -> Result<(), Errno> {
    let text = match file::read(dir, "cgroup.procs") {
        Err(Errno::ENODEV | Errno::ENOENT) => return Ok(()),
        // A threaded v2 group lists its processes in its threaded domain only.
        Err(Errno::EOPNOTSUPP) => String::new(),
        other => other?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<Pid>().ok()));
    for child in file::children(dir)? {
        match file::open_dir(dir, &child) {
            Ok(below) => collect_processes(&below, pids)?,
            Err(Errno::ENOENT | Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
