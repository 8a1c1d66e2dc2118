//! Makes the messages: descriptors of all metrics, and the metrics of a pod.

use cri_api::runtime::v1 as cri;

use super::figures::{FIGURES, Kind, NETWORK, Network, SERIES, Subject, Value};
use crate::pod::{
    ContainerPhase, ContainerRecord, GroupMeasures, PodMeasures, PodRecord, StoreSpace,
};
use holdfast_network::InterfaceStats;

/// Labels of every metric, in order; those of one metric alone follow them. A pod's own metrics have no
/// container, as those of its cgroup have none in cAdvisor.
const LABELS: [&str; 6] = ["id", "name", "image", "container", "pod", "namespace"];

/// All metrics that there are.
pub(crate) fn descriptors() -> Vec<cri::MetricDescriptor> {
    let descriptor = |name: &str, help: &str, own: &[&str]| cri::MetricDescriptor {
        name: name.to_owned(),
        help: help.to_owned(),
        label_keys: LABELS
            .iter()
            .chain(own)
            .map(|&key| key.to_owned())
            .collect(),
    };
    let figures = FIGURES
        .iter()
        .map(|figure| descriptor(figure.name, figure.help, &[]));
    let series = SERIES
        .iter()
        .map(|figure| descriptor(figure.name, figure.help, figure.labels));
    let network = NETWORK
        .iter()
        .map(|figure| descriptor(figure.name, figure.help, &["interface"]));
    figures.chain(series).chain(network).collect()
}

/// The metrics of a pod and of its containers.
pub(crate) fn pod_metrics(pod: &PodMeasures, store: Option<&StoreSpace>) -> cri::PodSandboxMetrics {
    let labels = labels(&pod.pod, None, &pod.group);
    let subject = Subject {
        group: &pod.group,
        record: None,
        store: None,
        started_at: pod.pod.created_at,
    };
    let mut metrics = subject.metrics(&labels);
    for interface in pod.network.iter().flat_map(|traffic| traffic.all()) {
        metrics.extend(network(interface, &labels, pod.group.timestamp));
    }
    let containers = pod.containers.iter().map(|(record, group)| {
        let subject = Subject {
            group,
            record: Some(record),
            store,
            started_at: started_at(record),
        };
        cri::ContainerMetrics {
            container_id: record.id.to_string(),
            metrics: subject.metrics(&self::labels(&pod.pod, Some(record), group)),
        }
    });
    cri::PodSandboxMetrics {
        pod_sandbox_id: pod.pod.id.to_string(),
        container_metrics: containers.collect(),
        metrics,
    }
}

fn started_at(record: &ContainerRecord) -> i64 {
    match &record.phase {
        ContainerPhase::Running(run, _) => run.started_at,
        _ => record.created_at,
    }
}

/// The values of [`LABELS`].
fn labels(
    pod: &PodRecord,
    container: Option<&ContainerRecord>,
    group: &GroupMeasures,
) -> Vec<String> {
    let metadata = &pod.config.metadata;
    let label = |text: fn(&ContainerRecord) -> String| container.map(text).unwrap_or_default();
    vec![
        group.path.clone(),
        label(|record| record.id.to_string()),
        label(|record| record.image.reference.clone()),
        label(|record| record.config.metadata.name.clone()),
        metadata.name.clone(),
        metadata.namespace.clone(),
    ]
}

fn metric(
    (name, kind): (&str, Kind),
    timestamp: i64,
    labels: Vec<String>,
    value: Value,
) -> cri::Metric {
    let kind = match kind {
        Kind::Counter => cri::MetricType::Counter,
        Kind::Gauge => cri::MetricType::Gauge,
    };
    cri::Metric {
        name: name.to_owned(),
        timestamp,
        metric_type: kind.into(),
        label_values: labels,
        value: Some(cri::UInt64Value { value: value.whole }),
        double_value: value.exact.map(|value| cri::DoubleValue { value }),
    }
}

impl Subject<'_> {
    fn metrics(&self, labels: &[String]) -> Vec<cri::Metric> {
        let timestamp = self.group.timestamp;
        let mut metrics = Vec::with_capacity(FIGURES.len() + SERIES.len());
        for figure in FIGURES {
            let value = (figure.read)(self);
            metrics.extend(value.map(|value| {
                metric(
                    (figure.name, figure.kind),
                    timestamp,
                    labels.to_vec(),
                    value,
                )
            }));
        }
        for figure in SERIES {
            for (own, value) in (figure.read)(self) {
                let labels = labels.iter().cloned().chain(own).collect();
                metrics.push(metric((figure.name, figure.kind), timestamp, labels, value));
            }
        }
        metrics
    }
}

fn network(interface: &InterfaceStats, labels: &[String], timestamp: i64) -> Vec<cri::Metric> {
    let labels: Vec<String> = labels.iter().chain([&interface.name]).cloned().collect();
    let message = |figure: &Network| {
        let value = (figure.read)(interface).into();
        metric(
            (figure.name, Kind::Counter),
            timestamp,
            labels.clone(),
            value,
        )
    };
    NETWORK.iter().map(message).collect()
}
