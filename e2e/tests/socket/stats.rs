//! Statistics of containers and of pods.

use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerStats, ContainerStatsFilter, ContainerStatsRequest, ListContainerStatsRequest,
    ListPodSandboxStatsRequest, NamespaceMode, PodSandboxStats, PodSandboxStatsFilter,
    PodSandboxStatsRequest, StreamPodSandboxStatsRequest,
};
use e2e::request::{BUSYBOX, ContainerParts, PodParts, container, idle};
use e2e::{Container, Daemon, Pod, call, evidence, fails, must};
use tonic::Code;

const MIB: u64 = 1 << 20;

fn stats(container: &Container<'_>) -> ContainerStats {
    let request = ContainerStatsRequest {
        container_id: container.id.clone(),
    };
    let mut client = container.daemon.clients().runtime;
    must("ContainerStats", call(client.container_stats(request)))
        .stats
        .unwrap()
}

fn list(daemon: &Daemon, filter: ContainerStatsFilter) -> Vec<String> {
    let request = ListContainerStatsRequest {
        filter: Some(filter),
    };
    let stats = must(
        "ListContainerStats",
        call(daemon.clients().runtime.list_container_stats(request)),
    )
    .stats;
    let names = stats
        .into_iter()
        .map(|of| of.attributes.unwrap().metadata.unwrap().name);
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn figures_are_those_of_the_kernel() {
    let daemon = Daemon::start();
    let mut config = container("c", BUSYBOX, &["probe", "hog", "50"]);
    config.resources().memory_limit_in_bytes = 128 << 20;
    let run = daemon.run_named("stats").start(config);
    run.wait_for("holding");
    run.sh("dd if=/dev/zero of=/tmp/file bs=1M count=3 2>/dev/null; probe cpu 1");
    let first = stats(&run);
    let attributes = first.attributes.unwrap();
    assert_eq!(attributes.id, run.id);
    let cpu = first.cpu.unwrap();
    assert!(cpu.timestamp > 0);
    let used = cpu.usage_core_nano_seconds.unwrap().value;
    assert!((900_000_000..20_000_000_000).contains(&used), "{used} ns");
    let memory = first.memory.unwrap();
    let working = memory.working_set_bytes.unwrap().value;
    assert!((50 * MIB..128 * MIB).contains(&working), "{working} bytes");
    let usage = memory.usage_bytes.unwrap().value;
    assert!(usage >= working);
    let available = memory.available_bytes.unwrap().value;
    assert_eq!(available, 128 * MIB - working);
    assert!(memory.rss_bytes.unwrap().value >= 50 * MIB);
    let layer = first.writable_layer.unwrap();
    assert!(layer.used_bytes.unwrap().value >= 3 * MIB);
    assert!(layer.inodes_used.unwrap().value >= 1);
    let kernel =
        evidence::cgroup(run.pid(), "memory").read("memory.usage_in_bytes", "memory.current");
    let kernel: u64 = kernel.parse().unwrap();
    assert!(usage.abs_diff(kernel) < 8 * MIB, "{usage} {kernel}");
}

#[test]
fn the_use_of_cpu_is_averaged_over_time() {
    let daemon = Daemon::start();
    let run = daemon
        .run_named("stats")
        .start(container("c", BUSYBOX, &["probe", "cpu", "6"]));
    stats(&run);
    std::thread::sleep(Duration::from_millis(1000));
    let cores = stats(&run).cpu.unwrap().usage_nano_cores.unwrap().value;
    assert!(
        (5_000_000..2_000_000_000).contains(&cores),
        "{cores} billionths of a core"
    );
}

#[test]
fn lists_have_what_the_filter_says_and_created_ones_do_no_harm() {
    let daemon = Daemon::start();
    let (a, b) = (daemon.run_named("a"), daemon.run_named("b"));
    let mut config = idle("one");
    config.labels.insert("app".into(), "x".into());
    let one = a.start(config);
    a.create(idle("created"));
    b.start(idle("two"));
    b.finish(e2e::request::shell("ended", "true"));
    let none = ContainerStatsFilter::default;
    let all = list(&daemon, none());
    assert!(
        all.contains(&"one".to_owned()) && all.contains(&"two".to_owned()),
        "{all:?}"
    );
    assert_eq!(
        list(
            &daemon,
            ContainerStatsFilter {
                id: one.id.clone(),
                ..none()
            }
        ),
        ["one"]
    );
    let of_b = list(
        &daemon,
        ContainerStatsFilter {
            pod_sandbox_id: b.id.clone(),
            ..none()
        },
    );
    assert!(
        of_b.contains(&"two".to_owned()) && !of_b.contains(&"one".to_owned()),
        "{of_b:?}"
    );
    let label_selector = [("app".to_owned(), "x".to_owned())].into_iter().collect();
    assert_eq!(
        list(
            &daemon,
            ContainerStatsFilter {
                label_selector,
                ..none()
            }
        ),
        ["one"]
    );
}

#[test]
fn statistics_of_the_unknown_are_not_found() {
    let daemon = Daemon::start();
    let request = ContainerStatsRequest {
        container_id: "0123456789abcdef".into(),
    };
    fails(
        call(daemon.clients().runtime.container_stats(request)),
        Code::NotFound,
        &["0123456789abcdef"],
    );
}

fn pod_stats(pod: &Pod<'_>) -> PodSandboxStats {
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: pod.id.clone(),
    };
    let mut client = pod.daemon.clients().runtime;
    let stats = must("PodSandboxStats", call(client.pod_sandbox_stats(request))).stats;
    stats.unwrap()
}

