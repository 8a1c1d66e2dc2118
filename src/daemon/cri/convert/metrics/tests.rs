use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::*;
use crate::pod::{
    BlockDevice, GroupMeasures, PodMeasures, PodPhase, PodRecord, StoreSpace, Traffic,
};
use holdfast_disk::FsSpace;
use holdfast_kernel::cgroup::{
    CpuStats, Detail, HugepageStats, IoStats, Limits, MemoryStats, Stats,
};
use holdfast_kernel::id::PodId;
use holdfast_network::InterfaceStats;

fn record() -> PodRecord {
    let mut config = crate::spec::PodConfig::default();
    config.metadata.name = "web".to_owned();
    config.metadata.namespace = "shop".to_owned();
    PodRecord {
        id: PodId::random().unwrap(),
        config: Arc::new(config),
        phase: PodPhase::Ready,
        created_at: 5_000_000_000,
        boot_id: String::new(),
        pause: None,
        resources: Default::default(),
        shim: None,
        ips: Vec::new(),
        cgroup: "/kubepods/pod1".to_owned(),
        protocols: holdfast_wire::Protocols::OWN,
        localhost_seccomp: None,
        network_owner: None,
    }
}

fn pod() -> PodMeasures {
    let stats = Stats {
        cpu: Some(CpuStats {
            usage_ns: 2_500_000_000,
            system_ns: 999_999_999,
            throttled_ns: 3_000_001_000,
            ..CpuStats::default()
        }),
        memory: Some(MemoryStats {
            usage: 9,
            limit: Some(holdfast_kernel::cgroup::Ceiling::Unlimited),
            ..MemoryStats::default()
        }),
        ..Stats::default()
    };
    let group = GroupMeasures {
        timestamp: 7_000_000_000,
        path: "/kubepods/pod1".to_owned(),
        stats,
        detail: Detail {
            hugepages: vec![HugepageStats {
                size: "2MB".to_owned(),
                usage: 3,
                peak: None,
            }],
            ..Detail::default()
        },
        limits: Limits::default(),
        processes: Some(4),
        descriptors: None,
        open_files_limit: None,
        devices: vec![BlockDevice {
            name: "/dev/sda".to_owned(),
            major: 8,
            minor: 0,
            io: IoStats {
                read_bytes: 5,
                ..IoStats::default()
            },
        }],
        layer: None,
    };
    PodMeasures {
        pod: Arc::new(record()),
        group,
        network: Some(Traffic {
            default: Some(InterfaceStats {
                name: "eth0".to_owned(),
                rx_bytes: 11,
                ..InterfaceStats::default()
            }),
            others: Vec::new(),
        }),
        containers: Vec::new(),
    }
}

#[test]
fn every_metric_has_a_descriptor_with_as_many_labels() {
    let described: BTreeMap<String, usize> = descriptors()
        .into_iter()
        .map(|of| (of.name, of.label_keys.len()))
        .collect();
    assert_eq!(
        described.len(),
        descriptors().len(),
        "a name is there twice"
    );
    let space = FsSpace {
        total_bytes: 1,
        available_bytes: 1,
        total_inodes: 1,
        available_inodes: 1,
    };
    let store = StoreSpace {
        device: String::new(),
        space,
    };
    for metric in pod_metrics(&pod(), Some(&store)).metrics {
        let labels = described.get(&metric.name);
        assert_eq!(labels, Some(&metric.label_values.len()), "{}", metric.name);
    }
}

#[test]
fn figures_are_those_of_the_reading_and_unknown_ones_are_left_out() {
    let metrics = pod_metrics(&pod(), None).metrics;
    let found: HashMap<_, _> = metrics
        .iter()
        .map(|metric| {
            (
                metric.name.as_str(),
                (metric.value.unwrap().value, &metric.label_values[..]),
            )
        })
        .collect();
    let base = ["/kubepods/pod1", "", "", "", "web", "shop"];
    let with = |own: &'static str| [&base[..], &[own]].concat();
    assert_eq!(found["container_cpu_usage_seconds_total"].0, 2);
    assert_eq!(found["container_cpu_usage_seconds_total"].1, with("total"));
    assert_eq!(found["container_network_receive_bytes_total"].0, 11);
    assert_eq!(
        found["container_network_receive_bytes_total"].1,
        with("eth0")
    );
    assert_eq!(found["container_fs_reads_bytes_total"].1, with("/dev/sda"));
    assert_eq!(
        found["container_processes"],
        (4, &base.map(str::to_owned)[..])
    );
    assert_eq!(found["container_spec_memory_limit_bytes"].0, 0);
    assert_eq!(found["container_start_time_seconds"].0, 5);
    assert_eq!(found["container_last_seen"].0, 7);
    for missing in [
        "container_hugetlb_max_usage_bytes",
        "container_memory_cache",
        "container_fs_limit_bytes",
        "container_pressure_cpu_waiting_seconds_total",
    ] {
        assert!(!found.contains_key(missing), "{missing}");
    }
}

