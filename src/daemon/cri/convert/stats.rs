//! Converts statistics to messages. A figure that the kernel does not provide is left out, not zero.

use std::path::Path;
use std::time::UNIX_EPOCH;

use cri_api::runtime::v1 as cri;

use super::container_status::metadata;
use super::field::unsorted;
use super::pod_status::pod_metadata;
use crate::pod::{ContainerStats, PodStats, Traffic};
use holdfast_disk::TreeUsage;
use holdfast_image::FsUsage;
use holdfast_kernel::cgroup::{Ceiling, CpuStats, MemoryStats, Pressure, PressureLine, Stats};
use holdfast_network::InterfaceStats;

fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

/// The statistics of a container; `layers` is the directory that its writable layer is under.
pub(crate) fn container_stats(stats: &ContainerStats, layers: &str) -> cri::ContainerStats {
    let record = &stats.record;
    let timestamp = stats.timestamp;
    let kernel = &stats.stats;
    cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: record.id.to_string(),
            metadata: Some(metadata(record)),
            labels: unsorted(&record.config.labels),
            annotations: unsorted(&record.config.annotations),
        }),
        cpu: kernel
            .cpu
            .as_ref()
            .map(|cpu| self::cpu(timestamp, cpu, kernel, stats.usage_nano_cores)),
        memory: kernel
            .memory
            .as_ref()
            .map(|memory| self::memory(timestamp, memory, kernel)),
        writable_layer: stats.writable_layer.map(|usage| cri::FilesystemUsage {
            timestamp,
            fs_id: Some(cri::FilesystemIdentifier {
                mountpoint: layers.to_owned(),
            }),
            used_bytes: value(usage.bytes),
            inodes_used: value(usage.inodes),
        }),
        swap: kernel
            .memory
            .as_ref()
            .and_then(|memory| swap(timestamp, memory)),
        io: io(timestamp, kernel),
    }
}

/// The statistics of a pod and of its containers.
pub(crate) fn pod_stats(stats: &PodStats, layers: &str) -> cri::PodSandboxStats {
    let (timestamp, kernel) = (stats.timestamp, &stats.stats);
    let config = &stats.pod.config;
    cri::PodSandboxStats {
        attributes: Some(cri::PodSandboxAttributes {
            id: stats.pod.id.to_string(),
            metadata: Some(pod_metadata(&config.metadata)),
            labels: unsorted(&config.labels),
            annotations: unsorted(&config.annotations),
        }),
        linux: Some(cri::LinuxPodSandboxStats {
            cpu: kernel
                .cpu
                .as_ref()
                .map(|cpu| self::cpu(timestamp, cpu, kernel, stats.usage_nano_cores)),
            memory: kernel
                .memory
                .as_ref()
                .map(|memory| self::memory(timestamp, memory, kernel)),
            network: stats
                .network
                .as_ref()
                .map(|traffic| network(timestamp, traffic)),
            process: stats.processes.map(|count| cri::ProcessUsage {
                timestamp,
                process_count: value(count),
            }),
            containers: stats
                .containers
                .iter()
                .map(|container| container_stats(container, layers))
                .collect(),
            io: io(timestamp, kernel),
        }),
        windows: None,
    }
}

fn network(timestamp: i64, traffic: &Traffic) -> cri::NetworkUsage {
    let interface = |of: &InterfaceStats| cri::NetworkInterfaceUsage {
        name: of.name.clone(),
        rx_bytes: value(of.rx_bytes),
        rx_errors: value(of.rx_errors),
        tx_bytes: value(of.tx_bytes),
        tx_errors: value(of.tx_errors),
    };
    cri::NetworkUsage {
        timestamp,
        default_interface: traffic.default.as_ref().map(interface),
        interfaces: traffic.others.iter().map(interface).collect(),
    }
}

fn io(timestamp: i64, stats: &Stats) -> Option<cri::IoUsage> {
    let psi = Some(pressure(stats.io_pressure.as_ref()?));
    Some(cri::IoUsage { timestamp, psi })
}

fn cpu(timestamp: i64, cpu: &CpuStats, stats: &Stats, nano_cores: Option<u64>) -> cri::CpuUsage {
    cri::CpuUsage {
        timestamp,
        usage_core_nano_seconds: value(cpu.usage_ns),
        usage_nano_cores: nano_cores.and_then(value),
        psi: stats.cpu_pressure.as_ref().map(pressure),
    }
}

fn memory(timestamp: i64, memory: &MemoryStats, stats: &Stats) -> cri::MemoryUsage {
    cri::MemoryUsage {
        timestamp,
        working_set_bytes: value(memory.working_set),
        available_bytes: below(memory.limit, memory.working_set),
        usage_bytes: value(memory.usage),
        rss_bytes: value(memory.rss),
        page_faults: value(memory.page_faults),
        major_page_faults: value(memory.major_page_faults),
        psi: stats.memory_pressure.as_ref().map(pressure),
    }
}

fn swap(timestamp: i64, memory: &MemoryStats) -> Option<cri::SwapUsage> {
    let used = memory.swap_usage?;
    Some(cri::SwapUsage {
        timestamp,
        swap_available_bytes: below(memory.swap_limit, used),
        swap_usage_bytes: value(used),
    })
}

/// The bytes that are left below a limit; `None` without a limit.
fn below(limit: Option<Ceiling>, used: u64) -> Option<cri::UInt64Value> {
    match limit? {
        Ceiling::Unlimited => None,
        Ceiling::At(limit) => value(limit.saturating_sub(used)),
    }
}

fn pressure(pressure: &Pressure) -> cri::PsiStats {
    let line = |line: &PressureLine| cri::PsiData {
        total: line.total_ns,
        avg10: line.avg10,
        avg60: line.avg60,
        avg300: line.avg300,
    };
    cri::PsiStats {
        full: Some(line(&pressure.full)),
        some: Some(line(&pressure.some)),
    }
}

/// The disk usage of images, and that of the containers' writable layers in `directory`.
pub(crate) fn image_fs(
    usage: &FsUsage,
    directory: &Path,
    written: TreeUsage,
) -> cri::ImageFsInfoResponse {
    let since = usage
        .timestamp
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let filesystem = |path: &Path, bytes, inodes| cri::FilesystemUsage {
        timestamp: i64::try_from(since.as_nanos()).unwrap_or_default(),
        fs_id: Some(cri::FilesystemIdentifier {
            mountpoint: path.to_string_lossy().into_owned(),
        }),
        used_bytes: value(bytes),
        inodes_used: value(inodes),
    };
    let images = filesystem(&usage.path, usage.used_bytes, usage.inodes_used);
    let containers = filesystem(directory, written.bytes, written.inodes);
    cri::ImageFsInfoResponse {
        image_filesystems: vec![images],
        container_filesystems: vec![containers],
    }
}