#[test]
fn a_single_request_has_the_use_of_cpu_at_once() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("once");
    let run = pod.start(container("c", BUSYBOX, &["probe", "cpu", "6"]));
    let of_container = stats(&run).cpu.unwrap().usage_nano_cores.unwrap().value;
    assert!(of_container > 0);
    let of_pod = pod_stats(&pod).linux.unwrap().cpu.unwrap();
    assert!(of_pod.usage_nano_cores.unwrap().value > 0);
}

#[test]
fn a_pods_figures_are_those_of_its_cgroup_and_its_network() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("pod");
    config.labels.insert("app".into(), "x".into());
    let pod = daemon.run(config);
    let one = pod.start(container("one", BUSYBOX, &["probe", "hog", "30"]));
    let two = pod.start(container("two", BUSYBOX, &["probe", "hog", "20"]));
    pod.finish(e2e::request::shell("ended", "true"));
    one.wait_for("holding");
    two.wait_for("holding");
    let gateway = one.sh("ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'");
    one.sh(&format!("ping -c 3 -s 1000 {} >/dev/null", gateway.trim()));
    let of = pod_stats(&pod);
    let attributes = of.attributes.unwrap();
    assert_eq!(attributes.id, pod.id);
    assert_eq!(attributes.metadata.unwrap().name, "pod");
    assert_eq!(attributes.labels["app"], "x");
    let linux = of.linux.unwrap();
    let working = linux.memory.unwrap().working_set_bytes.unwrap().value;
    assert!((50 * MIB..90 * MIB).contains(&working), "{working}");
    let cpu = linux.cpu.unwrap().usage_core_nano_seconds.unwrap().value;
    let parts = linux.containers.iter();
    let parts: u64 = parts
        .map(|part| {
            part.cpu
                .as_ref()
                .unwrap()
                .usage_core_nano_seconds
                .as_ref()
                .unwrap()
                .value
        })
        .sum();
    assert!(cpu + 50_000_000 >= parts, "{cpu} {parts}");
    // The pause and one process in each running container.
    assert_eq!(linux.process.unwrap().process_count.unwrap().value, 3);
    let names = linux.containers.iter();
    let mut names: Vec<_> = names
        .map(|part| {
            part.attributes
                .as_ref()
                .unwrap()
                .metadata
                .as_ref()
                .unwrap()
                .name
                .as_str()
        })
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "two"]);
    let network = linux.network.unwrap();
    let eth0 = network.default_interface.unwrap();
    assert_eq!(eth0.name, "eth0");
    assert!(eth0.rx_bytes.unwrap().value >= 3000 && eth0.tx_bytes.unwrap().value >= 3000);
    assert_eq!(
        (eth0.rx_errors.unwrap().value, network.interfaces.len()),
        (0, 0)
    );
}

#[test]
fn a_pod_on_the_hosts_network_has_no_traffic_of_its_own() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("host");
    config.namespaces().network = NamespaceMode::Node.into();
    let pod = daemon.run(config);
    assert!(pod_stats(&pod).linux.unwrap().network.is_none());
}

#[test]
fn lists_of_pods_have_what_the_filter_says() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("a");
    config.labels.insert("app".into(), "x".into());
    let (a, b, stopped) = (
        daemon.run(config),
        daemon.run_named("b"),
        daemon.run_named("c"),
    );
    stopped.stop();
    let list = |filter: PodSandboxStatsFilter| {
        let mut client = daemon.clients().runtime;
        let request = ListPodSandboxStatsRequest {
            filter: Some(filter.clone()),
        };
        let listed = must(
            "ListPodSandboxStats",
            call(client.list_pod_sandbox_stats(request)),
        );
        let request = StreamPodSandboxStatsRequest {
            filter: Some(filter),
        };
        let stream = call(client.stream_pod_sandbox_stats(request));
        let mut stream = must("StreamPodSandboxStats", stream);
        let message = call(async { stream.message().await.map(tonic::Response::new) });
        let streamed = must("a message", message).unwrap_or_default();
        let ids = |stats: Vec<PodSandboxStats>| -> Vec<String> {
            let mut ids: Vec<_> = stats
                .into_iter()
                .map(|of| of.attributes.unwrap().id)
                .collect();
            ids.sort();
            ids
        };
        let listed = ids(listed.stats);
        assert_eq!(listed, ids(streamed.pod_sandbox_stats));
        listed
    };
    let none = PodSandboxStatsFilter::default;
    let mut both = vec![a.id.clone(), b.id.clone()];
    both.sort();
    assert_eq!(list(none()), both);
    let by_id = PodSandboxStatsFilter {
        id: b.id[..20].to_owned(),
        ..none()
    };
    assert_eq!(list(by_id), std::slice::from_ref(&b.id));
    let by_label = PodSandboxStatsFilter {
        label_selector: [("app".to_owned(), "x".to_owned())].into_iter().collect(),
        ..none()
    };
    assert_eq!(list(by_label), std::slice::from_ref(&a.id));
    let unknown = PodSandboxStatsFilter {
        id: "0123456789abcdef".into(),
        ..none()
    };
    assert!(list(unknown).is_empty());
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: "0123456789abcdef".into(),
    };
    fails(
        call(daemon.clients().runtime.pod_sandbox_stats(request)),
        Code::NotFound,
        &["0123456789abcdef"],
    );
}
