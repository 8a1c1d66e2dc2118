//! ContainerStats and ListContainerStats.

use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerStats, ContainerStatsFilter, ContainerStatsRequest, ListContainerStatsRequest,
};
use e2e::request::{BUSYBOX, ContainerParts, container, idle};
use e2e::{Container, Daemon, call, evidence, fails, must};
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
    assert!((50_000_000..20_000_000_000).contains(&used), "{used} ns");
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
        (50_000_000..2_000_000_000).contains(&cores),
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
