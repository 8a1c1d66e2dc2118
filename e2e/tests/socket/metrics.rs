//! Metrics of pods and containers, under cAdvisor's names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use cri_api::runtime::v1::{
    ListMetricDescriptorsRequest, ListPodSandboxMetricsRequest, Metric, MetricType,
    PodSandboxMetrics, StreamPodSandboxMetricsRequest,
};
use e2e::request::{BUSYBOX, ContainerParts, container, idle};
use e2e::{Daemon, call, evidence, must};

const MIB: u64 = 1 << 20;

/// Names of metrics, and the names of their labels.
fn descriptors(daemon: &Daemon) -> BTreeMap<String, Vec<String>> {
    let mut client = daemon.clients().runtime;
    let answer = call(client.list_metric_descriptors(ListMetricDescriptorsRequest {}));
    let descriptors = must("ListMetricDescriptors", answer).descriptors;
    for descriptor in &descriptors {
        assert!(!descriptor.help.is_empty(), "{}", descriptor.name);
    }
    let described = descriptors
        .into_iter()
        .map(|one| (one.name, one.label_keys));
    described.collect()
}

fn metrics(daemon: &Daemon) -> Vec<PodSandboxMetrics> {
    let mut client = daemon.clients().runtime;
    let answer = call(client.list_pod_sandbox_metrics(ListPodSandboxMetricsRequest {}));
    must("ListPodSandboxMetrics", answer).pod_metrics
}

/// The value of a metric, whatever its labels.
#[track_caller]
fn value(metrics: &[Metric], name: &str) -> u64 {
    only_metric(metrics, name).value.unwrap().value
}

#[track_caller]
fn only_metric<'m>(metrics: &'m [Metric], name: &str) -> &'m Metric {
    let found = metrics.iter().find(|metric| metric.name == name);
    found.unwrap_or_else(|| panic!("no metric {name}"))
}

/// A metric's labels by name.
fn labels(described: &BTreeMap<String, Vec<String>>, metric: &Metric) -> BTreeMap<String, String> {
    let keys = described[&metric.name].iter().cloned();
    keys.zip(metric.label_values.iter().cloned()).collect()
}

fn kernel_cpu_seconds(pid: i32) -> u64 {
    let group = evidence::cgroup(pid, "cpuacct");
    let text = group.read("cpuacct.usage", "cpu.stat");
    match text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))
    {
        Some(micros) => micros.parse::<u64>().unwrap() / 1_000_000,
        None => text.parse::<u64>().unwrap() / 1_000_000_000,
    }
}

#[test]
fn figures_of_a_container_are_those_of_the_kernel() {
    let daemon = Daemon::start();
    let mut config = container("c", BUSYBOX, &["probe", "hog", "50"]);
    let resources = config.resources();
    resources.memory_limit_in_bytes = 128 << 20;
    resources.cpu_shares = 512;
    resources.cpu_quota = 50_000;
    resources.cpu_period = 100_000;
    let pod = daemon.run_named("metrics");
    let run = pod.start(config);
    run.wait_for("holding");
    run.sh("dd if=/dev/zero of=/tmp/file bs=1M count=3 2>/dev/null; probe cpu 1.5");
    let described = descriptors(&daemon);
    let all = metrics(&daemon);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].pod_sandbox_id, pod.id);
    assert_eq!(all[0].container_metrics.len(), 1);
    assert_eq!(all[0].container_metrics[0].container_id, run.id);
    let of = &all[0].container_metrics[0].metrics;
    let group = evidence::cgroup(run.pid(), "memory");
    let usage: u64 = group
        .read("memory.usage_in_bytes", "memory.current")
        .parse()
        .unwrap();
    assert!(value(of, "container_memory_usage_bytes").abs_diff(usage) < 8 * MIB);
    let working = value(of, "container_memory_working_set_bytes");
    assert!((50 * MIB..128 * MIB).contains(&working), "{working}");
    assert!(value(of, "container_memory_rss") >= 50 * MIB);
    let used = kernel_cpu_seconds(run.pid());
    assert!(value(of, "container_cpu_usage_seconds_total").abs_diff(used) <= 1);
    assert_eq!(value(of, "container_spec_memory_limit_bytes"), 128 * MIB);
    assert_eq!(value(of, "container_spec_cpu_quota"), 50_000);
    assert_eq!(value(of, "container_spec_cpu_period"), 100_000);
    assert!(value(of, "container_spec_cpu_shares").abs_diff(512) < 10);
    assert!(value(of, "container_cpu_cfs_periods_total") >= 1);
    assert_eq!(value(of, "container_processes"), 1);
    assert_eq!(value(of, "container_oom_events_total"), 0);
    assert!(value(of, "container_fs_usage_bytes") >= 3 * MIB);
    assert!(value(of, "container_fs_limit_bytes") > value(of, "container_fs_usage_bytes"));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(value(of, "container_last_seen").abs_diff(now) < 60);
    assert!(value(of, "container_start_time_seconds").abs_diff(now) < 60);
    let cpu = only_metric(of, "container_cpu_usage_seconds_total");
    assert_eq!(cpu.metric_type(), MetricType::Counter);
    assert!(cpu.timestamp > 0);
    let labels = labels(&described, cpu);
    let wanted = [
        ("container", "c"),
        ("cpu", "total"),
        ("image", BUSYBOX),
        ("name", run.id.as_str()),
        ("namespace", "e2e"),
        ("pod", "metrics"),
    ];
    for (key, value) in wanted {
        assert_eq!(labels[key], value, "{labels:?}");
    }
    assert!(labels["id"].ends_with(&run.id), "{labels:?}");
}

