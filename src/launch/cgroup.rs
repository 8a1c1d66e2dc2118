//! The cgroup directories of one process, as the daemon passed them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;

use holdfast_kernel::sys::{descriptor, path};
use holdfast_wire::CgroupSlot;

/// Whether a clone has put the child into its cgroup v2 directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    /// `CLONE_INTO_CGROUP` has put it there.
    InsideCgroup,
    /// The child must enter by itself.
    OutsideCgroup,
}

/// The directories of one cgroup: one in the v2 tree, one in each v1 hierarchy, or both kinds.
#[derive(Debug, Default)]
pub struct CgroupDirectories {
    slots: Vec<(CgroupSlot, OwnedFd)>,
}

impl CgroupDirectories {
    /// Pairs slots with their descriptors; the shorter list ends it.
    pub fn new(
        slots: impl IntoIterator<Item = CgroupSlot>,
        directories: impl IntoIterator<Item = OwnedFd>,
    ) -> Self {
        Self {
            slots: slots.into_iter().zip(directories).collect(),
        }
    }

    fn find(&self, wanted: CgroupSlot) -> Option<BorrowedFd<'_>> {
        let found = self.slots.iter().find(|(slot, _)| *slot == wanted);
        found.map(|(_, directory)| directory.as_fd())
    }

    /// The cgroup v2 directory.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.find(CgroupSlot::Unified)
    }

    /// The directory that counts memory, and which version it is.
    pub fn memory(&self) -> Option<(CgroupSlot, BorrowedFd<'_>)> {
        [CgroupSlot::V1Memory, CgroupSlot::Unified]
            .into_iter()
            .find_map(|slot| self.find(slot).map(|directory| (slot, directory)))
    }

    /// Any one directory: all of them list the same processes.
    pub fn any(&self) -> Option<BorrowedFd<'_>> {
        self.unified()
            .or_else(|| self.slots.first().map(|(_, directory)| directory.as_fd()))
    }

    /// Moves this process into all of them.
    pub(super) fn enter(&self, birth: Birth) -> nix::Result<()> {
        for (slot, directory) in &self.slots {
            // A v1 hierarchy takes the one thread by `tasks` without the cost of `cgroup.procs`, which
            // waits for all processes of the machine that are forking.
            let file = match (slot, birth) {
                (CgroupSlot::Unified, Birth::InsideCgroup) => continue,
                (CgroupSlot::Unified, Birth::OutsideCgroup) => c"cgroup.procs",
                (CgroupSlot::V1 | CgroupSlot::V1Memory, _) => c"tasks",
            };
            let file = path::open_at(directory.as_fd(), file, OFlag::O_WRONLY)?;
            descriptor::write(file.as_fd(), b"0")?;
        }
        Ok(())
    }
}
