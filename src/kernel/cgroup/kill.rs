//! Kills everything in a group and below it.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::group::{Member, collect_processes};
use super::{Cgroup, CgroupError, Controller, file};
use crate::fault;
use crate::sys::process;

/// How long the v1 loop goes on. SIGKILL takes effect within milliseconds unless a process hangs in the
/// kernel.
const KILL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a v1 group is given to freeze before it is killed thawed.
const FREEZE_DEADLINE: Duration = Duration::from_millis(100);
const KILL_RETRY_DELAY: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Sends SIGKILL to every process of the group and of all groups below it, including those that are being
    /// forked.
    ///
    /// With a v2 tree the kernel does it at once (`cgroup.kill`, Linux 5.14) and this returns before the
    /// processes are gone. On v1 the group is frozen, so that nothing forks and no number is used again, all
    /// are signalled, and the group is thawed, until none is left or two seconds have passed. A group that was removed
    /// has none.
    ///
    /// # Errors
    /// [`CgroupError::Unkillable`] when processes are left on v1; [`CgroupError::Kernel`].
    pub fn kill(&self) -> Result<(), CgroupError> {
        if let Some(unified) = self.members.iter().find(|member| member.is_unified()) {
            match file::write(&unified.dir, "cgroup.kill", "1") {
                Ok(()) | Err(Errno::ENODEV) => return Ok(()),
                Err(Errno::ENOENT | Errno::EOPNOTSUPP) => {}
                Err(errno) => return Err(self.failed("kill by", unified, "cgroup.kill", errno)),
            }
        }
        self.kill_one_by_one()
    }

    /// Sends SIGKILL to each process until the group is empty, for kernels without cgroup.kill.
    pub(super) fn kill_one_by_one(&self) -> Result<(), CgroupError> {
        let Some(member) = self.tracking() else {
            return Ok(());
        };
        let freezer = self
            .find(Controller::Freezer)
            .filter(|freezer| !freezer.is_unified());
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let frozen = freezer.map(Frozen::new);
            let mut pids = Vec::new();
            collect_processes(&member.dir, &mut pids).map_err(|errno| {
                self.failed("list the processes of", member, "cgroup.procs", errno)
            })?;
            for pid in &pids {
                let _step = fault::mark("cgroup.kill-process");
                match process::kill(*pid) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => {
                        return Err(self.failed("kill the processes of", member, "", errno));
                    }
                }
            }
            drop(frozen);
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(CgroupError::Unkillable {
                    path: self.path.to_string(),
                    processes: pids.len(),
                });
            }
            std::thread::sleep(KILL_RETRY_DELAY);
        }
    }
}

/// A frozen v1 group; thawed when dropped, however the loop is left.
#[derive(Debug)]
struct Frozen<'g>(&'g Member);

impl Frozen<'_> {
    fn new(freezer: &Member) -> Frozen<'_> {
        // A group that does not freeze is killed thawed: the loop then catches what forked meanwhile.
        let deadline = Instant::now() + FREEZE_DEADLINE;
        while file::write(&freezer.dir, "freezer.state", "FROZEN").is_ok()
            && file::read(&freezer.dir, "freezer.state").is_ok_and(|s| s.trim() != "FROZEN")
            && Instant::now() < deadline
        {
            std::thread::sleep(KILL_RETRY_DELAY);
        }
        Frozen(freezer)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Fails only when the group is gone, and then nothing is frozen.
        let _ = file::write(&self.0.dir, "freezer.state", "THAWED");
    }
}
