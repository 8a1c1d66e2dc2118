//! Resource use of pods and containers, read from the kernel when somebody asks and at no other time.
//!
//! ```text
//!   request ──▶ read ──▶ cgroup files, /proc/PAUSE/net ──▶ reading
//!                 └── Samples: open cgroups, the CPU time of the reading before
//! ```
//!
//! CPU use over time needs two looks. The first one is the request before; where that is missing or long ago,
//! the request looks twice a tenth of a second apart. Nothing here runs on its own.

mod measure;
mod samples;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use super::blocking::blocking;
use super::cgroups;
use super::clock::now;
use super::entry::PodSnapshot;
use super::error::PodError;
use super::node::Node;
use super::record::{ContainerRecord, PodRecord};
use super::state::{ContainerPhase, PodPhase};
use holdfast_disk::TreeUsage;
use holdfast_kernel::cgroup::{Cgroup, CgroupPath, Stats};
use holdfast_kernel::id::ContainerId;

#[cfg(test)]
pub(crate) use measure::Descriptors;
pub(crate) use measure::{BlockDevice, GroupMeasures, PodMeasures, StoreSpace, measure};
pub(super) use samples::Samples;
pub(crate) use traffic::Traffic;

use samples::{FIRST_WINDOW, Owner};

/// A reading of a container's statistics.
#[derive(Debug, Clone)]
pub(crate) struct ContainerStats {
    pub record: Arc<ContainerRecord>,
    /// When: nanoseconds since the epoch.
    pub timestamp: i64,
    /// From the kernel; nothing of a container whose cgroup is gone.
    pub stats: Stats,
    /// CPU use in billionths of a core, averaged since the reading before.
    pub usage_nano_cores: Option<u64>,
    /// Size of the writable layer.
    pub writable_layer: Option<TreeUsage>,
}

/// A reading of a pod's statistics.
#[derive(Debug, Clone)]
pub(crate) struct PodStats {
    pub pod: Arc<PodRecord>,
    /// When: nanoseconds since the epoch.
    pub timestamp: i64,
    /// From the pod's own cgroup: all containers, the pause, and what else the kubelet put there.
    pub stats: Stats,
    /// CPU use in billionths of a core, averaged since the reading before.
    pub usage_nano_cores: Option<u64>,
    /// Its interfaces; nothing of a pod on the host's network.
    pub network: Option<Traffic>,
    /// Processes in the pod's cgroup.
    pub processes: Option<u64>,
    pub containers: Vec<ContainerStats>,
}

/// Something of which CPU use over time is wanted.
trait Reading {
    /// There is CPU time, and no average of it yet.
    fn lacks_average(&self) -> bool;
}

impl Reading for ContainerStats {
    fn lacks_average(&self) -> bool {
        self.stats.cpu.is_some() && self.usage_nano_cores.is_none()
    }
}

impl Reading for PodStats {
    fn lacks_average(&self) -> bool {
        self.stats.cpu.is_some() && self.usage_nano_cores.is_none()
            || self.containers.iter().any(Reading::lacks_average)
    }
}

/// Reads containers; those that vanish meanwhile are left out.
pub(super) async fn containers(
    node: &Arc<Node>,
    wanted: Vec<(Arc<PodSnapshot>, Arc<ContainerRecord>)>,
) -> Vec<ContainerStats> {
    let readings = twice(wanted, |(pod, record)| {
        let (node, pod, record) = (Arc::clone(node), Arc::clone(pod), Arc::clone(record));
        move || container(&node, &pod.pod, &record)
    });
    let readings = readings.await;
    tidy(node);
    readings
}

/// Reads pods; those that vanish meanwhile are left out.
pub(super) async fn pods(node: &Arc<Node>, wanted: Vec<Arc<PodSnapshot>>) -> Vec<PodStats> {
    let readings = twice(wanted, |pod| {
        let (node, pod) = (Arc::clone(node), Arc::clone(pod));
        move || self::pod(&node, &pod)
    });
    let readings = readings.await;
    tidy(node);
    readings
}

/// Samples of what was removed while it was read would stay for ever.
fn tidy(node: &Node) {
    node.samples.retain(|owner| match owner {
        Owner::Pod(id) => node.index.has_pod(id),
        Owner::Container(id) => node.index.has_container(id),
    });
}

/// Reads everything, and after a moment again those that lack an average.
async fn twice<W, R, J>(wanted: Vec<W>, job: impl Fn(&W) -> J) -> Vec<R>
where
    R: Reading + Send + 'static,
    J: FnOnce() -> Result<R, PodError> + Send + 'static,
{
    /// A little more than the shortest average, for clocks that are read at different places.
    const PAUSE: Duration = FIRST_WINDOW.saturating_add(Duration::from_millis(10));
    let read =
        |jobs: Vec<J>| blocking(move || Ok(jobs.into_iter().map(|job| job().ok()).collect()));
    let mut readings: Vec<Option<R>> = read(wanted.iter().map(&job).collect())
        .await
        .unwrap_or_default();
    let again: Vec<usize> = readings
        .iter()
        .enumerate()
        .filter(|(_, reading)| reading.as_ref().is_some_and(Reading::lacks_average))
        .map(|(index, _)| index)
        .collect();
    if !again.is_empty() {
        tokio::time::sleep(PAUSE).await;
        let jobs = again.iter().map(|index| job(&wanted[*index])).collect();
        let second: Vec<Option<R>> = read(jobs).await.unwrap_or_default();
        for (index, reading) in again.into_iter().zip(second) {
            readings[index] = reading;
        }
    }
    readings.into_iter().flatten().collect()
}

