//! Reads the resource use of a group from the kernel's files.
//!
//! The files are opened once and read again with one `pread` each. A file that is missing is not tried
//! again: controllers of a group do not come and go while it is in use.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::readback::ceiling;
use super::stat_files::{Cpu, Io, Memory, MemoryFiles, Open};
use super::{Ceiling, Cgroup, CgroupError, Controller, Pressure, file};

/// Room for the largest file read here; `memory.stat` has about 2 KiB and grows with kernel versions.
const BUFFER: usize = 16 << 10;

/// CPU use of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// CPU time since creation, in nanoseconds.
    pub usage_ns: u64,
    /// The part of that time in user mode.
    pub user_ns: u64,
    /// The part of that time in the kernel.
    pub system_ns: u64,
    /// Bandwidth periods that have passed.
    pub periods: u64,
    /// The number of these periods in which the group was throttled.
    pub throttled_periods: u64,
    /// Time throttled, in nanoseconds.
    pub throttled_ns: u64,
}

/// Memory use of a group in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Everything charged, page cache included.
    pub usage: u64,
    /// Usage without inactive file pages: what the kubelet evicts by.
    pub working_set: u64,
    /// Anonymous memory, in bytes.
    pub rss: u64,
    /// The limit in force on this group itself.
    pub limit: Option<Ceiling>,
    /// Page faults since creation.
    pub page_faults: u64,
    /// The number of these faults that read from the disk.
    pub major_page_faults: u64,
    /// Swap used; None when the kernel does not account swap.
    pub swap_usage: Option<u64>,
    /// The limit of swap alone; None when the kernel does not account swap.
    pub swap_limit: Option<Ceiling>,
}

/// Tasks of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Tasks now, threads included.
    pub current: u64,
    /// The largest number of tasks that is allowed.
    pub limit: Option<Ceiling>,
}

/// Block I/O of a group since creation, all devices together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoStats {
    /// The number of bytes read.
    pub read_bytes: u64,
    /// The number of bytes written.
    pub write_bytes: u64,
    /// The number of read requests.
    pub reads: u64,
    /// The number of write requests.
    pub writes: u64,
}

/// A reading of a group's statistics. Values that the kernel does not provide are None.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// The use of CPU time.
    pub cpu: Option<CpuStats>,
    /// The use of memory.
    pub memory: Option<MemoryStats>,
    /// The number of tasks and its limit.
    pub pids: Option<PidsStats>,
    /// The use of block devices.
    pub io: Option<IoStats>,
    /// The time for which tasks waited for a CPU.
    pub cpu_pressure: Option<Pressure>,
    /// The time for which tasks waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// The time for which tasks waited for block devices.
    pub io_pressure: Option<Pressure>,
}

impl Cgroup {
    /// Reads what the group uses now. The first call opens the files and keeps them in this value.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed; [`CgroupError::Kernel`] when a file cannot be read.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let files = self.files.open.get_or_init(|| open(self));
        read_all(files).map_err(|errno| match errno {
            Errno::ENODEV => CgroupError::Gone {
                path: self.path.to_string(),
            },
            _ => {
                super::hierarchy::kernel("read the statistics of cgroup", self.path.as_str(), errno)
            }
        })
    }
}

fn read_all(files: &Open) -> Result<Stats, Errno> {
    let mut buffer = [0_u8; BUFFER];
    let buf = &mut buffer[..];
    Ok(Stats {
        cpu: cpu(&files.cpu, buf)?,
        memory: memory(&files.memory, buf)?,
        pids: match value(files.pids_current.as_ref(), buf)? {
            Some(current) => Some(PidsStats {
                current,
                limit: bound(files.pids_max.as_ref(), buf)?,
            }),
            None => None,
        },
        io: io(&files.io, buf)?,
        cpu_pressure: pressure(files.cpu_pressure.as_ref(), buf)?,
        memory_pressure: pressure(files.memory_pressure.as_ref(), buf)?,
        io_pressure: pressure(files.io_pressure.as_ref(), buf)?,
    })
}

fn open(group: &Cgroup) -> Open {
    let unified = group.members.iter().find(|member| member.is_unified());
    let in_unified = |name| unified.and_then(|member| file::open(&member.dir, name).ok());
    let open_controller_file = |controller, name: &str| {
        let member = group.find(controller)?;
        file::open(&member.dir, name).ok()
    };
    Open {
        cpu: open_cpu(group),
        memory: open_memory(group),
        pids_current: open_controller_file(Controller::Pids, "pids.current"),
        pids_max: open_controller_file(Controller::Pids, "pids.max"),
        io: open_io(group),
        cpu_pressure: in_unified("cpu.pressure"),
        memory_pressure: in_unified("memory.pressure"),
        io_pressure: in_unified("io.pressure"),
    }
}

