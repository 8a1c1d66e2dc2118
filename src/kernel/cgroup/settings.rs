//! Turns limits into writes: which file of which directory gets which text, in which order.

use super::group::Member;
use super::limits::invalid;
use super::readback::{self, CpuMax, MemoryLimits};
use super::weight::weight_of_shares;
use super::write::Setting;
use super::{Ceiling, Cgroup, CgroupError, Controller, Limits, file, refusal};

/// Whether the group is new, so that nothing of it needs to be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    New,
    Existing,
}

/// A plan being made for one group.
#[derive(Debug)]
struct Planner<'g> {
    group: &'g Cgroup,
    age: Age,
    settings: Vec<Setting<'g>>,
}

/// The writes that bring the group to these limits.
///
/// # Errors
/// [`CgroupError::Unavailable`] for a limit whose controller is missing; [`CgroupError::BelowUsage`].
pub(super) fn plan<'g>(
    group: &'g Cgroup,
    limits: &Limits,
    age: Age,
) -> Result<Vec<Setting<'g>>, CgroupError> {
    let mut planner = Planner {
        group,
        age,
        settings: Vec::with_capacity(8),
    };
    planner.cpu(limits)?;
    planner.memory(limits)?;
    planner.pids(limits)?;
    planner.cpuset(limits)?;
    planner.hugepages(limits)?;
    planner.devices(limits)?;
    planner.unified(limits)?;
    Ok(planner.settings)
}

impl<'g> Planner<'g> {
    fn push(&mut self, member: &'g Member, file: impl Into<String>, value: impl Into<String>) {
        self.settings.push(Setting {
            member,
            file: file.into(),
            value: value.into(),
            unified: false,
        });
    }

