//! What the processes cost the machine: memory and CPU time.

use std::fs;
use std::path::Path;

/// Proportional set size of a process in KiB: /proc/PID/smaps_rollup.
pub fn pss(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0.0)
}

/// CPU time of a process in clock ticks: fields 14 and 15 of /proc/PID/stat.
pub fn ticks(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<_> = after.split_whitespace().collect();
    let field = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    field(11) + field(12)
}

/// CPU time of a process of one thread in nanoseconds: /proc/PID/schedstat.
pub fn nanos(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// CPU time that the machine was busy, in clock ticks: /proc/stat.
pub fn busy() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    // user, nice, system, irq, softirq; not idle and not waiting for disks.
    [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|at| numbers.get(*at))
        .sum()
}

/// Parent of a process: the shim of a pause.
pub fn parent(pid: i32) -> i32 {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))
        .unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}
