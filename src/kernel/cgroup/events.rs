//! Out-of-memory kills: a descriptor to poll and a counter to read.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{CgroupError, Role, file, hierarchy::kernel};

/// Watches one group for out-of-memory kills.
///
/// The counter lives in the kernel, so nothing is missed between two polls: poll, then compare
/// [`OomWatch::oom_kills`] with the number seen last. Reading it once more after a process died and before the
/// group is removed tells whether it died of memory.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// `memory.events`: EPOLLPRI at every change of any counter in it, for the group and all below.
    V2 { events: OwnedFd },
    /// An eventfd that the kernel raises when the group runs out of memory, and `memory.oom_control`.
    V1 { event: EventFd, control: OwnedFd },
}

impl OomWatch {
    /// Watches the group whose memory directory this is; take it from [`super::Cgroup::memory_entry`].
    ///
    /// # Errors
    /// [`CgroupError::Kernel`] when the directory has no memory controller or the kernel refuses the watch.
    pub fn new(memory: BorrowedFd<'_>, role: Role<'_>) -> Result<OomWatch, CgroupError> {
        let source = match role {
            Role::Unified => Source::V2 {
                events: file::open(memory, "memory.events")
                    .map_err(|errno| kernel("open", "memory.events", errno))?,
            },
            Role::V1(_) => watch_v1(memory).map_err(|errno| {
                kernel(
                    "register an OOM event in",
                    "memory:cgroup.event_control",
                    errno,
                )
            })?,
        };
        let watch = OomWatch { source };
        // A v2 file reports changes since it was last read.
        watch.oom_kills()?;
        Ok(watch)
    }

    /// Whether the descriptor signals by priority data (EPOLLPRI; v2) instead of by readable data (EPOLLIN;
    /// v1).
    pub fn signals_by_priority(&self) -> bool {
        matches!(self.source, Source::V2 { .. })
    }

    /// How many processes of the group were killed for lack of memory since it was created, groups below
    /// included. Also takes the pending event off the descriptor, which is then quiet until the next one.
    ///
    /// # Errors
    /// [`CgroupError::Kernel`], ENODEV when the group was removed.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let (file, name) = match &self.source {
            Source::V2 { events } => (events, "memory.events"),
            Source::V1 { event, control } => {
                // Not raised means nothing to take off.
                let _ = event.read();
                (control, "memory.oom_control")
            }
        };
        let mut buf = [0_u8; 1024];
        let text = file::read_into(file, &mut buf).map_err(|errno| kernel("read", name, errno))?;
        Ok(file::field(text, "oom_kill").unwrap_or(0))
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::V2 { events } => events.as_fd(),
            Source::V1 { event, .. } => event.as_fd(),
        }
    }
}

/// Registers an eventfd by writing "eventfd control-fd" (cgroup-v1/memory, "OOM Control"). The kernel drops
/// the registration when the eventfd is closed.
fn watch_v1(memory: BorrowedFd<'_>) -> Result<Source, Errno> {
    let control = file::open(memory, "memory.oom_control")?;
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let request = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(memory, "cgroup.event_control", &request)?;
    Ok(Source::V1 { event, control })
}
