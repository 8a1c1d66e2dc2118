//! The cgroups of a pod: where they are, how a request to the shim names them, and their removal.
//!
//! ```text
//!   cgroupfs   PARENT / pod ID / pause ID, container ID
//!   systemd    SLICE / holdfast-POD.scope / shim, pause ID, container ID
//! ```

use std::os::fd::BorrowedFd;

use super::error::PodError;
use super::record::PodRecord;
use crate::systemd::Slice;
use holdfast_kernel::cgroup::{Cgroup, CgroupPath, Hierarchy, Role};
use holdfast_kernel::id::{ContainerId, PodId};
use holdfast_wire::CgroupSlot;

/// Returns the name of the systemd scope of a pod.
pub(super) fn scope_name(id: PodId) -> String {
    format!("holdfast-{id}.scope")
}

/// The cgroup of a pod's scope in a slice.
pub(super) fn of_scope(id: PodId, slice: &Slice) -> Result<CgroupPath, PodError> {
    Ok(CgroupPath::new(&format!(
        "{}/{}",
        slice.cgroup(),
        scope_name(id)
    ))?)
}

/// The slice of a pod whose cgroup is a scope; none with cgroupfs.
pub(super) fn slice(pod: &PodRecord) -> Option<&str> {
    pod.cgroup
        .strip_suffix(&scope_name(pod.id))
        .map(|slice| slice.trim_end_matches('/'))
}

/// The cgroup of a pod's pause.
pub(super) fn of_pause(pod: &PodRecord) -> Result<CgroupPath, PodError> {
    Ok(CgroupPath::new(&pod.cgroup)?.join(&pod.id.to_string())?)
}

/// The cgroup of a container.
pub(super) fn of_container(pod: &PodRecord, id: ContainerId) -> Result<CgroupPath, PodError> {
    Ok(CgroupPath::new(&pod.cgroup)?.join(&id.to_string())?)
}

/// The cgroup in which everything of a pod is counted: the one that the request names, if it names one.
pub(super) fn of_pod(pod: &PodRecord) -> Result<CgroupPath, PodError> {
    let slice = slice(pod).filter(|_| pod.config.cgroup_parent.is_some());
    Ok(CgroupPath::new(slice.unwrap_or(&pod.cgroup))?)
}

/// A cgroup's directories as a request carries them.
pub(super) fn slots(cgroup: &Cgroup) -> (Vec<CgroupSlot>, Vec<BorrowedFd<'_>>) {
    let memory = cgroup.memory_entry().map(|entry| entry.role);
    let slot = |role| match role {
        Role::Unified => CgroupSlot::Unified,
        Role::V1(_) if Some(role) == memory => CgroupSlot::V1Memory,
        Role::V1(_) => CgroupSlot::V1,
    };
    cgroup
        .entries()
        .into_iter()
        .map(|entry| (slot(entry.role), entry.dir))
        .unzip()
}

/// Ends everything in a cgroup and removes it.
pub(super) fn kill_and_remove(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<(), PodError> {
    if let Some(cgroup) = hierarchy.open(path)? {
        cgroup.kill()?;
    }
    Ok(hierarchy.remove(path)?)
}

/// Removes a container's cgroup after killing what may still be in it. Blocks; may be repeated.
pub(super) fn release(
    hierarchy: &Hierarchy,
    pod: &PodRecord,
    id: ContainerId,
) -> Result<(), PodError> {
    kill_and_remove(hierarchy, &of_container(pod, id)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing;
    use crate::spec::PodConfig;

    #[test]
    fn with_cgroupfs_pause_and_containers_are_below_the_pod() {
        let pod = testing::pod(PodConfig::default());
        let container = ContainerId::random().unwrap();
        assert_eq!(
            of_pause(&pod).unwrap().as_str(),
            format!("/pods/p/{}", pod.id)
        );
        let path = of_container(&pod, container).unwrap();
        assert_eq!(path.as_str(), format!("/pods/p/{container}"));
        assert_eq!(slice(&pod), None);
        assert_eq!(of_pod(&pod).unwrap().as_str(), "/pods/p");
    }

    /// With the systemd driver a kubelet names a slice, and everything of the pod is counted there.
    #[test]
    fn with_systemd_they_are_in_a_scope_of_the_slice() {
        let mut pod = testing::pod(PodConfig {
            cgroup_parent: Some("kubepods-pod1.slice".to_owned()),
            ..PodConfig::default()
        });
        let parent = Slice::parse("kubepods-pod1.slice").unwrap();
        let scope = of_scope(pod.id, &parent).unwrap();
        assert!(scope.as_str().ends_with(&scope_name(pod.id)), "{scope}");
        pod.cgroup = scope.to_string();
        let parent = scope.as_str().trim_end_matches(&scope_name(pod.id));
        assert_eq!(slice(&pod), Some(parent.trim_end_matches('/')));
        assert_eq!(of_pod(&pod).unwrap().as_str(), parent.trim_end_matches('/'));
        let pause = of_pause(&pod).unwrap();
        assert!(pause.as_str().starts_with(scope.as_str()), "{pause}");
    }
}
