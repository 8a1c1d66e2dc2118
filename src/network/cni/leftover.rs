//! Leftover processes of a plugin, which outlived its call or the daemon that made the call.
//!
//! A leftover process is known by the pod's id in its environment, which no other program sets: ids are random.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::pidfd;

/// The variable that every call for a pod has.
pub(super) const KEY: &str = "CNI_CONTAINERID";
/// Largest environment that is searched; the variable is put at its end by some, at its beginning by others.
const ENVIRONMENT_LIMIT: u64 = 256 << 10;
/// How long killed processes may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(2);

/// Kills every process that works on a pod and waits until they are gone. Blocks.
pub(super) fn end(id: &str) {
    let wanted = format!("{KEY}={id}");
    let mut killed = Vec::new();
    for pid in pids() {
        if !works_on(pid, &wanted) {
            continue;
        }
        // The descriptor first, then a second look: the number may have changed hands in between.
        let Ok(process) = pidfd::open(pid) else {
            continue;
        };
        if works_on(pid, &wanted) && pidfd::send_signal(process.as_fd(), libc::SIGKILL).is_ok() {
            killed.push(process);
        }
    }
    let limit = Instant::now() + KILL_DEADLINE;
    let alive = |process: &std::os::fd::OwnedFd| !pidfd::exited(process.as_fd()).unwrap_or(true);
    while killed.iter().any(alive) && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process was started for a pod. One that cannot be read, such as a kernel thread, was not.
fn works_on(pid: Pid, wanted: &str) -> bool {
    let mut environment = Vec::new();
    let read = File::open(pid.proc_file("environ"))
        .and_then(|file| file.take(ENVIRONMENT_LIMIT).read_to_end(&mut environment));
    read.is_ok()
        && environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
}
