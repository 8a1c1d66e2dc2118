//! From the resources of a Spec to the limits of a cgroup.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources, Spec};

use holdfast_kernel::cgroup::{Ceiling, DeviceKind, DeviceRule, DeviceVerdict, Limits, Mode};

/// The v2 file with which CRI's `unified` limits tasks; it is honoured on v1 as well.
const PIDS_MAX: &str = "pids.max";

/// The limits that a Spec asks for. `pids` is the node's own limit for containers that set none.
pub(super) fn of_spec(spec: &Spec, mode: Mode, pids: Option<u64>) -> Limits {
    let resources = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    let mut limits = resources.map(of_resources).unwrap_or_default();
    if mode != Mode::V2
        && let Some(value) = limits.unified.remove(PIDS_MAX)
    {
        limits.pids_max = Some(value.trim().parse().map_or(Ceiling::Unlimited, Ceiling::At));
    }
    if limits.pids_max.is_none() && !limits.unified.contains_key(PIDS_MAX) {
        limits.pids_max = pids.map(Ceiling::At);
    }
    limits
}

fn of_resources(resources: &LinuxResources) -> Limits {
    let mut limits = Limits::default();
    if let Some(cpu) = resources.cpu() {
        limits.cpu_shares = cpu.shares();
        limits.cpu_quota = cpu.quota().map(Ceiling::from_oci);
        limits.cpu_period = cpu.period();
        limits.cpuset_cpus = cpu.cpus().clone();
        limits.cpuset_mems = cpu.mems().clone();
    }
    if let Some(memory) = resources.memory() {
        limits.memory_bytes = memory.limit().map(Ceiling::from_oci);
        limits.memory_swap_bytes = memory.swap().map(Ceiling::from_oci);
    }
    if let Some(pids) = resources.pids() {
        limits.pids_max = Some(Ceiling::from_oci(pids.limit()));
    }
    for hugepage in resources.hugepage_limits().iter().flatten() {
        let bytes = u64::try_from(hugepage.limit()).unwrap_or_default();
        limits.hugepages.push((hugepage.page_size().clone(), bytes));
    }
    if let Some(unified) = resources.unified() {
        limits.unified = unified
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }
    limits.devices = resources
        .devices()
        .iter()
        .flatten()
        .map(device_rule)
        .collect();
    limits
}

fn device_rule(device: &LinuxDeviceCgroup) -> DeviceRule {
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    DeviceRule {
        verdict: if device.allow() {
            DeviceVerdict::Allow
        } else {
            DeviceVerdict::Deny
        },
        kind: match device.typ() {
            Some(LinuxDeviceType::B) => DeviceKind::Block,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
            _ => DeviceKind::All,
        },
        major: number(device.major()),
        minor: number(device.minor()),
        access: device.access().clone().unwrap_or_else(|| "rwm".to_owned()),
    }
}
