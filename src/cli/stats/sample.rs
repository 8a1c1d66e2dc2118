//! Samples of the containers' counters, and the present use computed from two samples.

use std::collections::HashMap;

use cri_api::runtime::v1 as cri;
use serde::Serialize;

use crate::connect::Daemon;
use crate::refusal::Refusal;
use crate::select;

/// The resources that all containers have used so far.
#[derive(Debug)]
pub(crate) struct Sample {
    containers: Vec<ContainerSample>,
}

#[derive(Debug, Clone)]
struct ContainerSample {
    listed: cri::Container,
    pod: cri::PodSandboxMetadata,
    stats: cri::ContainerStats,
    /// Metrics that have no labels of their own, by name.
    metrics: HashMap<String, u64>,
}

/// The resource use of a container. Sizes are bytes, pressure is percent of the last ten seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// Id of the container.
    pub id: String,
    /// Name of the container.
    pub name: String,
    /// Name of the container's pod.
    pub pod: String,
    /// Id of the container's pod.
    pub pod_id: String,
    /// Namespace of the container's pod.
    pub namespace: String,
    /// Whether the first process of the container runs.
    pub running: bool,
    /// CPU use in percent of one CPU; not known of a new container.
    pub cpu_percent: Option<f64>,
    /// CPU time used so far.
    pub cpu_nanos: u64,
    /// Size of the working set.
    pub memory_bytes: u64,
    /// Size of the writable layer.
    pub disk_bytes: u64,
    /// Inodes in the writable layer.
    pub inodes: u64,
    /// Swap in use; not known without the controller.
    pub swap_bytes: Option<u64>,
    /// Number of processes and threads.
    pub processes: Option<u64>,
    /// Share of the CPU limit's periods in which it was reached, since the sample before.
    pub throttled_percent: Option<f64>,
    /// Share of the time in which some task waited for a CPU.
    pub cpu_pressure: Option<f64>,
    /// Share of the time in which some task waited for memory.
    pub memory_pressure: Option<f64>,
    /// Share of the time in which some task waited for a disk.
    pub io_pressure: Option<f64>,
    /// Labels, which only filters need.
    #[serde(skip)]
    pub labels: HashMap<String, String>,
}

impl Sample {
    /// Asks the daemon for the use so far.
    pub(crate) async fn take(daemon: &mut Daemon) -> Result<Self, Refusal> {
        let pods = select::pods(daemon).await?.into_iter();
        let pods: HashMap<_, _> = pods.map(|pod| (pod.id, pod.metadata)).collect();
        let request = cri::ListContainerStatsRequest::default();
        let reply = daemon.runtime.list_container_stats(request).await;
        let reply = reply.map_err(Refusal::to("read the statistics of containers"))?;
        let stats = reply.into_inner().stats.into_iter();
        let stats = stats.filter_map(|stats| Some((stats.attributes.clone()?.id, stats)));
        let mut stats: HashMap<_, _> = stats.collect();
        let mut metrics = metrics(daemon).await?;
        // Of those that have ended there is nothing but their name.
        let containers = select::containers(daemon).await?.into_iter();
        let containers = containers.map(|listed| ContainerSample {
            metrics: metrics.remove(&listed.id).unwrap_or_default(),
            stats: stats.remove(&listed.id).unwrap_or_default(),
            pod: pods
                .get(&listed.pod_sandbox_id)
                .cloned()
                .flatten()
                .unwrap_or_default(),
            listed,
        });
        Ok(Self {
            containers: containers.collect(),
        })
    }
}

/// Metrics by container. A daemon without them is no reason to show nothing.
async fn metrics(daemon: &mut Daemon) -> Result<HashMap<String, HashMap<String, u64>>, Refusal> {
    let request = cri::ListPodSandboxMetricsRequest {};
    let reply = match daemon.runtime.list_pod_sandbox_metrics(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) if status.code() == tonic::Code::Unimplemented => return Ok(HashMap::new()),
        Err(status) => return Err(Refusal::to("read the metrics of pods")(status)),
    };
    let containers = reply
        .pod_metrics
        .into_iter()
        .flat_map(|pod| pod.container_metrics);
    let values = |metrics: Vec<cri::Metric>| {
        let metrics = metrics.into_iter();
        metrics
            .filter_map(|metric| Some((metric.name, metric.value?.value)))
            .collect()
    };
    Ok(containers
        .map(|container| (container.container_id, values(container.metrics)))
        .collect())
}

/// Computes the present use of containers, in the order of their creation.
pub(crate) fn usage(before: &Sample, now: &Sample) -> Vec<Usage> {
    let before: HashMap<_, _> = before
        .containers
        .iter()
        .map(|sample| (sample.listed.id.as_str(), sample))
        .collect();
    let usage = |sample: &ContainerSample| {
        container_usage(before.get(sample.listed.id.as_str()).copied(), sample)
    };
    now.containers.iter().map(usage).collect()
}