#[test]
fn open_files_and_fractions_of_seconds_are_told() {
    let daemon = Daemon::start();
    let run = daemon
        .run_named("files")
        .start(container("c", BUSYBOX, &["probe", "hog", "1"]));
    run.wait_for("holding");
    run.sh("probe cpu 1.2");
    let all = metrics(&daemon);
    let of = &all[0].container_metrics[0].metrics;
    // Its three standard streams at least; how many it may open is the kernel's to say.
    assert!(value(of, "container_file_descriptors") >= 3);
    assert!(value(of, "container_sockets") < value(of, "container_file_descriptors"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let files: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(value(of, "container_ulimits_soft"), files);
    assert_eq!(
        value(of, "container_spec_memory_reservation_limit_bytes"),
        0
    );
    let exact = only_metric(of, "container_cpu_usage_seconds_total")
        .double_value
        .unwrap()
        .value;
    assert!(exact > 1.0 && exact.fract() != 0.0, "{exact}");
}

#[test]
fn a_pod_has_its_traffic_and_the_sum_of_its_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("traffic");
    let run = pod.start(container("c", BUSYBOX, &["probe", "hog", "20"]));
    run.wait_for("holding");
    let gateway = run.sh("ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'");
    run.sh(&format!("ping -c 3 -s 1000 {} >/dev/null", gateway.trim()));
    let all = metrics(&daemon);
    let of = &all[0].metrics;
    let described = descriptors(&daemon);
    let received = only_metric(of, "container_network_receive_bytes_total");
    assert!(received.value.unwrap().value >= 3000);
    assert!(value(of, "container_network_transmit_packets_total") >= 3);
    let labels = labels(&described, received);
    assert_eq!(labels["interface"], "eth0");
    assert_eq!(
        (labels["pod"].as_str(), labels["container"].as_str()),
        ("traffic", "")
    );
    // The pause is in the pod as well.
    assert_eq!(value(of, "container_processes"), 2);
    assert!(value(of, "container_memory_usage_bytes") >= 20 * MIB);
    assert!(
        all[0].container_metrics[0]
            .metrics
            .iter()
            .all(|metric| !metric.name.contains("network"))
    );
}

#[test]
fn every_metric_is_described_and_the_stream_has_the_same() {
    let daemon = Daemon::start();
    let pods = [daemon.run_named("a"), daemon.run_named("b")];
    pods[0].start(idle("one"));
    pods[0].create(idle("created"));
    pods[1].finish(e2e::request::shell("ended", "true"));
    let described = descriptors(&daemon);
    let all = metrics(&daemon);
    let mut seen = BTreeSet::new();
    let containers = all.iter().flat_map(|pod| &pod.container_metrics);
    let sets = containers
        .map(|container| &container.metrics)
        .chain(all.iter().map(|pod| &pod.metrics));
    for metric in sets.flatten() {
        let keys = described.get(&metric.name);
        let keys = keys.unwrap_or_else(|| panic!("{} is not described", metric.name));
        assert_eq!(keys.len(), metric.label_values.len(), "{}", metric.name);
        seen.insert(metric.name.clone());
    }
    assert!(seen.len() > 40, "{seen:?}");
    let running: usize = all.iter().map(|pod| pod.container_metrics.len()).sum();
    assert_eq!(running, 1, "only what runs has figures");
    let mut client = daemon.clients().runtime;
    let request = StreamPodSandboxMetricsRequest {};
    let mut stream = must(
        "StreamPodSandboxMetrics",
        call(client.stream_pod_sandbox_metrics(request)),
    );
    let first = must(
        "a message",
        call(async { stream.message().await.map(tonic::Response::new) }),
    );
    let ids = |pods: &[PodSandboxMetrics]| -> BTreeSet<String> {
        pods.iter().map(|pod| pod.pod_sandbox_id.clone()).collect()
    };
    assert_eq!(ids(&first.unwrap().pod_sandbox_metrics), ids(&all));
}

#[test]
fn processes_killed_for_lack_of_memory_are_counted() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("oom");
    let mut config = e2e::request::shell("c", "probe hog 200; echo holding; sleep 1000");
    config.resources().memory_limit_in_bytes = 32 << 20;
    let run = pod.start(config);
    run.wait_for("holding");
    let all = metrics(&daemon);
    let of = &all[0].container_metrics[0].metrics;
    assert!(value(of, "container_oom_events_total") >= 1);
}
