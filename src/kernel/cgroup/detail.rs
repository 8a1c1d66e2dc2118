//! What only metrics want of a group: read when somebody asks, from files that are opened for it each time.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::group::Member;
use super::readback::ceiling;
use super::{Ceiling, Cgroup, CgroupError, Controller, IoStats, file};

/// Memory of a group by kind, in bytes. What the kernel does not tell is None.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryDetail {
    /// The page cache, in bytes.
    pub cache: Option<u64>,
    /// The part of the page cache that is mapped into processes.
    pub mapped_file: Option<u64>,
    /// The part of the page cache that was used lately.
    pub active_file: Option<u64>,
    /// The part of the page cache that was not used lately.
    pub inactive_file: Option<u64>,
    /// Anonymous memory used lately.
    pub active_anon: Option<u64>,
    /// Anonymous memory not used lately.
    pub inactive_anon: Option<u64>,
    /// Memory that the kernel uses for the group (v2: Linux 5.18).
    pub kernel: Option<u64>,
    /// The largest use since creation (v2: Linux 5.19).
    pub peak: Option<u64>,
    /// How often the use was about to exceed the limit.
    pub limit_hits: Option<u64>,
    /// How many processes were killed for lack of memory, groups below included.
    pub oom_kills: Option<u64>,
    /// The limit of swap as its file has it: on v1 of memory and swap together.
    pub swap_limit: Option<Ceiling>,
    /// Memory that is not taken back: v1's soft limit, v2's minimum.
    pub reservation: Option<Ceiling>,
}

/// Huge pages of one size in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugepageStats {
    /// Page size as the kernel writes it: `2MB`.
    pub size: String,
    /// The number of bytes in use.
    pub usage: u64,
    /// The largest use since creation; v2 does not tell it.
    pub peak: Option<u64>,
}

/// Block I/O of a group on one device since creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceIo {
    /// Major number of the device.
    pub major: u32,
    /// The minor number of the device.
    pub minor: u32,
    /// Bytes and operations of block devices.
    pub io: IoStats,
}

/// A reading of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// The memory of the group by kind.
    pub memory: MemoryDetail,
    /// Huge pages, by size; empty without the controller.
    pub hugepages: Vec<HugepageStats>,
    /// Block I/O by device; empty without the controller.
    pub devices: Vec<DeviceIo>,
}

/// The names that v1 and v2 have for the same figures of `memory.stat`.
const V1_NAMES: [&str; 6] = [
    "total_cache",
    "total_mapped_file",
    "total_active_file",
    "total_inactive_file",
    "total_active_anon",
    "total_inactive_anon",
];
const V2_NAMES: [&str; 6] = [
    "file",
    "file_mapped",
    "active_file",
    "inactive_file",
    "active_anon",
    "inactive_anon",
];

impl Cgroup {
    /// Reads the group's use in more detail than [`Cgroup::stats`].
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed; [`CgroupError::Kernel`] when a file cannot be read.
    pub fn detail(&self) -> Result<Detail, CgroupError> {
        Ok(Detail {
            memory: match self.find(Controller::Memory) {
                Some(member) => self.memory_detail(member)?,
                None => MemoryDetail::default(),
            },
            hugepages: match self.find(Controller::Hugetlb) {
                Some(member) => self.hugepage_stats(member)?,
                None => Vec::new(),
            },
            devices: match self.find(Controller::Io) {
                Some(member) => self.device_io(member)?,
                None => Vec::new(),
            },
        })
    }

    fn memory_detail(&self, member: &Member) -> Result<MemoryDetail, CgroupError> {
        let v2 = member.is_unified();
        let stat = self.text(member, "memory.stat")?.unwrap_or_default();
        let number = |name| -> Result<Option<u64>, CgroupError> {
            Ok(self
                .text(member, name)?
                .and_then(|text| file::number(&text)))
        };
        let bound = |name| -> Result<Option<Ceiling>, CgroupError> {
            Ok(self.text(member, name)?.map(|text| ceiling(&text)))
        };
        let names = if v2 { V2_NAMES } else { V1_NAMES };
        let [
            cache,
            mapped_file,
            active_file,
            inactive_file,
            active_anon,
            inactive_anon,
        ] = names.map(|name| file::field(&stat, name));
        let events = if v2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let events = self.text(member, events)?.unwrap_or_default();
        Ok(MemoryDetail {
            cache,
            mapped_file,
            active_file,
            inactive_file,
            active_anon,
            inactive_anon,
            kernel: if v2 {
                file::field(&stat, "kernel")
            } else {
                number("memory.kmem.usage_in_bytes")?
            },
            peak: number(if v2 {
                "memory.peak"
            } else {
                "memory.max_usage_in_bytes"
            })?,
            limit_hits: if v2 {
                file::field(&events, "max")
            } else {
                number("memory.failcnt")?
            },
            oom_kills: file::field(&events, "oom_kill"),
            swap_limit: bound(if v2 {
                "memory.swap.max"
            } else {
                "memory.memsw.limit_in_bytes"
            })?,
            reservation: bound(if v2 {
                "memory.min"
            } else {
                "memory.soft_limit_in_bytes"
            })?,
        })
    }