fn container_usage(before: Option<&ContainerSample>, now: &ContainerSample) -> Usage {
    let number = |value: &Option<cri::UInt64Value>| value.as_ref().map(|value| value.value);
    let stats = &now.stats;
    let disk = stats.writable_layer.clone().unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let swap = stats.swap.unwrap_or_default();
    let pressure = |psi: Option<&cri::PsiStats>| Some(psi?.some.as_ref()?.avg10);
    Usage {
        id: now.listed.id.clone(),
        name: select::container_name(&now.listed),
        pod: now.pod.name.clone(),
        pod_id: now.listed.pod_sandbox_id.clone(),
        namespace: now.pod.namespace.clone(),
        running: now.listed.state() == cri::ContainerState::ContainerRunning,
        cpu_percent: before.and_then(|before| cpu_percent(before, now)),
        cpu_nanos: cpu(now).map_or(0, |(_, nanos)| nanos),
        memory_bytes: number(&memory.working_set_bytes).unwrap_or_default(),
        disk_bytes: number(&disk.used_bytes).unwrap_or_default(),
        inodes: number(&disk.inodes_used).unwrap_or_default(),
        swap_bytes: number(&swap.swap_usage_bytes),
        processes: now.metrics.get("container_processes").copied(),
        throttled_percent: before.and_then(|before| throttled_percent(before, now)),
        cpu_pressure: pressure(stats.cpu.as_ref().and_then(|cpu| cpu.psi.as_ref())),
        memory_pressure: pressure(memory.psi.as_ref()),
        io_pressure: pressure(stats.io.as_ref().and_then(|io| io.psi.as_ref())),
        labels: now.listed.labels.clone(),
    }
}

/// When the CPU time was read, and how much it was.
fn cpu(sample: &ContainerSample) -> Option<(i64, u64)> {
    let cpu = sample.stats.cpu.as_ref()?;
    let nanos = cpu.usage_core_nano_seconds.as_ref()?.value;
    Some((cpu.timestamp, nanos))
}

fn cpu_percent(before: &ContainerSample, now: &ContainerSample) -> Option<f64> {
    let ((then, used_then), (now, used)) = (cpu(before)?, cpu(now)?);
    let passed = u64::try_from(now.checked_sub(then)?).ok()?;
    share(used.saturating_sub(used_then), passed)
}

/// None without a limit, which has no periods.
fn throttled_percent(before: &ContainerSample, now: &ContainerSample) -> Option<f64> {
    let since = |name: &str| {
        let now = now.metrics.get(name)?;
        Some(now.saturating_sub(*before.metrics.get(name)?))
    };
    let periods = since("container_cpu_cfs_periods_total")?;
    share(since("container_cpu_cfs_throttled_periods_total")?, periods)
}

/// A part in percent of the whole, to two digits.
fn share(part: u64, whole: u64) -> Option<f64> {
    if whole == 0 {
        return None;
    }
    let hundredths = u128::from(part) * 10_000 / u128::from(whole);
    u32::try_from(hundredths)
        .ok()
        .map(|hundredths| f64::from(hundredths) / 100.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cri_api::runtime::v1 as cri;

    use super::{ContainerSample, Sample, share, usage};

    fn sample(time: i64, nanos: u64, periods: (u64, u64)) -> Sample {
        let stats = cri::ContainerStats {
            cpu: Some(cri::CpuUsage {
                timestamp: time,
                usage_core_nano_seconds: Some(cri::UInt64Value { value: nanos }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let metrics = HashMap::from([
            ("container_cpu_cfs_periods_total".to_owned(), periods.0),
            (
                "container_cpu_cfs_throttled_periods_total".to_owned(),
                periods.1,
            ),
        ]);
        Sample {
            containers: vec![ContainerSample {
                listed: cri::Container::default(),
                pod: cri::PodSandboxMetadata::default(),
                stats,
                metrics,
            }],
        }
    }

    #[test]
    fn use_is_the_difference_of_two_samples() {
        let before = sample(1_000, 500, (10, 5));
        let now = sample(3_000, 1_500, (20, 8));
        let used = &usage(&before, &now)[0];
        assert_eq!(used.cpu_percent, Some(50.0));
        assert_eq!(used.throttled_percent, Some(30.0));
        assert_eq!(used.cpu_nanos, 1_500);
        // A container that is new, and one that was not read in between.
        let nothing = Sample {
            containers: Vec::new(),
        };
        assert_eq!(usage(&nothing, &now)[0].cpu_percent, None);
        assert_eq!(usage(&now, &now)[0].cpu_percent, None);
    }

    #[test]
    fn shares_may_be_more_than_the_whole() {
        assert_eq!(share(8, 2), Some(400.0));
        assert_eq!(share(1, 3), Some(33.33));
        assert_eq!(share(1, 0), None);
    }
}
