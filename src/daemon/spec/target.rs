//! Paths of a container at which something may be mounted.

use std::path::Path;

use super::SpecError;

/// Files below the container's /proc that a mount may replace, because programs do not rely on them (runc's list).
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Refuses mounts over the root, and mounts that could fake what programs read in /proc.
pub(super) fn check_target(path: &str, source: &Path, field: &str) -> Result<(), SpecError> {
    if path == "/" {
        let allowed = "nothing can be mounted over the root; give a path below it";
        return Err(SpecError::value(field, "\"/\"", allowed));
    }
    let below_proc = path == "/proc" || path.starts_with("/proc/");
    let whole = path == "/proc" && source == Path::new("/proc");
    if below_proc && !whole && !PROC_FILES.contains(&path) {
        let allowed = "a mount would hide a part of /proc that programs rely on; give another path";
        return Err(SpecError::value(field, format!("{path:?}"), allowed));
    }
    Ok(())
}
