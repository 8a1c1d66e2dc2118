//! Where in a container something may be mounted.

use std::path::Path;

use super::SpecError;

/// What may be mounted below the container's /proc (runc's list): single files of no harm.
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

/// Nothing is mounted over the root, and nothing over /proc that could fake it.
pub(super) fn check_target(path: &str, source: &Path, field: &str) -> Result<(), SpecError> {
    if path == "/" {
        return Err(SpecError::invalid(
            field,
            "the root itself cannot be a volume",
        ));
    }
    let below_proc = path == "/proc" || path.starts_with("/proc/");
    let whole = path == "/proc" && source == Path::new("/proc");
    if below_proc && !whole && !PROC_FILES.contains(&path) {
        let reason = format!("{path:?} would cover a part of /proc that programs rely on");
        return Err(SpecError::invalid(field, reason));
    }
    Ok(())
}