    fn need(&self, controller: Controller) -> Result<&'g Member, CgroupError> {
        self.group
            .find(controller)
            .ok_or_else(|| CgroupError::Unavailable {
                path: self.group.path.to_string(),
                controller,
            })
    }

    fn cpu(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.cpu_shares.is_none() && limits.cpu_quota.is_none() && limits.cpu_period.is_none()
        {
            return Ok(());
        }
        let member = self.need(Controller::Cpu)?;
        if member.is_unified() {
            if let Some(shares) = limits.cpu_shares {
                self.push(member, "cpu.weight", weight_of_shares(shares).to_string());
            }
            return self.cpu_max(member, limits);
        }
        if let Some(shares) = limits.cpu_shares {
            self.push(member, "cpu.shares", shares.clamp(2, 262_144).to_string());
        }
        // The kernel checks each write against the other value and the parent's ratio, so that a legal pair
        // can be illegal half written. Lifting the quota in between makes every order legal.
        if let (Some(_), Some(_), Age::Existing) = (limits.cpu_quota, limits.cpu_period, self.age) {
            self.push(member, "cpu.cfs_quota_us", "-1");
        }
        if let Some(period) = limits.cpu_period {
            self.push(member, "cpu.cfs_period_us", period.to_string());
        }
        if let Some(quota) = limits.cpu_quota {
            self.push(member, "cpu.cfs_quota_us", quota.v1());
        }
        Ok(())
    }

    fn cpu_max(&mut self, member: &'g Member, limits: &Limits) -> Result<(), CgroupError> {
        let value = match (limits.cpu_quota, limits.cpu_period) {
            (None, None) => return Ok(()),
            (Some(quota), None) => quota.v2(),
            (Some(quota), Some(period)) => format!("{} {period}", quota.v2()),
            (None, Some(period)) => {
                let CpuMax { quota, .. } = readback::cpu_max(self.group, member)?;
                format!("{} {period}", quota.v2())
            }
        };
        self.push(member, "cpu.max", value);
        Ok(())
    }

    fn memory(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.memory_bytes.is_none() && limits.memory_swap_bytes.is_none() {
            return Ok(());
        }
        let member = self.need(Controller::Memory)?;
        if let (Some(Ceiling::At(limit)), Age::Existing) = (limits.memory_bytes, self.age) {
            refuse_below_usage(self.group, member, limit)?;
        }
        if member.is_unified() {
            self.memory_v2(member, limits)
        } else {
            self.memory_v1(member, limits)
        }
    }

    fn memory_v2(&mut self, member: &'g Member, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(total) = limits.memory_swap_bytes {
            let memory = match limits.memory_bytes {
                Some(memory) => memory,
                None => readback::memory(self.group, member)?.memory,
            };
            let swap = match (total, memory) {
                (Ceiling::Unlimited, _) => Ceiling::Unlimited,
                (Ceiling::At(total), Ceiling::At(memory)) if total >= memory => {
                    Ceiling::At(total - memory)
                }
                (Ceiling::At(total), _) => {
                    return Err(invalid(
                        "memory.swap",
                        total,
                        "it counts memory and swap together, so it needs a memory limit that is not above it",
                    ));
                }
            };
            // Without swap in the kernel the file is missing, and there is nothing to bound.
            if swap == Ceiling::At(0) && !exists(member, "memory.swap.max") {
                // Zero swap is then the kernel's own limit.
            } else {
                self.push(member, "memory.swap.max", swap.v2());
            }
        }
        if let Some(memory) = limits.memory_bytes {
            self.push(member, "memory.max", memory.v2());
        }
        Ok(())
    }

    /// On v1 memory+swap may never be below memory, at any instant, so the order depends on the direction.
    fn memory_v1(&mut self, member: &'g Member, limits: &Limits) -> Result<(), CgroupError> {
        const MEMORY: &str = "memory.limit_in_bytes";
        const TOTAL: &str = "memory.memsw.limit_in_bytes";
        let now = match self.age {
            Age::New => MemoryLimits::UNLIMITED,
            Age::Existing => readback::memory(self.group, member)?,
        };
        let memory = limits.memory_bytes.unwrap_or(now.memory);
        let total = match limits.memory_swap_bytes {
            Some(total) => Some(total),
            None => now.total_after(memory),
        };
        let Some(total) = total else {
            self.push(member, MEMORY, memory.v1());
            return Ok(());
        };
        if total.is_below(memory) {
            return Err(invalid(
                "memory.swap",
                total.to_oci(),
                "it counts memory and swap together, so it cannot be below the memory limit",
            ));
        }
        if !exists(member, TOTAL) {
            // Without swap accounting a group with no swap of its own is what the kernel gives anyway.
            if limits.memory_bytes.is_some() {
                self.push(member, MEMORY, memory.v1());
            }
            return Ok(());
        }
        let shrinking = now.total.is_some_and(|now| total.is_below(now));
        let total = (TOTAL, total.v1());
        let memory = (MEMORY, memory.v1());
        let (first, second) = if shrinking {
            (memory, total)
        } else {
            (total, memory)
        };
        self.push(member, first.0, first.1);
        self.push(member, second.0, second.1);
        Ok(())
    }

    fn pids(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(max) = limits.pids_max {
            let member = self.need(Controller::Pids)?;
            self.push(member, "pids.max", max.v2());
        }
        Ok(())
    }

    fn cpuset(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        for (name, list) in [
            ("cpuset.cpus", &limits.cpuset_cpus),
            ("cpuset.mems", &limits.cpuset_mems),
        ] {
            if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
                let member = self.need(Controller::Cpuset)?;
                if let Some(refusal) = refusal::of_empty_set(member, name, list) {
                    return Err(refusal);
                }
                self.push(member, name, list);
            }
        }
        Ok(())
    }

    fn hugepages(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        // Zero pages of a size that the kernel does not have is true already.
        let asked = limits.hugepages.iter().filter(|(_, bytes)| *bytes > 0);
        for (size, bytes) in asked {
            if let Some(refusal) = refusal::of_page_size(size, *bytes) {
                return Err(refusal);
            }
        }
        let Some(member) = self.group.find(Controller::Hugetlb) else {
            return Ok(());
        };
        let last = if member.is_unified() {
            "max"
        } else {
            "limit_in_bytes"
        };
        for (size, bytes) in &limits.hugepages {
            let plain = format!("hugetlb.{size}.{last}");
            // A size the kernel does not have: zero of it is true already.
            if *bytes == 0 && !exists(member, &plain) {
                continue;
            }
            self.push(member, plain, bytes.to_string());
            // The reservation counter makes mmap fail instead of the process dying of SIGBUS (Linux 5.7).
            let reserved = format!("hugetlb.{size}.rsvd.{last}");
            if exists(member, &reserved) {
                self.push(member, reserved, bytes.to_string());
            }
        }
        Ok(())
    }

    fn devices(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.devices.is_empty() {
            return Ok(());
        }
        match self.group.find(Controller::Devices) {
            Some(member) => {
                for rule in &limits.devices {
                    self.push(member, rule.file(), rule.line());
                }
                Ok(())
            }
            None if self.group.members.iter().any(Member::is_unified) => Ok(()),
            None => self.need(Controller::Devices).map(|_| ()),
        }
    }

    fn unified(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.unified.is_empty() {
            return Ok(());
        }
        let member = self
            .group
            .members
            .iter()
            .find(|member| member.is_unified())
            .ok_or_else(|| {
                invalid(
                    "unified",
                    limits.unified.keys().next().map_or("", String::as_str),
                    "this machine has no cgroup v2 tree",
                )
            })?;
        for (key, value) in &limits.unified {
            // One line is one write, as for io.max with several devices.
            for line in value.split('\n').filter(|line| !line.is_empty()) {
                self.settings.push(Setting {
                    member,
                    file: key.clone(),
                    value: line.to_owned(),
                    unified: true,
                });
            }
        }
        Ok(())
    }
}

fn exists(member: &Member, name: &str) -> bool {
    file::open(&member.dir, name).is_ok()
}

fn refuse_below_usage(group: &Cgroup, member: &Member, limit: u64) -> Result<(), CgroupError> {
    let name = if member.is_unified() {
        "memory.current"
    } else {
        "memory.usage_in_bytes"
    };
    let usage = file::read(&member.dir, name)
        .map(|text| file::number(&text).unwrap_or(0))
        .map_err(|errno| group.failed("read", member, name, errno))?;
    if usage > limit {
        return Err(CgroupError::BelowUsage {
            path: group.path.to_string(),
            limit,
            usage,
        });
    }
    Ok(())
}