    fn hugepage_stats(&self, member: &Member) -> Result<Vec<HugepageStats>, CgroupError> {
        let last = if member.is_unified() {
            ".current"
        } else {
            ".usage_in_bytes"
        };
        let names = match file::files(&member.dir) {
            Ok(names) => names,
            Err(errno) => return Err(self.failed("list", member, "hugetlb.*", errno)),
        };
        let mut found = Vec::new();
        for name in names {
            let size = name
                .strip_prefix("hugetlb.")
                .and_then(|rest| rest.strip_suffix(last))
                .filter(|size| !size.contains('.'));
            let Some(size) = size else { continue };
            let read = |name: &str| self.text(member, name);
            let usage = read(&name)?.and_then(|text| file::number(&text));
            let peak = read(&format!("hugetlb.{size}.max_usage_in_bytes"))?;
            found.extend(usage.map(|usage| HugepageStats {
                size: size.to_owned(),
                usage,
                peak: peak.and_then(|text| file::number(&text)),
            }));
        }
        found.sort_by(|a, b| a.size.cmp(&b.size));
        Ok(found)
    }

    fn device_io(&self, member: &Member) -> Result<Vec<DeviceIo>, CgroupError> {
        let read = |name| match file::read(&member.dir, name) {
            Err(Errno::ENOENT) => Ok(String::new()),
            other => other.map_err(|errno| self.failed("read", member, name, errno)),
        };
        if member.is_unified() {
            return Ok(parse_io_devices(&read("io.stat")?));
        }
        Ok(parse_blkio_devices(
            &read("blkio.throttle.io_service_bytes_recursive")?,
            &read("blkio.throttle.io_serviced_recursive")?,
        ))
    }
}

/// `8:16` as major and minor.
fn numbers(word: &str) -> Option<(u32, u32)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn listed(devices: BTreeMap<(u32, u32), IoStats>) -> Vec<DeviceIo> {
    let one = |((major, minor), io)| DeviceIo { major, minor, io };
    devices.into_iter().map(one).collect()
}

/// Parses v2's `io.stat` device by device.
pub(super) fn parse_io_devices(text: &str) -> Vec<DeviceIo> {
    let lines = text.lines().filter_map(|line| {
        let (device, rest) = line.split_once(' ')?;
        Some((numbers(device)?, super::stats::parse_io_stat(rest)))
    });
    listed(lines.collect())
}

/// Joins v1's two files, bytes and requests, device by device.
pub(super) fn parse_blkio_devices(bytes: &str, serviced: &str) -> Vec<DeviceIo> {
    let mut devices: BTreeMap<(u32, u32), IoStats> = BTreeMap::new();
    for (text, requests) in [(bytes, false), (serviced, true)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [device, operation, value] = words[..] else {
                continue;
            };
            let (Some(device), Some(value)) = (numbers(device), file::number(value)) else {
                continue;
            };
            let io = devices.entry(device).or_default();
            match (operation, requests) {
                ("Read", false) => io.read_bytes = value,
                ("Write", false) => io.write_bytes = value,
                ("Read", true) => io.reads = value,
                ("Write", true) => io.writes = value,
                _ => {}
            }
        }
    }
    listed(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [DeviceIo; 2] = [
        DeviceIo {
            major: 8,
            minor: 0,
            io: IoStats {
                read_bytes: 1,
                write_bytes: 2,
                reads: 3,
                writes: 4,
            },
        },
        DeviceIo {
            major: 254,
            minor: 16,
            io: IoStats {
                read_bytes: 5,
                write_bytes: 0,
                reads: 1,
                writes: 0,
            },
        },
    ];

    #[test]
    fn devices_are_told_apart_on_v2() {
        let text = "254:16 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2 rios=3 wios=4\n";
        assert_eq!(parse_io_devices(text), WANTED);
    }

    #[test]
    fn devices_are_told_apart_on_v1() {
        let bytes = "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Total 3\n254:16 Read 5\nTotal 8\n";
        let serviced = "8:0 Read 3\n8:0 Write 4\n254:16 Read 1\nTotal 8\n";
        assert_eq!(parse_blkio_devices(bytes, serviced), WANTED);
    }
}
