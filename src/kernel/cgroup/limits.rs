//! The limits of a group in the words of the OCI runtime specification (config-linux, "Control groups").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CgroupError, DeviceRule};

/// Most keys taken in [`Limits::unified`], and most device rules.
const LIST_LIMIT: usize = 1024;

/// An upper bound that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ceiling {
    /// No bound: `max` on v2, `-1` on v1.
    Unlimited,
    /// At most this much.
    At(u64),
}

impl Ceiling {
    /// The OCI encoding, in which every negative number lifts the bound.
    pub fn from_oci(value: i64) -> Ceiling {
        u64::try_from(value).map_or(Ceiling::Unlimited, Ceiling::At)
    }

    /// The OCI encoding: −1 for no bound.
    pub fn to_oci(self) -> i64 {
        match self {
            Ceiling::Unlimited => -1,
            Ceiling::At(value) => i64::try_from(value).unwrap_or(i64::MAX),
        }
    }

    /// The bound as the files of cgroup v1 write it.
    pub(super) fn v1(self) -> String {
        match self {
            Ceiling::Unlimited => "-1".to_owned(),
            Ceiling::At(value) => value.to_string(),
        }
    }

    /// The bound as the files of cgroup v2 write it.
    pub(super) fn v2(self) -> String {
        match self {
            Ceiling::Unlimited => "max".to_owned(),
            Ceiling::At(value) => value.to_string(),
        }
    }

    /// Whether `self` allows less than `other`.
    pub(super) fn is_below(self, other: Ceiling) -> bool {
        match (self, other) {
            (Ceiling::At(value), Ceiling::At(other)) => value < other,
            (Ceiling::At(_), Ceiling::Unlimited) => true,
            (Ceiling::Unlimited, _) => false,
        }
    }
}

/// The limits of one group. What is None or empty is left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Relative CPU weight as v1 shares, 2 to 262,144; 1,024 is the default.
    pub cpu_shares: Option<u64>,
    /// CPU time per period in microseconds, all CPUs together.
    pub cpu_quota: Option<Ceiling>,
    /// Length of the CPU period in microseconds, 1,000 to 1,000,000.
    pub cpu_period: Option<u64>,
    /// Memory in bytes, page cache included.
    pub memory_bytes: Option<Ceiling>,
    /// Memory plus swap in bytes, as v1 counts. On v2, `memory.swap.max` becomes this minus the memory limit.
    pub memory_swap_bytes: Option<Ceiling>,
    /// Number of tasks (threads, not only processes).
    pub pids_max: Option<Ceiling>,
    /// CPUs in list form, as in `0-3,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes in list form.
    pub cpuset_mems: Option<String>,
    /// Bytes of huge pages by page size; the sizes are written as the kernel does: `2MB`, `1GB`, `64KB`. On a
    /// kernel without the hugetlb controller they are left out, because the kubelet always sends them.
    pub hugepages: Vec<(String, u64)>,
    /// Files of the v2 group by name, written as they are after everything else.
    pub unified: BTreeMap<String, String>,
    /// Device rules in order. The v1 devices controller adds them to what the group may already do; on v2 they
    /// become an eBPF program that replaces the group's last one, and what no rule allows is refused. A list
    /// that begins with a rule for all devices means the same on both.
    pub devices: Vec<DeviceRule>,
}

impl Limits {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    /// Checks everything that can be checked without the kernel.
    ///
    /// # Errors
    /// [`CgroupError::InvalidLimit`] names the first limit that is wrong.
    pub fn validate(&self) -> Result<(), CgroupError> {
        if let Some(period) = self.cpu_period.filter(|p| !(1_000..=1_000_000).contains(p)) {
            return Err(invalid(
                "cpu.period",
                period,
                "it must be 1000 to 1000000 microseconds",
            ));
        }
        if let Some(Ceiling::At(quota)) = self.cpu_quota
            && quota < 1_000
        {
            return Err(invalid(
                "cpu.quota",
                quota,
                "it must be at least 1000 microseconds, or negative for no limit",
            ));
        }
        if let (Some(memory), Some(swap)) = (self.memory_bytes, self.memory_swap_bytes)
            && swap.is_below(memory)
        {
            return Err(invalid(
                "memory.swap",
                swap.to_oci(),
                "it counts memory and swap together, so it cannot be below the memory limit",
            ));
        }
        self.validate_lists()
    }

    fn validate_lists(&self) -> Result<(), CgroupError> {
        for (key, list) in [
            ("cpu.cpus", &self.cpuset_cpus),
            ("cpu.mems", &self.cpuset_mems),
        ] {
            let allowed = |b: u8| b.is_ascii_digit() || matches!(b, b',' | b'-' | b' ');
            if let Some(list) = list
                && (!list.bytes().all(allowed) || list.len() > 4096)
            {
                return Err(invalid(key, list, "a list such as `0-3,7` is wanted"));
            }
        }
        for (size, _) in &self.hugepages {
            let digits = ["KB", "MB", "GB"]
                .iter()
                .find_map(|unit| size.strip_suffix(unit));
            if !digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit())) {
                return Err(invalid(
                    "hugepageLimits.pageSize",
                    size,
                    "a size such as `2MB` or `1GB` is wanted",
                ));
            }
        }
        if self.devices.len() > LIST_LIMIT || self.unified.len() > LIST_LIMIT {
            return Err(invalid(
                "devices or unified",
                self.devices.len().max(self.unified.len()),
                "at most 1024 entries are taken",
            ));
        }
        self.unified
            .iter()
            .try_for_each(|(key, value)| validate_unified(key, value))
    }
}

/// A unified key is the name of one file of the group. Files that move processes or rebuild the tree are not
/// limits and are refused.
fn validate_unified(key: &str, value: &str) -> Result<(), CgroupError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !key.bytes().all(plain) || !key.contains('.') || key.contains("..") || key.len() > 255 {
        return Err(invalid(
            "unified",
            key,
            "a key is a file name such as `memory.high`, without `/` and `..`",
        ));
    }
    if key.starts_with("cgroup.") && !key.starts_with("cgroup.max.") {
        return Err(invalid(
            "unified",
            key,
            "the cgroup.* files belong to the runtime; only cgroup.max.* may be set",
        ));
    }
    if value.len() > 4096 || value.contains('\0') {
        return Err(invalid(
            "unified",
            key,
            "its value is longer than 4096 bytes or holds a NUL",
        ));
    }
    Ok(())
}

/// The error of a limit whose value is not allowed.
pub(super) fn invalid(
    key: &str,
    value: impl std::fmt::Display,
    reason: &'static str,
) -> CgroupError {
    CgroupError::InvalidLimit {
        key: key.to_owned(),
        value: value.to_string().chars().take(256).collect(),
        reason,
    }
}
