//! The benchmark on cgroup v2, on a machine that has cgroup v1 or both.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// What replaces the hierarchies of the machine, in a mount namespace that nobody else sees.
const SCRIPT: &str =
    "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// Runs this program again, with other arguments, where only the tree of version 2 is mounted.
///
/// # Errors
/// The program does not start; otherwise this process becomes the other one.
pub fn again(arguments: &[&str]) -> std::io::Error {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return error,
    };
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        SCRIPT,
        "sh",
    ]);
    command.arg(own).args(arguments).exec()
}
