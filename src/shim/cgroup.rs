//! The shim's use of cgroups: kills everything in one, and asks whether the OOM killer was there.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use holdfast_kernel::fault;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, path, process};
use holdfast_launch::CgroupDirectories;
use holdfast_wire::CgroupSlot;

/// Bytes of a small cgroup file that are read.
const FILE_BYTES: usize = 4096;

/// How often processes are killed one by one until none is left: more than a fork bomb in a pids limit
/// can outrun, and never without end.
const KILL_ROUNDS: usize = 64;

fn read<'b>(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    buffer: &'b mut [u8],
) -> nix::Result<&'b str> {
    let file = path::open_at(directory, name, OFlag::O_RDONLY)?;
    let length = descriptor::read(file.as_fd(), buffer)?;
    std::str::from_utf8(&buffer[..length]).map_err(|_| Errno::EILSEQ)
}

/// Sends SIGKILL to every process of a cgroup and of those below it.
///
/// # Errors
/// Those of writing `cgroup.kill` or reading `cgroup.procs`.
pub(super) fn kill(directory: BorrowedFd<'_>) -> nix::Result<()> {
    let _step = fault::mark("shim.kill-cgroup");
    match path::open_at(directory, c"cgroup.kill", OFlag::O_WRONLY) {
        Ok(file) => descriptor::write(file.as_fd(), b"1").map(drop),
        // cgroup v1, or Linux before 5.14.
        Err(Errno::ENOENT) => kill_each(directory),
        Err(errno) => Err(errno),
    }
}

fn kill_each(directory: BorrowedFd<'_>) -> nix::Result<()> {
    let mut buffer = [0; FILE_BYTES];
    for _ in 0..KILL_ROUNDS {
        let list = read(directory, c"cgroup.procs", &mut buffer)?;
        if list.is_empty() {
            return Ok(());
        }
        // A number that the buffer's end has cut is read in full in the next round.
        let whole = list.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for pid in whole.lines().filter_map(|line| line.parse::<Pid>().ok()) {
            // A process that has ended by itself is as good.
            let _ = process::kill(pid);
        }
    }
    Ok(())
}

/// How many processes of the cgroup the OOM killer has ended so far; 0 when nothing counts.
pub(super) fn oom_kills(directories: &CgroupDirectories) -> u64 {
    let Some((slot, directory)) = directories.memory() else {
        return 0;
    };
    let file = match slot {
        CgroupSlot::V1Memory => c"memory.oom_control",
        CgroupSlot::Unified | CgroupSlot::V1 => c"memory.events",
    };
    let mut buffer = [0; FILE_BYTES];
    read(directory, file, &mut buffer).map_or(0, parse_oom_kills)
}

/// The `oom_kill` line of memory.events (v2) or memory.oom_control (v1).
pub(super) fn parse_oom_kills(text: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    found
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