/// Reads one container. Blocks.
fn container(
    node: &Node,
    pod: &PodRecord,
    record: &Arc<ContainerRecord>,
) -> Result<ContainerStats, PodError> {
    let owner = Owner::Container(record.id);
    let path = cgroups::of_container(pod, record.id)?;
    let (_, stats) = group_stats(node, owner, &path)?;
    let usage = stats.cpu.map(|cpu| cpu.usage_ns);
    Ok(ContainerStats {
        record: Arc::clone(record),
        timestamp: now(),
        stats,
        usage_nano_cores: usage.and_then(|usage| node.samples.nano_cores(owner, usage)),
        writable_layer: layer(node, record.id),
    })
}

/// Reads one pod. Blocks.
fn pod(node: &Node, snapshot: &PodSnapshot) -> Result<PodStats, PodError> {
    let pod = &snapshot.pod;
    let owner = Owner::Pod(pod.id);
    let (cgroup, stats) = match pod.phase {
        PodPhase::Ready | PodPhase::Stopping => group_stats(node, owner, &cgroups::of_pod(pod)?)?,
        PodPhase::Creating | PodPhase::NotReady | PodPhase::Removing => (None, Stats::default()),
    };
    let usage = stats.cpu.map(|cpu| cpu.usage_ns);
    let running = running(snapshot).map(|record| container(node, pod, record));
    Ok(PodStats {
        pod: Arc::clone(pod),
        timestamp: now(),
        stats,
        usage_nano_cores: usage.and_then(|usage| node.samples.nano_cores(owner, usage)),
        network: traffic(pod),
        processes: cgroup.and_then(|cgroup| count(&cgroup)),
        containers: running.filter_map(Result::ok).collect(),
    })
}

/// The containers of a pod that run.
fn running(pod: &PodSnapshot) -> impl Iterator<Item = &Arc<ContainerRecord>> {
    pod.containers
        .values()
        .filter(|record| matches!(record.phase, ContainerPhase::Running(..)))
}

fn traffic(pod: &PodRecord) -> Option<Traffic> {
    if !pod.config.owns_network() {
        return None;
    }
    traffic::read(pod.pause?)
}

fn count(cgroup: &Cgroup) -> Option<u64> {
    u64::try_from(cgroup.processes().ok()?.len()).ok()
}

/// Opens a group, or takes it from an earlier reading, and reads it. A group that was removed has no figures.
fn group_stats(
    node: &Node,
    owner: Owner,
    path: &CgroupPath,
) -> Result<(Option<Arc<Cgroup>>, Stats), PodError> {
    let known = node.samples.cgroup(owner);
    let group = match known {
        Some(group) => Some(group),
        None => {
            let opened = node.cgroups.open(path)?.map(Arc::new);
            if opened.is_some() {
                node.samples.keep_cgroup(owner, opened.clone());
            }
            opened
        }
    };
    let Some(group) = group else {
        return Ok((None, Stats::default()));
    };
    match group.stats() {
        Ok(stats) => Ok((Some(group), stats)),
        // It may have been removed between the two calls: then there is nothing to read.
        Err(_) => {
            node.samples.keep_cgroup(owner, None);
            Ok((None, Stats::default()))
        }
    }
}

/// Adds up the disk usage of all containers. Blocks.
pub(super) fn written(node: &Node) -> Result<TreeUsage, PodError> {
    let mut sum = TreeUsage::default();
    // One that vanishes meanwhile takes nothing.
    for usage in node.layers()?.into_iter().filter_map(|id| layer(node, id)) {
        sum.bytes += usage.bytes;
        sum.inodes += usage.inodes;
    }
    Ok(sum)
}

