use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::*;
use crate::cgroup::{CpuStats, Detail, HugepageStats, IoStats, Limits, MemoryStats, Stats};
use crate::disk::FsSpace;
use crate::id::PodId;
use crate::pod::{BlockDevice, PodPhase, Traffic};

fn pod() -> PodMeasures {
    let stats = Stats {
        cpu: Some(CpuStats {
            usage_ns: 2_500_000_000,
            ..CpuStats::default()
        }),
        memory: Some(MemoryStats {
            usage: 9,
            limit: Some(crate::cgroup::Ceiling::Unlimited),
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
    let mut config = crate::spec::PodConfig::default();
    config.metadata.name = "web".to_owned();
    config.metadata.namespace = "shop".to_owned();
    PodMeasures {
        pod: Arc::new(PodRecord {
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
            protocol: 1,
            newest_protocol: None,
            network_owner: None,
        }),
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
