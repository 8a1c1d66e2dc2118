//! Resource limits of a request in OCI's form. Zero and empty mean unspecified.

use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources};

use super::{Resources, SpecError};

/// The least memory limit with which a container's first process can be made and its program executed: below, the
/// kernel kills the process before the program runs. crun wants 500 KiB, CRI-O with runc 12 MiB.
pub(crate) const LEAST_MEMORY: i64 = 512 << 10;

/// The most CPU time of a period that Linux takes, in microseconds: 2^44 - 1, whatever the period.
const MOST_QUOTA: i64 = (1 << 44) - 1;

/// Checks the values of a request that the kernel would refuse, or with which nothing can start. A container that is
/// there already is not asked again.
///
/// # Errors
/// [`SpecError::Invalid`] names the field, the value, and what is allowed.
pub(crate) fn check(resources: &Resources) -> Result<(), SpecError> {
    let refuse = |field: &str, value: &dyn std::fmt::Display, allowed: &str| {
        let field = format!("linux.resources.{field}");
        Err(SpecError::value(field, value, allowed))
    };
    let Resources {
        cpu_period: period,
        cpu_quota: quota,
        memory_limit: memory,
        ..
    } = resources;
    if *period != 0 && !(1_000..=1_000_000).contains(period) {
        return refuse("cpu_period", period, "give 1000 to 1000000 microseconds");
    }
    if (1..1_000).contains(quota) {
        return refuse(
            "cpu_quota",
            quota,
            "give at least 1000 microseconds, or -1 for no limit",
        );
    }
    if *quota > MOST_QUOTA {
        let allowed = format!(
            "the kernel takes at most {MOST_QUOTA} microseconds; give that, or -1 for no limit"
        );
        return refuse("cpu_quota", quota, &allowed);
    }
    if (1..LEAST_MEMORY).contains(memory) {
        let allowed =
            format!("no program can be started with less than {LEAST_MEMORY} bytes; give more");
        return refuse("memory_limit_in_bytes", memory, &allowed);
    }
    oom_score_adj(resources)?;
    if let Some(pids) = resources.unified.get("pids.max") {
        let number = pids.trim().parse::<u64>();
        if pids.trim() != "max" && number.is_err() || number == Ok(0) {
            return refuse(
                "unified[\"pids.max\"]",
                &format!("{pids:?}"),
                "give a number from 1, or \"max\"",
            );
        }
    }
    to_oci(resources).map(drop)
}

/// The limits as OCI writes them, for a new container and for an update of a running one.
///
/// # Errors
/// [`SpecError::Invalid`] for negative values, malformed CPU lists and keys of `unified` that are not file names.
pub(crate) fn to_oci(resources: &Resources) -> Result<LinuxResources, SpecError> {
    let mut out = LinuxResources::default();
    out.set_cpu(cpu(resources)?).set_memory(memory(resources)?);
    let mut pages = Vec::with_capacity(resources.hugepage_limits.len());
    for (size, limit) in &resources.hugepage_limits {
        pages.push(hugepage(size, *limit)?);
    }
    if !pages.is_empty() {
        out.set_hugepage_limits(Some(pages));
    }
    for key in resources.unified.keys() {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        if !key.contains('.')
            || key.starts_with('.')
            || key.contains("..")
            || !key.chars().all(letters)
        {
            let reason =
                format!("invalid key {key:?}: give a file of cgroup v2, such as memory.high");
            return Err(SpecError::invalid("linux.resources.unified", reason));
        }
    }
    if !resources.unified.is_empty() {
        out.set_unified(Some(resources.unified.clone().into_iter().collect()));
    }
    Ok(out)
}

/// The score for /proc/PID/oom_score_adj.
///
/// # Errors
/// [`SpecError::Invalid`] outside of -1000 to 1000.
pub(super) fn oom_score_adj(resources: &Resources) -> Result<i32, SpecError> {
    i32::try_from(resources.oom_score_adj)
        .ok()
        .filter(|score| (-1000..=1000).contains(score))
        .ok_or_else(|| {
            let field = "linux.resources.oom_score_adj";
            SpecError::value(field, resources.oom_score_adj, "give -1000 to 1000")
        })
}

fn cpu(resources: &Resources) -> Result<Option<LinuxCpu>, SpecError> {
    let mut cpu = LinuxCpu::default();
    cpu.set_period(positive(
        "linux.resources.cpu_period",
        resources.cpu_period,
    )?)
    .set_shares(positive(
        "linux.resources.cpu_shares",
        resources.cpu_shares,
    )?)
    .set_quota(limit("linux.resources.cpu_quota", resources.cpu_quota)?)
    .set_cpus(list("linux.resources.cpuset_cpus", &resources.cpuset_cpus)?)
    .set_mems(list("linux.resources.cpuset_mems", &resources.cpuset_mems)?);
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

/// Without a swap limit, memory plus swap is limited to the memory limit: no swap.
fn memory(resources: &Resources) -> Result<Option<LinuxMemory>, SpecError> {
    let bytes = limit(
        "linux.resources.memory_limit_in_bytes",
        resources.memory_limit,
    )?;
    let swap = limit(
        "linux.resources.memory_swap_limit_in_bytes",
        resources.memory_swap_limit,
    )?;
    if let Some(swap) = swap.filter(|swap| *swap >= 0) {
        let wrong = match bytes.filter(|bytes| *bytes >= 0) {
            None => Some("the limit is of memory plus swap; set memory_limit_in_bytes as well, or leave both out".to_owned()),
            Some(bytes) if swap < bytes => Some(format!(
                "the limit is of memory plus swap; give at least the memory limit, {bytes}"
            )),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            let field = "linux.resources.memory_swap_limit_in_bytes";
            return Err(SpecError::value(field, swap, &wrong));
        }
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes).set_swap(swap.or(bytes));
    Ok((memory != LinuxMemory::default()).then_some(memory))
}

fn hugepage(size: &str, bytes: u64) -> Result<LinuxHugepageLimit, SpecError> {
    let field = "linux.resources.hugepage_limits";
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &size[digits.len()..];
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !number || !matches!(unit, "KB" | "MB" | "GB") {
        let reason = format!("invalid page size {size:?}: give a size such as 2MB or 1GB");
        return Err(SpecError::invalid(field, reason));
    }
    let mut out = LinuxHugepageLimit::default();
    // The kernel's page counter ends at the largest signed value, which reads as no limit.
    out.set_page_size(size.to_owned())
        .set_limit(i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(out)
}

fn positive(field: &str, value: i64) -> Result<Option<u64>, SpecError> {
    match u64::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(SpecError::value(field, value, "give 0 or more")),
    }
}

/// -1 takes a limit away.
fn limit(field: &str, value: i64) -> Result<Option<i64>, SpecError> {
    match value {
        0 => Ok(None),
        value if value >= -1 => Ok(Some(value)),
        value => Err(SpecError::value(
            field,
            value,
            "give 0 or more, or -1 for no limit",
        )),
    }
}

fn list(field: &str, text: &str) -> Result<Option<String>, SpecError> {
    if text
        .bytes()
        .any(|byte| !byte.is_ascii_digit() && !matches!(byte, b',' | b'-'))
    {
        let value = format!("{text:?}");
        return Err(SpecError::value(field, value, "give a list such as 0-3,7"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
