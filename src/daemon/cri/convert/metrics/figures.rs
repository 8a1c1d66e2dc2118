//! The tables of metrics: the name, help and source of each figure.

use std::time::Duration;

use crate::pod::{ContainerRecord, GroupMeasures, StoreSpace};
use holdfast_kernel::cgroup::{Ceiling, CpuStats, IoStats, MemoryDetail, MemoryStats, Pressure};
use holdfast_network::InterfaceStats;

/// The pod or container that a set of metrics describes.
pub(super) struct Subject<'a> {
    pub(super) group: &'a GroupMeasures,
    pub(super) record: Option<&'a ContainerRecord>,
    pub(super) store: Option<&'a StoreSpace>,
    /// When it was started: nanoseconds since the epoch.
    pub(super) started_at: i64,
}

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The figure only grows.
    Counter,
    /// The figure goes up and down.
    Gauge,
}

use Kind::{Counter, Gauge};

/// A value as the protocol has it twice: whole, and exact where it is a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Value {
    pub(super) whole: u64,
    pub(super) exact: Option<f64>,
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Self { whole, exact: None }
    }
}

/// A figure of a cgroup: a metric without labels of its own.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) read: fn(&Subject<'_>) -> Option<Value>,
}

/// Values, each with the values of the labels that it alone has.
type Labelled = Vec<(Vec<String>, Value)>;

/// Several figures of a cgroup that differ by labels.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) read: fn(&Subject<'_>) -> Labelled,
}

/// A counter of a network interface.
pub(super) struct Network {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: fn(&InterfaceStats) -> u64,
}

impl Subject<'_> {
    fn cpu(&self) -> Option<&CpuStats> {
        self.group.stats.cpu.as_ref()
    }

    fn memory(&self) -> Option<&MemoryStats> {
        self.group.stats.memory.as_ref()
    }

    fn detail(&self) -> &MemoryDetail {
        &self.group.detail.memory
    }

    /// Each device with a part of what was read or written on it.
    fn devices(&self, part: fn(&IoStats) -> u64) -> Labelled {
        let value =
            |device: &crate::pod::BlockDevice| (vec![device.name.clone()], part(&device.io).into());
        self.group.devices.iter().map(value).collect()
    }

    /// A figure of the file system of writable layers, which containers have and pods have not.
    fn layers(&self, part: fn(&StoreSpace) -> u64) -> Labelled {
        let store = self.store.filter(|_| self.record.is_some());
        let value = |store: &StoreSpace| (vec![store.device.clone()], part(store).into());
        store.map(value).into_iter().collect()
    }
}

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// A span of time in seconds. Consumers take the exact value where they know it (CRI 1.38).
fn seconds(nanoseconds: u64) -> Value {
    Value {
        whole: nanoseconds / SECOND,
        exact: Some(Duration::from_nanos(nanoseconds).as_secs_f64()),
    }
}

fn waiting(pressure: Option<&Pressure>) -> Option<Value> {
    pressure.map(|pressure| seconds(pressure.some.total_ns))
}

fn stalled(pressure: Option<&Pressure>) -> Option<Value> {
    pressure.map(|pressure| seconds(pressure.full.total_ns))
}

/// A limit as cAdvisor writes it: 0 for none.
fn limit(ceiling: Ceiling) -> u64 {
    match ceiling {
        Ceiling::Unlimited => 0,
        Ceiling::At(limit) => limit,
    }
}

/// A moment in whole seconds since the epoch, as cAdvisor has moments.
fn unix_seconds(nanoseconds: i64) -> Option<u64> {
    let nanoseconds = u64::try_from(nanoseconds).ok()?;
    Some(nanoseconds / SECOND)
}

