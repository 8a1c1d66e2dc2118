//! Cleans up after a benchmark that did not end by itself.
//!
//! A release build does not unwind when something fails, and a signal ends the process anyway. So a second process
//! waits for the end of the first, and removes whatever is left of it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::place::Place;

use crate::timeline;

/// The word by which the second process is started.
pub const WORD: &str = "guard";

/// Starts the second process, which no signal of a terminal reaches.
#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process and is waited for by init"
)]
pub fn start() {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("find this program: {error}"));
    let mut command = Command::new(own);
    command
        .args([WORD, &std::process::id().to_string()])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("start the guard: {error}"));
}

/// Waits until a process is gone, and removes what benchmarks have left that do not live any more.
pub fn wait_for(pid: &str) {
    while std::fs::exists(format!("/proc/{pid}")).unwrap_or(false) {
        std::thread::sleep(Duration::from_millis(200));
    }
    timeline::sweep(pid);
    Place::sweep();
}
