//! Reads limits back from the kernel, in the words of [`Limits`].

use nix::errno::Errno;

use super::group::Member;
use super::weight::shares_of_weight;
use super::{Ceiling, Cgroup, CgroupError, Controller, Limits, file};

/// v1 shows "unlimited" as the largest page-aligned i64; nothing near it is a real limit.
const V1_UNLIMITED: u64 = 1 << 62;

/// The bandwidth of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuMax {
    pub(super) quota: Ceiling,
    pub(super) period: Option<u64>,
}

/// The memory bounds of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryLimits {
    pub(super) memory: Ceiling,
    /// Memory and swap together; None when the kernel does not account swap.
    pub(super) total: Option<Ceiling>,
}

impl MemoryLimits {
    /// The limits of a new group.
    pub(super) const UNLIMITED: MemoryLimits = MemoryLimits {
        memory: Ceiling::Unlimited,
        total: Some(Ceiling::Unlimited),
    };

    /// Computes the limit of memory+swap when only the limit of memory is changed: the amount of swap stays, as it does
    /// by itself on v2. None when nothing has to be written.
    pub(super) fn total_after(&self, memory: Ceiling) -> Option<Ceiling> {
        match (self.memory, self.total?, memory) {
            (_, Ceiling::Unlimited, _) => None,
            (_, _, Ceiling::Unlimited) => Some(Ceiling::Unlimited),
            (Ceiling::At(old), Ceiling::At(total), Ceiling::At(new)) => {
                Some(Ceiling::At(new.saturating_add(total.saturating_sub(old))))
            }
            (Ceiling::Unlimited, Ceiling::At(total), Ceiling::At(new)) => {
                Some(Ceiling::At(total.max(new)))
            }
        }
    }
}

impl Cgroup {
    /// The limits in force, as the kernel has them. Device rules, `unified` keys and limits whose controller
    /// is missing are left empty. On v2 the shares are computed from the weight and may differ by rounding
    /// from what was asked for.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed; [`CgroupError::Kernel`] otherwise.
    pub fn limits(&self) -> Result<Limits, CgroupError> {
        let mut limits = Limits::default();
        if let Some(member) = self.find(Controller::Cpu) {
            let (name, convert): (_, fn(u64) -> u64) = if member.is_unified() {
                ("cpu.weight", shares_of_weight)
            } else {
                ("cpu.shares", |shares| shares)
            };
            limits.cpu_shares = self
                .text(member, name)?
                .and_then(|t| file::number(&t))
                .map(convert);
            let max = cpu_max(self, member)?;
            limits.cpu_quota = Some(max.quota);
            limits.cpu_period = max.period;
        }
        if let Some(member) = self.find(Controller::Memory) {
            let bounds = memory(self, member)?;
            limits.memory_bytes = Some(bounds.memory);
            limits.memory_swap_bytes = bounds.total;
        }
        if let Some(member) = self.find(Controller::Pids) {
            limits.pids_max = self.text(member, "pids.max")?.map(|t| ceiling(&t));
        }
        if let Some(member) = self.find(Controller::Cpuset) {
            limits.cpuset_cpus = self.list(member, "cpuset.cpus")?;
            limits.cpuset_mems = self.list(member, "cpuset.mems")?;
        }
        if let Some(member) = self.find(Controller::Hugetlb) {
            limits.hugepages = self.hugepages(member)?;
        }
        Ok(limits)
    }

    /// The text of a file, None when the group has no such file.
    pub(super) fn text(&self, member: &Member, name: &str) -> Result<Option<String>, CgroupError> {
        match file::read(&member.dir, name) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("read", member, name, errno)),
        }
    }

    fn list(&self, member: &Member, name: &str) -> Result<Option<String>, CgroupError> {
        Ok(self
            .text(member, name)?
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }

    fn hugepages(&self, member: &Member) -> Result<Vec<(String, u64)>, CgroupError> {
        let last = if member.is_unified() {
            ".max"
        } else {
            ".limit_in_bytes"
        };
        let names = file::files(&member.dir)
            .map_err(|errno| self.failed("list", member, "hugetlb.*", errno))?;
        let mut sizes = Vec::new();
        for name in names {
            let size = name
                .strip_prefix("hugetlb.")
                .and_then(|rest| rest.strip_suffix(last))
                .filter(|size| !size.contains('.'));
            let Some(size) = size else { continue };
            if let Some(text) = self.text(member, &name)?
                && let Ceiling::At(bytes) = ceiling(&text)
            {
                sizes.push((size.to_owned(), bytes));
            }
        }
        sizes.sort();
        Ok(sizes)
    }
}

/// The bandwidth limit of a group.
pub(super) fn cpu_max(group: &Cgroup, member: &Member) -> Result<CpuMax, CgroupError> {
    if member.is_unified() {
        // The root and groups under a kernel without CONFIG_CFS_BANDWIDTH have no cpu.max.
        let text = group.text(member, "cpu.max")?.unwrap_or_default();
        let mut words = text.split_whitespace();
        return Ok(CpuMax {
            quota: ceiling(words.next().unwrap_or("max")),
            period: words.next().and_then(file::number),
        });
    }
    let quota = group.text(member, "cpu.cfs_quota_us")?;
    let period = group.text(member, "cpu.cfs_period_us")?;
    Ok(CpuMax {
        quota: quota.map_or(Ceiling::Unlimited, |text| ceiling(&text)),
        period: period.and_then(|text| file::number(&text)),
    })
}

/// The memory limits of a group.
pub(super) fn memory(group: &Cgroup, member: &Member) -> Result<MemoryLimits, CgroupError> {
    let read = |name| -> Result<Option<Ceiling>, CgroupError> {
        Ok(group.text(member, name)?.map(|text| ceiling(&text)))
    };
    if !member.is_unified() {
        return Ok(MemoryLimits {
            memory: read("memory.limit_in_bytes")?.unwrap_or(Ceiling::Unlimited),
            total: read("memory.memsw.limit_in_bytes")?,
        });
    }
    let memory = read("memory.max")?.unwrap_or(Ceiling::Unlimited);
    let total = match (memory, read("memory.swap.max")?) {
        (_, None) => None,
        (Ceiling::At(memory), Some(Ceiling::At(swap))) => {
            Some(Ceiling::At(memory.saturating_add(swap)))
        }
        (_, Some(_)) => Some(Ceiling::Unlimited),
    };
    Ok(MemoryLimits { memory, total })
}

/// Parses `max`, `-1` and v1's huge numbers as unlimited.
pub(super) fn ceiling(text: &str) -> Ceiling {
    match text.trim().parse::<u64>() {
        Ok(value) if value < V1_UNLIMITED => Ceiling::At(value),
        _ => Ceiling::Unlimited,
    }
}