/// With a v2 tree `cpu.stat` counts time whether or not the controller is on; the v1 controllers come first
/// where they exist, because they also have the throttling.
fn open_cpu(group: &Cgroup) -> Cpu {
    let v1 = |controller, name: &str| {
        let member = group.find(controller).filter(|m| !m.is_unified())?;
        file::open(&member.dir, name).ok()
    };
    if let Some(usage) = v1(Controller::Cpuacct, "cpuacct.usage") {
        return Cpu::V1 {
            usage,
            user: v1(Controller::Cpuacct, "cpuacct.usage_user"),
            throttling: v1(Controller::Cpu, "cpu.stat"),
        };
    }
    group
        .members
        .iter()
        .find(|member| member.is_unified())
        .and_then(|member| file::open(&member.dir, "cpu.stat").ok())
        .map_or(Cpu::Missing, |stat| Cpu::V2 { stat })
}

fn open_memory(group: &Cgroup) -> Memory {
    let Some(member) = group.find(Controller::Memory) else {
        return Memory::Missing;
    };
    let get = |name| file::open(&member.dir, name).ok();
    let names = if member.is_unified() {
        [
            "memory.current",
            "memory.max",
            "memory.swap.current",
            "memory.swap.max",
        ]
    } else {
        [
            "memory.usage_in_bytes",
            "memory.limit_in_bytes",
            "memory.memsw.usage_in_bytes",
            "memory.memsw.limit_in_bytes",
        ]
    };
    match (get(names[0]), get("memory.stat")) {
        (Some(usage), Some(stat)) => {
            let files = MemoryFiles {
                usage,
                stat,
                limit: get(names[1]),
                swap_usage: get(names[2]),
                swap_limit: get(names[3]),
            };
            if member.is_unified() {
                Memory::V2(files)
            } else {
                Memory::V1(files)
            }
        }
        _ => Memory::Missing,
    }
}

fn open_io(group: &Cgroup) -> Io {
    let Some(member) = group.find(Controller::Io) else {
        return Io::Missing;
    };
    let get = |name| file::open(&member.dir, name).ok();
    if member.is_unified() {
        return get("io.stat").map_or(Io::Missing, |stat| Io::V2 { stat });
    }
    let bytes = get("blkio.throttle.io_service_bytes_recursive");
    let serviced = get("blkio.throttle.io_serviced_recursive");
    match (bytes, serviced) {
        (Some(bytes), Some(serviced)) => Io::V1 { bytes, serviced },
        _ => Io::Missing,
    }
}

fn value(file: Option<&OwnedFd>, buf: &mut [u8]) -> Result<Option<u64>, Errno> {
    let Some(file) = file else { return Ok(None) };
    Ok(file::number(file::read_into(file, buf)?))
}

fn bound(file: Option<&OwnedFd>, buf: &mut [u8]) -> Result<Option<Ceiling>, Errno> {
    let Some(file) = file else { return Ok(None) };
    Ok(Some(ceiling(file::read_into(file, buf)?)))
}