/// Fractions of seconds are told exactly, and whole for consumers that know nothing else (comment of
/// `Metric.double_value`, cri-api v0.38.0-beta.0); moments and counts are whole, as in cAdvisor's lib v0.60.6.
#[test]
fn seconds_are_whole_and_exact() {
    let metrics = pod_metrics(&pod(), None).metrics;
    let found = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
        let exact = metric.double_value.map(|exact| exact.value);
        (metric.value.unwrap().value, exact)
    };
    let cases = [
        ("container_cpu_usage_seconds_total", (2, Some(2.5))),
        ("container_cpu_user_seconds_total", (0, Some(0.0))),
        (
            "container_cpu_system_seconds_total",
            (0, Some(0.999_999_999)),
        ),
        (
            "container_cpu_cfs_throttled_seconds_total",
            (3, Some(3.000_001)),
        ),
        ("container_start_time_seconds", (5, None)),
        ("container_last_seen", (7, None)),
        ("container_processes", (4, None)),
    ];
    for (name, wanted) in cases {
        assert_eq!(found(name), wanted, "{name}");
    }
}

/// What cAdvisor's lib v0.60.6 says of the files: 0 where none of them bounds (`specMemoryValue`), on v1 the
/// bound of memory and swap together (`GetSpec`), 0 as well where the kernel has no such file (`readUInt64`).
#[test]
fn bounds_of_memory_are_those_of_their_files() {
    use holdfast_kernel::cgroup::Ceiling::{At, Unlimited};
    let cases = [
        ((None, None), (0, None)),
        ((Some(Unlimited), Some(Unlimited)), (0, Some(0))),
        ((Some(At(64 << 20)), Some(Unlimited)), (64 << 20, Some(0))),
        ((Some(At(0)), Some(At(0))), (0, Some(0))),
        ((Some(At(1 << 40)), Some(At(4096))), (1 << 40, Some(4096))),
    ];
    for ((swap, reservation), (wanted_swap, wanted_reservation)) in cases {
        let mut pod = pod();
        pod.group.detail.memory.swap_limit = swap;
        pod.group.detail.memory.reservation = reservation;
        let metrics = pod_metrics(&pod, None).metrics;
        let found = |name: &str| {
            let metric = metrics.iter().find(|metric| metric.name == name);
            metric.map(|metric| metric.value.unwrap().value)
        };
        let case = format!("{swap:?} {reservation:?}");
        let swap = found("container_spec_memory_swap_limit_bytes");
        assert_eq!(swap, Some(wanted_swap), "{case}");
        let reservation = found("container_spec_memory_reservation_limit_bytes");
        assert_eq!(reservation, wanted_reservation, "{case}");
    }
}

#[test]
fn open_files_are_told_of_those_who_have_them() {
    let mut pod = pod();
    let names = |pod: &PodMeasures| -> Vec<String> {
        let of = [
            "container_file_descriptors",
            "container_sockets",
            "container_ulimits_soft",
        ];
        let metrics = pod_metrics(pod, None).metrics.into_iter();
        let found = metrics.filter(|metric| of.contains(&metric.name.as_str()));
        found
            .map(|metric| format!("{} {}", metric.name, metric.value.unwrap().value))
            .collect()
    };
    assert!(names(&pod).is_empty());
    let (open, sockets) = (12, 3);
    pod.group.descriptors = Some(crate::pod::Descriptors { open, sockets });
    pod.group.open_files_limit = Some(1024);
    let wanted = [
        "container_file_descriptors 12",
        "container_sockets 3",
        "container_ulimits_soft 1024",
    ];
    assert_eq!(names(&pod), wanted);
    let metrics = pod_metrics(&pod, None).metrics;
    let limit = metrics
        .iter()
        .find(|metric| metric.name == "container_ulimits_soft");
    assert_eq!(
        limit.unwrap().label_values.last().unwrap(),
        "max_open_files"
    );
}
