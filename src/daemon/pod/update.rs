//! Changing the resources of a container that is there.

use super::entry::PodSnapshot;
use super::error::PodError;
use super::limits;
use super::node::Node;
use super::record::ContainerRecord;
use super::{cgroups, container};
use crate::spec::{Resources, resources};
use holdfast_kernel::cgroup::{Ceiling, CgroupError, Limits};

/// The resources in force after an update: what the update leaves at its zero value stays.
pub(super) fn merged(old: &Resources, new: &Resources) -> Resources {
    let number = |old, new| if new == 0 { old } else { new };
    let text = |old: &String, new: &String| {
        if new.is_empty() {
            old.clone()
        } else {
            new.clone()
        }
    };
    let mut unified = old.unified.clone();
    unified.extend(new.unified.clone());
    let hugepages = if new.hugepage_limits.is_empty() {
        old
    } else {
        new
    };
    Resources {
        cpu_period: number(old.cpu_period, new.cpu_period),
        cpu_quota: number(old.cpu_quota, new.cpu_quota),
        cpu_shares: number(old.cpu_shares, new.cpu_shares),
        memory_limit: number(old.memory_limit, new.memory_limit),
        memory_swap_limit: number(old.memory_swap_limit, new.memory_swap_limit),
        oom_score_adj: number(old.oom_score_adj, new.oom_score_adj),
        cpuset_cpus: text(&old.cpuset_cpus, &new.cpuset_cpus),
        cpuset_mems: text(&old.cpuset_mems, &new.cpuset_mems),
        hugepage_limits: hugepages.hugepage_limits.clone(),
        unified,
    }
}

/// Writes the resources of a record to its cgroup, all or nothing, and returns them as they are in force then.
/// Blocks.
pub(super) fn apply(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
) -> Result<Resources, PodError> {
    resources::check(&record.resources)?;
    let spec = container::runtime_spec(node, pod, record)?;
    let limits = limits::of_spec(&spec, node.cgroups.mode(), node.settings.pids_limit);
    // Device rules were written at the creation and are no resource that CRI updates.
    let limits = Limits {
        devices: Vec::new(),
        ..limits
    };
    let path = cgroups::of_container(&pod.pod, record.id)?;
    let Some(cgroup) = node.cgroups.open(&path)? else {
        let path = path.to_string();
        return Err(CgroupError::Gone { path }.into());
    };
    cgroup.apply(&limits)?;
    Ok(in_force(record.resources.clone(), &cgroup.limits()?))
}

/// The limits of the request, with the kernel's figures where these may differ, because the kernel counts memory in
/// pages. Shares stay as requested: on v2 a weight cannot be converted back exactly, and a kubelet compares.
fn in_force(mut asked: Resources, kernel: &Limits) -> Resources {
    let read_back = |asked: &mut i64, kernel: Option<Ceiling>| {
        if let (1.., Some(kernel)) = (*asked, kernel) {
            *asked = kernel.to_oci();
        }
    };
    read_back(&mut asked.memory_limit, kernel.memory_bytes);
    read_back(&mut asked.memory_swap_limit, kernel.memory_swap_bytes);
    read_back(&mut asked.cpu_quota, kernel.cpu_quota);
    read_back(&mut asked.cpu_period, kernel.cpu_period.map(Ceiling::At));
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_only_what_it_names() {
        let old = Resources {
            cpu_shares: 512,
            memory_limit: 1 << 20,
            cpuset_cpus: "0".into(),
            ..Resources::default()
        };
        let new = Resources {
            memory_limit: 2 << 20,
            cpu_quota: -1,
            ..Resources::default()
        };
        let merged = merged(&old, &new);
        assert_eq!(
            (merged.cpu_shares, merged.memory_limit, merged.cpu_quota),
            (512, 2 << 20, -1)
        );
        assert_eq!(merged.cpuset_cpus, "0");
    }

    #[test]
    fn what_the_kernel_rounded_is_shown_rounded() {
        let asked = Resources {
            memory_limit: 4097,
            cpu_quota: -1,
            cpu_shares: 512,
            ..Resources::default()
        };
        let kernel = Limits {
            memory_bytes: Some(Ceiling::At(4096)),
            memory_swap_bytes: Some(Ceiling::At(8192)),
            cpu_quota: Some(Ceiling::Unlimited),
            cpu_shares: Some(510),
            ..Limits::default()
        };
        let shown = in_force(asked.clone(), &kernel);
        let wanted = Resources {
            memory_limit: 4096,
            ..asked
        };
        assert_eq!(shown, wanted, "what nobody asked for is not shown");
    }
}
