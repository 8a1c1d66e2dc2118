//! Resource use of containers, read from the kernel when somebody asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::container;
use super::error::PodError;
use super::node::{Node, now};
use super::record::{ContainerRecord, PodRecord};
use crate::cgroup::{Cgroup, Stats};
use crate::disk::TreeUsage;
use crate::id::ContainerId;

/// Shortest time over which CPU use is averaged; asking more often repeats the last figure.
const CPU_WINDOW: Duration = Duration::from_millis(500);

/// How old the size of a writable layer may be. Measuring it walks the whole tree.
const LAYER_AGE: Duration = Duration::from_secs(10);

/// One reading.
#[derive(Debug, Clone)]
pub struct ContainerStats {
    /// The container.
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

#[derive(Debug, Default)]
struct Sample {
    cgroup: Option<Arc<Cgroup>>,
    cpu: Option<(Instant, u64)>,
    nano_cores: Option<u64>,
    layer: Option<(Instant, TreeUsage)>,
}

/// What earlier readings left for later ones: open files and the figures that need two readings.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<HashMap<ContainerId, Sample>>);

impl Samples {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container is gone.
    pub fn forget(&self, id: ContainerId) {
        self.lock().remove(&id);
    }

    fn nano_cores(&self, id: ContainerId, usage: u64) -> Option<u64> {
        let now = Instant::now();
        let mut samples = self.lock();
        let sample = samples.entry(id).or_default();
        match sample.cpu {
            Some((then, _)) if now.duration_since(then) < CPU_WINDOW => {}
            Some((then, before)) => {
                let elapsed = now.duration_since(then).as_nanos().max(1);
                let used = u128::from(usage.saturating_sub(before)) * 1_000_000_000 / elapsed;
                sample.nano_cores = u64::try_from(used).ok();
                sample.cpu = Some((now, usage));
            }
            None => sample.cpu = Some((now, usage)),
        }
        sample.nano_cores
    }
}

/// Reads one container. Blocks.
pub fn read(
    node: &Node,
    pod: &PodRecord,
    record: &Arc<ContainerRecord>,
) -> Result<ContainerStats, PodError> {
    let cgroup = cgroup(node, pod, record.id)?;
    let stats = match &cgroup {
        // The container may end between the two calls: then there is nothing to read.
        Some(cgroup) => cgroup.stats().unwrap_or_default(),
        None => Stats::default(),
    };
    let usage = stats.cpu.map(|cpu| cpu.usage_ns);
    Ok(ContainerStats {
        record: Arc::clone(record),
        timestamp: now(),
        stats,
        usage_nano_cores: usage.and_then(|usage| node.samples.nano_cores(record.id, usage)),
        writable_layer: layer(node, record.id),
    })
}

fn cgroup(node: &Node, pod: &PodRecord, id: ContainerId) -> Result<Option<Arc<Cgroup>>, PodError> {
    let known = node
        .samples
        .lock()
        .get(&id)
        .and_then(|sample| sample.cgroup.clone());
    if known.is_some() {
        return Ok(known);
    }
    let opened = node
        .cgroups
        .open(&container::cgroup_path(pod, id)?)?
        .map(Arc::new);
    node.samples
        .lock()
        .entry(id)
        .or_default()
        .cgroup
        .clone_from(&opened);
    Ok(opened)
}

fn layer(node: &Node, id: ContainerId) -> Option<TreeUsage> {
    let known = node.samples.lock().get(&id).and_then(|sample| sample.layer);
    if let Some((when, usage)) = known
        && when.elapsed() < LAYER_AGE
    {
        return Some(usage);
    }
    let usage = node.upper(id).ok()?.usage().ok()?;
    node.samples.lock().entry(id).or_default().layer = Some((Instant::now(), usage));
    Some(usage)
}