macro_rules! figures {
    ($($name:literal $kind:ident $help:literal $read:expr;)*) => {
        &[$(Figure {
            name: $name,
            help: $help,
            kind: $kind,
            read: |of| {
                let read: fn(&Subject<'_>) -> Option<_> = $read;
                read(of).map(Value::from)
            },
        },)*]
    };
}

/// Figures of cgroups, those of pods and those of containers alike.
pub(super) const FIGURES: &[Figure] = figures! {
    "container_cpu_user_seconds_total" Counter "CPU time in user mode, in seconds."
        |of| Some(seconds(of.cpu()?.user_ns));
    "container_cpu_system_seconds_total" Counter "CPU time in the kernel, in seconds."
        |of| Some(seconds(of.cpu()?.system_ns));
    "container_cpu_cfs_periods_total" Counter "Periods of the CPU limit that have passed."
        |of| Some(of.cpu()?.periods);
    "container_cpu_cfs_throttled_periods_total" Counter "Periods in which the CPU limit was reached."
        |of| Some(of.cpu()?.throttled_periods);
    "container_cpu_cfs_throttled_seconds_total" Counter "Time spent waiting at the CPU limit, in seconds."
        |of| Some(seconds(of.cpu()?.throttled_ns));
    "container_memory_usage_bytes" Gauge "Memory charged, page cache included."
        |of| Some(of.memory()?.usage);
    "container_memory_working_set_bytes" Gauge "Memory charged without inactive page cache."
        |of| Some(of.memory()?.working_set);
    "container_memory_rss" Gauge "Anonymous memory in bytes."
        |of| Some(of.memory()?.rss);
    "container_memory_swap" Gauge "Swap in use, in bytes."
        |of| of.memory()?.swap_usage;
    "container_memory_max_usage_bytes" Gauge "Largest memory use since the start."
        |of| of.detail().peak;
    "container_memory_cache" Gauge "Page cache in bytes."
        |of| of.detail().cache;
    "container_memory_mapped_file" Gauge "Mapped page cache in bytes."
        |of| of.detail().mapped_file;
    "container_memory_total_active_file_bytes" Gauge "Page cache used lately."
        |of| of.detail().active_file;
    "container_memory_total_inactive_file_bytes" Gauge "Page cache not used lately."
        |of| of.detail().inactive_file;
    "container_memory_active_anon_bytes" Gauge "Anonymous memory used lately."
        |of| of.detail().active_anon;
    "container_memory_inactive_anon_bytes" Gauge "Anonymous memory not used lately."
        |of| of.detail().inactive_anon;
    "container_memory_kernel_usage" Gauge "Kernel memory in bytes."
        |of| of.detail().kernel;
    "container_memory_failcnt" Counter "How often the memory limit was reached."
        |of| of.detail().limit_hits;
    "container_oom_events_total" Counter "Processes killed for lack of memory."
        |of| of.detail().oom_kills;
    "container_processes" Gauge "Processes now."
        |of| of.group.processes;
    "container_file_descriptors" Gauge "Files that the container's processes have open."
        |of| Some(of.group.descriptors?.open);
    "container_sockets" Gauge "Sockets among the files that the container's processes have open."
        |of| Some(of.group.descriptors?.sockets);
    "container_threads" Gauge "Tasks now, threads included."
        |of| Some(of.group.stats.pids?.current);
    "container_threads_max" Gauge "Most tasks allowed; 0 for no limit."
        |of| of.group.stats.pids?.limit.map(limit);
    "container_pressure_cpu_waiting_seconds_total" Counter "Time in which a task waited for a CPU, in seconds."
        |of| waiting(of.group.stats.cpu_pressure.as_ref());
    "container_pressure_cpu_stalled_seconds_total" Counter "Time in which all tasks waited for a CPU, in seconds."
        |of| stalled(of.group.stats.cpu_pressure.as_ref());
    "container_pressure_memory_waiting_seconds_total" Counter "Time in which a task waited for memory, in seconds."
        |of| waiting(of.group.stats.memory_pressure.as_ref());
    "container_pressure_memory_stalled_seconds_total" Counter "Time in which all tasks waited for memory, in seconds."
        |of| stalled(of.group.stats.memory_pressure.as_ref());
    "container_pressure_io_waiting_seconds_total" Counter "Time in which a task waited for I/O, in seconds."
        |of| waiting(of.group.stats.io_pressure.as_ref());
    "container_pressure_io_stalled_seconds_total" Counter "Time in which all tasks waited for I/O, in seconds."
        |of| stalled(of.group.stats.io_pressure.as_ref());
    "container_spec_cpu_shares" Gauge "Relative weight of CPU time."
        |of| of.group.limits.cpu_shares;
    "container_spec_cpu_period" Gauge "Period of the CPU limit in microseconds."
        |of| of.group.limits.cpu_period;
    // Without a limit there is no quota, and a number would read as one.
    "container_spec_cpu_quota" Gauge "CPU time in a period, in microseconds."
        |of| Some(limit(of.group.limits.cpu_quota?)).filter(|quota| *quota > 0);
    "container_spec_memory_limit_bytes" Gauge "Memory limit; 0 for none."
        |of| of.memory()?.limit.map(limit);
    // As in cAdvisor: the file's number, which on cgroup v1 counts memory and swap together. Where the kernel
    // does not account swap, nothing limits it.
    "container_spec_memory_swap_limit_bytes" Gauge "Limit of swap, on cgroup v1 of memory and swap; 0 for none."
        |of| of.memory().map(|_| of.detail().swap_limit.map_or(0, limit));
    "container_spec_memory_reservation_limit_bytes" Gauge "Memory that is kept for it; 0 for none."
        |of| of.detail().reservation.map(limit);
    "container_start_time_seconds" Gauge "When it was started, in seconds since the epoch."
        |of| unix_seconds(of.started_at);
    "container_last_seen" Gauge "When these figures were read, in seconds since the epoch."
        |of| unix_seconds(of.group.timestamp);
};

/// Figures with labels of their own.
pub(super) const SERIES: &[Series] = &[
    Series {
        name: "container_cpu_usage_seconds_total",
        help: "CPU time, in seconds.",
        kind: Counter,
        labels: &["cpu"],
        read: |of| {
            let total = |cpu: &CpuStats| (vec!["total".to_owned()], seconds(cpu.usage_ns));
            of.cpu().map(total).into_iter().collect()
        },
    },
    Series {
        name: "container_memory_failures_total",
        help: "Page faults.",
        kind: Counter,
        labels: &["failure_type", "scope"],
        read: |of| {
            let Some(memory) = of.memory() else {
                return Vec::new();
            };
            let faults = [
                ("pgfault", memory.page_faults),
                ("pgmajfault", memory.major_page_faults),
            ];
            let labels = |kind: &str| vec![kind.to_owned(), "hierarchy".to_owned()];
            faults
                .map(|(kind, count)| (labels(kind), count.into()))
                .into()
        },
    },
    Series {
        name: "container_ulimits_soft",
        help: "Soft limits of the container's first process.",
        kind: Gauge,
        labels: &["ulimit"],
        read: |of| {
            let limit = |files: u64| (vec!["max_open_files".to_owned()], files.into());
            of.group.open_files_limit.map(limit).into_iter().collect()
        },
    },
    Series {
        name: "container_hugetlb_usage_bytes",
        help: "Huge pages in use, in bytes.",
        kind: Gauge,
        labels: &["pagesize"],
        read: |of| {
            let pages = of.group.detail.hugepages.iter();
            pages
                .map(|page| (vec![page.size.clone()], page.usage.into()))
                .collect()
        },
    },
    Series {
        name: "container_hugetlb_max_usage_bytes",
        help: "Most huge pages in use since the start, in bytes.",
        kind: Gauge,
        labels: &["pagesize"],
        read: |of| {
            let pages = of.group.detail.hugepages.iter();
            let peak = |page: &holdfast_kernel::cgroup::HugepageStats| {
                Some((vec![page.size.clone()], page.peak?.into()))
            };
            pages.filter_map(peak).collect()
        },
    },
    Series {
        name: "container_fs_usage_bytes",
        help: "Size of the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of| {
            let (Some(store), Some(layer)) = (of.store, of.group.layer) else {
                return Vec::new();
            };
            vec![(vec![store.device.clone()], layer.bytes.into())]
        },
    },
    Series {
        name: "container_fs_limit_bytes",
        help: "Size of the file system that has the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of| of.layers(|store| store.space.total_bytes),
    },
    Series {
        name: "container_fs_inodes_total",
        help: "Inodes of the file system that has the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of| of.layers(|store| store.space.total_inodes),
    },
    Series {
        name: "container_fs_inodes_free",
        help: "Free inodes of the file system that has the writable layer.",
        kind: Gauge,
        labels: &["device"],
        read: |of| of.layers(|store| store.space.available_inodes),
    },
    Series {
        name: "container_fs_reads_total",
        help: "Read requests to a block device.",
        kind: Counter,
        labels: &["device"],
        read: |of| of.devices(|io| io.reads),
    },
    Series {
        name: "container_fs_reads_bytes_total",
        help: "Bytes read from a block device.",
        kind: Counter,
        labels: &["device"],
        read: |of| of.devices(|io| io.read_bytes),
    },
    Series {
        name: "container_fs_writes_total",
        help: "Write requests to a block device.",
        kind: Counter,
        labels: &["device"],
        read: |of| of.devices(|io| io.writes),
    },
    Series {
        name: "container_fs_writes_bytes_total",
        help: "Bytes written to a block device.",
        kind: Counter,
        labels: &["device"],
        read: |of| of.devices(|io| io.write_bytes),
    },
    Series {
        name: "container_blkio_device_usage_total",
        help: "Bytes read from and written to a block device.",
        kind: Counter,
        labels: &["device", "major", "minor", "operation"],
        read: |of| {
            let mut found = Vec::new();
            for device in &of.group.devices {
                let io = &device.io;
                for (operation, bytes) in [("Read", io.read_bytes), ("Write", io.write_bytes)] {
                    let numbers = [device.major, device.minor].map(|number| number.to_string());
                    let [major, minor] = numbers;
                    let labels = vec![device.name.clone(), major, minor, operation.to_owned()];
                    found.push((labels, bytes.into()));
                }
            }
            found
        },
    },
];

macro_rules! network {
    ($($name:literal $help:literal $field:ident;)*) => {
        &[$(Network { name: $name, help: $help, read: |of| of.$field },)*]
    };
}

/// Figures of interfaces, which only pods have.
pub(super) const NETWORK: &[Network] = network! {
    "container_network_receive_bytes_total" "Bytes received." rx_bytes;
    "container_network_receive_packets_total" "Packets received." rx_packets;
    "container_network_receive_packets_dropped_total" "Packets dropped on receiving." rx_dropped;
    "container_network_receive_errors_total" "Bad packets received." rx_errors;
    "container_network_transmit_bytes_total" "Bytes sent." tx_bytes;
    "container_network_transmit_packets_total" "Packets sent." tx_packets;
    "container_network_transmit_packets_dropped_total" "Packets dropped on sending." tx_dropped;
    "container_network_transmit_errors_total" "Packets that could not be sent." tx_errors;
};
