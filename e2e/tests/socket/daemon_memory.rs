//! The memory of a daemon that has nothing to do.

use std::fs;
use std::time::Duration;

use e2e::Daemon;
use e2e::call::until;
use e2e::request::idle;

/// Resident KiB of a process' mappings that are executable: /proc/PID/smaps.
fn resident_code(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut is_code = false;
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        match first.strip_suffix(':') {
            None => is_code = words.next() == Some("r-xp"),
            Some("Rss") if is_code => sum += words.next().unwrap().parse::<u64>().unwrap(),
            Some(_) => {}
        }
    }
    sum
}

/// When its last thread for blocking work has ended, two seconds after that work, the daemon takes its own code out of its
/// memory. The code comes back with the next call.
#[test]
fn code_that_is_not_needed_is_not_resident() {
    let daemon = Daemon::start();
    let container = daemon.run_named("memory").start(idle("c"));
    let busy = resident_code(daemon.pid());
    assert!(
        busy > 2048,
        "only {busy} KiB of code are resident after a start"
    );
    let limit = Duration::from_secs(30);
    until("the code is taken out", limit, || {
        (resident_code(daemon.pid()) < busy / 2).then_some(())
    });
    assert_eq!(container.sh("echo alive"), "alive\n");
}