fn pressure(file: Option<&OwnedFd>, buf: &mut [u8]) -> Result<Option<Pressure>, Errno> {
    let Some(file) = file else { return Ok(None) };
    match file::read_into(file, buf) {
        Ok(text) => Ok(Pressure::parse(text)),
        // With psi=0 on the kernel's command line the files are there and refuse to be read.
        Err(Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn cpu(files: &Cpu, buf: &mut [u8]) -> Result<Option<CpuStats>, Errno> {
    match files {
        Cpu::Missing => Ok(None),
        Cpu::V2 { stat } => Ok(Some(parse_cpu_stat(file::read_into(stat, buf)?))),
        Cpu::V1 {
            usage,
            user,
            throttling,
        } => {
            let usage_ns = value(Some(usage), buf)?.unwrap_or(0);
            let user_ns = value(user.as_ref(), buf)?.unwrap_or(0).min(usage_ns);
            let mut stats = CpuStats {
                usage_ns,
                user_ns,
                system_ns: usage_ns - user_ns,
                ..CpuStats::default()
            };
            if let Some(throttling) = throttling {
                let text = file::read_into(throttling, buf)?;
                stats.periods = file::field(text, "nr_periods").unwrap_or(0);
                stats.throttled_periods = file::field(text, "nr_throttled").unwrap_or(0);
                stats.throttled_ns = file::field(text, "throttled_time").unwrap_or(0);
            }
            Ok(Some(stats))
        }
    }
}

/// Parses v2's `cpu.stat`, which counts microseconds.
pub(super) fn parse_cpu_stat(text: &str) -> CpuStats {
    let mut stats = CpuStats::default();
    for (key, value) in pairs(text) {
        match key {
            "usage_usec" => stats.usage_ns = value.saturating_mul(1000),
            "user_usec" => stats.user_ns = value.saturating_mul(1000),
            "system_usec" => stats.system_ns = value.saturating_mul(1000),
            "nr_periods" => stats.periods = value,
            "nr_throttled" => stats.throttled_periods = value,
            "throttled_usec" => stats.throttled_ns = value.saturating_mul(1000),
            _ => {}
        }
    }
    stats
}

fn memory(files: &Memory, buf: &mut [u8]) -> Result<Option<MemoryStats>, Errno> {
    let (files, v1, names) = match files {
        Memory::Missing => return Ok(None),
        Memory::V2(files) => (
            files,
            false,
            ["inactive_file", "anon", "pgfault", "pgmajfault"],
        ),
        Memory::V1(files) => (
            files,
            true,
            [
                "total_inactive_file",
                "total_rss",
                "total_pgfault",
                "total_pgmajfault",
            ],
        ),
    };
    let mut stats = MemoryStats {
        usage: value(Some(&files.usage), buf)?.unwrap_or(0),
        limit: bound(files.limit.as_ref(), buf)?,
        swap_usage: value(files.swap_usage.as_ref(), buf)?,
        swap_limit: bound(files.swap_limit.as_ref(), buf)?,
        ..MemoryStats::default()
    };
    if v1 {
        // v1 counts memory and swap together.
        stats.swap_usage = stats
            .swap_usage
            .map(|total| total.saturating_sub(stats.usage));
        stats.swap_limit = match (stats.limit, stats.swap_limit) {
            (Some(Ceiling::At(memory)), Some(Ceiling::At(total))) => {
                Some(Ceiling::At(total.saturating_sub(memory)))
            }
            (_, total) => total.map(|_| Ceiling::Unlimited),
        };
    }
    let mut inactive_file = 0;
    for (key, value) in pairs(file::read_into(&files.stat, buf)?) {
        match names.iter().position(|name| *name == key) {
            Some(0) => inactive_file = value,
            Some(1) => stats.rss = value,
            Some(2) => stats.page_faults = value,
            Some(3) => stats.major_page_faults = value,
            _ => {}
        }
    }
    stats.working_set = stats.usage.saturating_sub(inactive_file);
    Ok(Some(stats))
}

fn io(files: &Io, buf: &mut [u8]) -> Result<Option<IoStats>, Errno> {
    match files {
        Io::Missing => Ok(None),
        Io::V2 { stat } => Ok(Some(parse_io_stat(file::read_into(stat, buf)?))),
        Io::V1 { bytes, serviced } => {
            let mut stats = IoStats::default();
            (stats.read_bytes, stats.write_bytes) = parse_blkio(file::read_into(bytes, buf)?);
            (stats.reads, stats.writes) = parse_blkio(file::read_into(serviced, buf)?);
            Ok(Some(stats))
        }
    }
}

/// Sums v2's `io.stat`, one device a line: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
pub(super) fn parse_io_stat(text: &str) -> IoStats {
    let mut stats = IoStats::default();
    let words = text.split_whitespace();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let slot = match key {
            "rbytes" => &mut stats.read_bytes,
            "wbytes" => &mut stats.write_bytes,
            "rios" => &mut stats.reads,
            "wios" => &mut stats.writes,
            _ => continue,
        };
        *slot = slot.saturating_add(value.parse().unwrap_or(0));
    }
    stats
}

/// Sums the reads and the writes of a v1 blkio file: `8:0 Read 1`, `8:0 Write 2`, …, `Total 3`.
pub(super) fn parse_blkio(text: &str) -> (u64, u64) {
    let (mut reads, mut writes) = (0_u64, 0_u64);
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let slot = match words.next() {
            Some("Read") => &mut reads,
            Some("Write") => &mut writes,
            _ => continue,
        };
        *slot = slot.saturating_add(words.next().and_then(file::number).unwrap_or(0));
    }
    (reads, writes)
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}