fn layer(node: &Node, id: ContainerId) -> Option<TreeUsage> {
    if let Some(usage) = node.samples.layer(id) {
        return Some(usage);
    }
    let usage = node.upper(id).ok()?.usage().ok()?;
    node.samples.keep_layer(id, usage);
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::state::Goal;
    use crate::pod::testing;
    use crate::spec::{ContainerConfig, PodConfig};
    use holdfast_kernel::cgroup::CpuStats;

    fn cpu() -> Stats {
        Stats {
            cpu: Some(CpuStats::default()),
            ..Stats::default()
        }
    }

    fn reading(stats: Stats, usage_nano_cores: Option<u64>) -> ContainerStats {
        let pod = testing::pod(PodConfig::default());
        ContainerStats {
            record: Arc::new(testing::container(pod.id, ContainerConfig::default())),
            timestamp: 0,
            stats,
            usage_nano_cores,
            writable_layer: None,
        }
    }

    /// Only what has CPU time and no average of it makes a request wait for a second look.
    #[test]
    fn a_second_look_is_taken_where_it_brings_something() {
        let cases = [
            (Stats::default(), None, false),
            (cpu(), None, true),
            (cpu(), Some(0), false),
        ];
        for (stats, average, lacks) in cases {
            let container = reading(stats, average);
            assert_eq!(container.lacks_average(), lacks, "{average:?}");
            let pod = PodStats {
                pod: Arc::new(testing::pod(PodConfig::default())),
                timestamp: 0,
                stats: Stats::default(),
                usage_nano_cores: None,
                network: None,
                processes: None,
                containers: vec![reading(cpu(), Some(1)), container],
            };
            assert_eq!(pod.lacks_average(), lacks, "a container of it: {average:?}");
        }
    }

    #[tokio::test]
    async fn what_fails_is_left_out_and_the_rest_is_in_order() {
        let readings = twice(vec![1, 2, 3], |number| {
            let number = *number;
            move || match number {
                2 => Err(PodError::Refused(crate::pod::error::Refusal::Gone)),
                _ => Ok(ContainerStats {
                    timestamp: number,
                    ..reading(Stats::default(), None)
                }),
            }
        });
        let stamps: Vec<_> = readings.await.iter().map(|one| one.timestamp).collect();
        assert_eq!(stamps, [1, 3]);
    }

    /// A pod that does not run has no figures, and a kubelet gets its statistics all the same.
    #[test]
    fn what_does_not_run_has_no_figures() {
        let (_guard, node) = testing::node();
        let mut pod_record = testing::pod_of(&node, PodConfig::default());
        let mut runs = testing::container(pod_record.id, ContainerConfig::default());
        runs.phase = ContainerPhase::Running(testing::run(), Goal::Run);
        let created = testing::container(pod_record.id, ContainerConfig::default());
        for phase in [PodPhase::Ready, PodPhase::NotReady] {
            pod_record.phase = phase;
            let snapshot = testing::snapshot(&pod_record, &[&runs, &created]);
            // Its cgroup is gone already.
            let stats = pod(&node, &snapshot).unwrap();
            assert!(
                stats.stats.cpu.is_none() && stats.processes.is_none(),
                "{phase:?}"
            );
            assert!(stats.network.is_none() && stats.usage_nano_cores.is_none());
            let ids: Vec<_> = stats.containers.iter().map(|one| one.record.id).collect();
            assert_eq!(ids, [runs.id], "{phase:?}");
            let (measured, _) = measure(&node, &[snapshot]).unwrap();
            assert!(measured.is_empty(), "metrics leave out what has vanished");
        }
    }

    /// The samples of a container that was removed while it was read would stay for the life of the daemon.
    #[tokio::test]
    async fn nothing_is_kept_of_what_is_gone() {
        let (_guard, node) = testing::node();
        let pod = testing::pod_of(&node, PodConfig::default());
        let entry = testing::known(&node, &pod);
        let [known, gone] =
            [(); 2].map(|()| testing::container(pod.id, ContainerConfig::default()));
        node.index.add_container(known.id, entry);
        let snapshot = testing::snapshot(&pod, &[&known, &gone]);
        for record in [&known, &gone] {
            node.make_layer(record.id, testing::user()).unwrap();
        }
        let wanted =
            [&known, &gone].map(|record| (Arc::clone(&snapshot), Arc::new(record.clone())));
        let readings = containers(&node, wanted.into()).await;
        assert_eq!(readings.len(), 2);
        assert!(readings.iter().all(|one| one.writable_layer.is_some()));
        assert!(node.samples.layer(known.id).is_some());
        assert!(node.samples.layer(gone.id).is_none());
    }

    /// The size of a layer is measured once in a while: what was added in between is seen later.
    #[test]
    fn what_containers_wrote_is_the_sum_of_their_layers() {
        let (_guard, node) = testing::node();
        let mut sizes = TreeUsage::default();
        for content in [&b"abc"[..], &[7; 9000]] {
            let id = ContainerId::random().unwrap();
            node.make_layer(id, testing::user()).unwrap();
            let upper = node.upper(id).unwrap();
            testing::write(&upper.path().join("file"), content);
            let usage = upper.usage().unwrap();
            sizes.bytes += usage.bytes;
            sizes.inodes += usage.inodes;
            assert!(usage.inodes >= 2, "{usage:?}");
        }
        assert_eq!(written(&node).unwrap(), sizes);
        let again = node.layers().unwrap()[0];
        testing::write(&node.upper(again).unwrap().path().join("more"), b"x");
        assert_eq!(written(&node).unwrap(), sizes);
        node.samples.forget(again);
        assert_eq!(written(&node).unwrap().inodes, sizes.inodes + 1);
    }
}
