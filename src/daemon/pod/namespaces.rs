//! Which namespaces the processes of a pod are in, as the kernel names them: inode numbers of /proc/PID/ns.

use holdfast_kernel::sys::pid::Pid;
use std::collections::BTreeMap;
use std::fs;

use super::entry::PodSnapshot;
use super::process::ProcessIdentity;
use super::state::ContainerPhase;

/// The kinds of namespaces: namespaces(7).
const KINDS: [&str; 8] = ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user", "time"];

/// The part that a process has in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The pause, which owns the shared namespaces.
    Pause,
    /// A container's first process.
    Container,
}

/// The namespaces of one process.
#[derive(Debug, Clone)]
pub(crate) struct ProcessNamespaces {
    pub role: Role,
    /// Id of the pod for the pause, otherwise of the container.
    pub id: String,
    /// Name of the container, or `pause`.
    pub name: String,
    /// Process id in the host's pid namespace.
    pub pid: Pid,
    /// Inode number for each kind. A process that has just ended has none.
    pub inodes: BTreeMap<String, u64>,
}

/// The namespaces of everything that runs in a pod.
pub(super) fn pod_namespaces(pod: &PodSnapshot) -> Vec<ProcessNamespaces> {
    let mut found = Vec::new();
    if let Some(pause) = pod.pod.pause {
        found.push(process(Role::Pause, pod.pod.id.to_string(), "pause", pause));
    }
    for container in pod.containers.values() {
        if let ContainerPhase::Running(run, _) = &container.phase {
            let name = &container.config.metadata.name;
            found.push(process(
                Role::Container,
                container.id.to_string(),
                name,
                run.process,
            ));
        }
    }
    found
}

fn process(role: Role, id: String, name: &str, process: ProcessIdentity) -> ProcessNamespaces {
    let inode = |kind: &&str| {
        let link = fs::read_link(process.pid.proc_file(&format!("ns/{kind}"))).ok()?;
        // The link reads `net:[4026531840]`.
        let number = link
            .to_str()?
            .split_once('[')?
            .1
            .trim_end_matches(']')
            .parse()
            .ok()?;
        Some(((*kind).to_owned(), number))
    };
    let inodes = KINDS.iter().filter_map(inode).collect();
    // The numbers are this process' only if it is still there now.
    let inodes = if process.exists() {
        inodes
    } else {
        BTreeMap::new()
    };
    ProcessNamespaces {
        role,
        id,
        name: name.to_owned(),
        pid: process.pid,
        inodes,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;
    use crate::pod::state::{Goal, Run};
    use crate::pod::testing;
    use crate::spec::{ContainerConfig, PodConfig};
    use holdfast_kernel::sys::proc;

    /// The inode number of a namespace is that of the file which its link leads to: namespaces(7).
    #[test]
    fn the_numbers_are_those_of_the_kernel_and_none_for_a_process_that_is_gone() {
        let pid = Pid::own();
        let own = ProcessIdentity {
            pid,
            start_ticks: proc::start_ticks(pid).unwrap(),
        };
        let gone = ProcessIdentity {
            start_ticks: own.start_ticks - 1,
            ..own
        };
        let mut pod = testing::pod(PodConfig::default());
        pod.pause = Some(own);
        let mut config = ContainerConfig::default();
        config.metadata.name = "app".to_owned();
        let created = testing::container(pod.id, config.clone());
        let mut ended = testing::container(pod.id, config);
        let run = Run {
            process: gone,
            started_at: 1,
        };
        ended.phase = ContainerPhase::Running(run, Goal::Run);
        let containers = [created, ended.clone()];
        let found = pod_namespaces(&PodSnapshot {
            pod: Arc::new(pod),
            containers: containers
                .into_iter()
                .map(|one| (one.id, Arc::new(one)))
                .collect(),
        });
        assert_eq!(found.len(), 2, "a created container has no process");
        assert_eq!(
            (found[0].role, found[0].name.as_str()),
            (Role::Pause, "pause")
        );
        for kind in KINDS {
            let inode = fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
            assert_eq!(found[0].inodes.get(kind), Some(&inode), "{kind}");
        }
        assert_eq!(
            (found[1].role, found[1].name.as_str()),
            (Role::Container, "app")
        );
        assert_eq!(found[1].id, ended.id.to_string());
        assert!(found[1].inodes.is_empty());
    }
}
