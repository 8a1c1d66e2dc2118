//! Everything that metrics tell of a pod: more files than statistics need, read for nobody else.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{major, minor};

use super::samples::Owner;
use super::{Traffic, group_stats, layer, running, traffic};
use crate::pod::cgroups;
use crate::pod::clock::now;
use crate::pod::entry::PodSnapshot;
use crate::pod::error::PodError;
use crate::pod::node::Node;
use crate::pod::record::{ContainerRecord, PodRecord};
use crate::pod::state::{ContainerPhase, PodPhase};
use holdfast_disk::{FsSpace, TreeUsage};
use holdfast_kernel::cgroup::{CgroupPath, Detail, IoStats, Limits, Stats};
use holdfast_kernel::sys::pid::Pid;

#[derive(Debug, Clone)]
pub(crate) struct GroupMeasures {
    /// When: nanoseconds since the epoch.
    pub timestamp: i64,
    /// The group's path below the roots of the cgroup trees.
    pub path: String,
    /// The figures that statistics have as well.
    pub stats: Stats,
    pub detail: Detail,
    /// The limits in force, as the kernel has them.
    pub limits: Limits,
    /// Processes in the group and below.
    pub processes: Option<u64>,
    /// Files that the processes of a container have open.
    pub descriptors: Option<Descriptors>,
    /// How many files its first process may open, of a container.
    pub open_files_limit: Option<u64>,
    /// Block I/O by device, named.
    pub devices: Vec<BlockDevice>,
    /// Size of the writable layer, of a container.
    pub layer: Option<TreeUsage>,
}

/// Open files of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// All of them; a file that is open twice counts twice.
    pub open: u64,
    /// Open files that are sockets.
    pub sockets: u64,
}

/// Block I/O on one device.
#[derive(Debug, Clone)]
pub(crate) struct BlockDevice {
    /// Its path: `/dev/sda`; empty when the machine does not know it any more.
    pub name: String,
    pub major: u32,
    pub minor: u32,
    /// Bytes and operations of block devices.
    pub io: IoStats,
}

#[derive(Debug, Clone)]
pub(crate) struct PodMeasures {
    pub pod: Arc<PodRecord>,
    /// Measures of the pod's own cgroup.
    pub group: GroupMeasures,
    pub network: Option<Traffic>,
    /// Measures of the running containers of the pod.
    pub containers: Vec<(Arc<ContainerRecord>, GroupMeasures)>,
}

/// The file system of the containers' writable layers.
#[derive(Debug, Clone)]
pub(crate) struct StoreSpace {
    /// Its device: `/dev/sda1`; empty when it has none.
    pub device: String,
    pub space: FsSpace,
}

/// Reads pods that are ready, and the file system of their layers. Those that vanish meanwhile are left out.
/// Blocks.
pub(crate) fn measure(
    node: &Node,
    wanted: &[Arc<PodSnapshot>],
) -> Result<(Vec<PodMeasures>, Option<StoreSpace>), PodError> {
    let ready = wanted
        .iter()
        .filter(|pod| matches!(pod.pod.phase, PodPhase::Ready | PodPhase::Stopping));
    let pods = ready.filter_map(|pod| of_pod(node, pod).transpose());
    Ok((pods.collect::<Result<_, _>>()?, store(node)))
}

fn of_pod(node: &Node, snapshot: &PodSnapshot) -> Result<Option<PodMeasures>, PodError> {
    let pod = &snapshot.pod;
    let Some((_, group)) = of_group(node, Owner::Pod(pod.id), &cgroups::of_pod(pod)?)? else {
        return Ok(None);
    };
    let mut containers = Vec::new();
    for record in running(snapshot) {
        let path = cgroups::of_container(pod, record.id)?;
        if let Some(group) = of_group(node, Owner::Container(record.id), &path)? {
            containers.push((Arc::clone(record), of_container(node, record, group)));
        }
    }
    Ok(Some(PodMeasures {
        pod: Arc::clone(pod),
        group,
        network: traffic(pod),
        containers,
    }))
}

/// Adds what only containers have.
fn of_container(
    node: &Node,
    record: &ContainerRecord,
    (pids, group): (Vec<Pid>, GroupMeasures),
) -> GroupMeasures {
    let first = match &record.phase {
        ContainerPhase::Running(run, _) => Some(run.process.pid),
        _ => None,
    };
    GroupMeasures {
        layer: layer(node, record.id),
        descriptors: Some(descriptors(&pids)),
        open_files_limit: first.and_then(open_files_limit),
        ..group
    }
}

/// Counts the open files of processes. Those that end meanwhile have none.
fn descriptors(pids: &[Pid]) -> Descriptors {
    let mut found = Descriptors::default();
    for pid in pids {
        let Ok(entries) = fs::read_dir(pid.proc_file("fd")) else {
            continue;
        };
        for entry in entries.flatten() {
            found.open += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            // A file of such a name begins with a slash: only the kernel's own words begin otherwise.
            if target.as_os_str().as_bytes().starts_with(b"socket:") {
                found.sockets += 1;
            }
        }
    }
    found
}

/// How many files a process may open.
fn open_files_limit(pid: Pid) -> Option<u64> {
    soft_open_files(&fs::read_to_string(pid.proc_file("limits")).ok()?)
}

/// The soft limit of open files in /proc/PID/limits, proc_pid_limits(5); nothing for `unlimited`, which the
/// protocol cannot say.
fn soft_open_files(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let rest = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Reads a group. The processes come along, for whoever looks at them.
fn of_group(
    node: &Node,
    owner: Owner,
    path: &CgroupPath,
) -> Result<Option<(Vec<Pid>, GroupMeasures)>, PodError> {
    let (Some(group), stats) = group_stats(node, owner, path)? else {
        return Ok(None);
    };
    // A group that is removed between the calls has nothing to tell.
    let (Ok(detail), Ok(limits)) = (group.detail(), group.limits()) else {
        return Ok(None);
    };
    let devices = detail.devices.iter().map(|device| BlockDevice {
        name: device_name(device.major, device.minor),
        major: device.major,
        minor: device.minor,
        io: device.io,
    });
    let pids = group.processes().ok();
    let measures = GroupMeasures {
        timestamp: now(),
        path: path.to_string(),
        stats,
        limits,
        processes: pids
            .as_ref()
            .and_then(|pids| u64::try_from(pids.len()).ok()),
        descriptors: None,
        open_files_limit: None,
        devices: devices.collect(),
        detail,
        layer: None,
    };
    Ok(Some((pids.unwrap_or_default(), measures)))
}

/// The path of a block device by its numbers: the name of the directory that sysfs links to.
fn device_name(major: u32, minor: u32) -> String {
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
    let name = link
        .ok()
        .and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
    // A slash in a device's name is an exclamation mark in sysfs.
    name.map(|name| format!("/dev/{}", name.replace('!', "/")))
        .unwrap_or_default()
}

fn store(node: &Node) -> Option<StoreSpace> {
    let space = node.store_space().ok()?;
    Some(StoreSpace {
        device: device_of(&node.settings.root_dir),
        space,
    })
}

fn device_of(path: &Path) -> String {
    let Ok(data) = fs::metadata(path) else {
        return String::new();
    };
    // Linux keeps device numbers in 32 bits: 12 of the major and 20 of the minor.
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    device_name(number(major(data.dev())), number(minor(data.dev())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is the kernel's (fs/proc/base.c, `proc_pid_limits`); that the soft limit comes first and
    /// which line counts is as in cAdvisor's `processLimitsFile`.
    #[test]
    fn the_soft_limit_of_open_files_is_found() {
        let head =
            "Limit                     Soft Limit           Hard Limit           Units     \n";
        let cases = [
            (
                "Max open files            1024                 524288               files     \n",
                Some(1024),
            ),
            (
                "Max processes             1                    2                    processes \nMax open files            7                    8                    files     \n",
                Some(7),
            ),
            (
                "Max open files            1048576              1048576              files",
                Some(1_048_576),
            ),
            (
                "Max open files            unlimited            unlimited            files     \n",
                None,
            ),
            (
                "Max file locks            5                    6                    locks     \n",
                None,
            ),
            ("Max open files", None),
        ];
        for (lines, wanted) in cases {
            assert_eq!(
                soft_open_files(&format!("{head}{lines}")),
                wanted,
                "{lines}"
            );
        }
    }

    #[test]
    fn sockets_are_told_from_other_files() {
        let own = Pid::own();
        let before = descriptors(&[own]);
        let pair = std::os::unix::net::UnixStream::pair().unwrap();
        let file = std::fs::File::open("/proc/self/limits").unwrap();
        let after = descriptors(&[own, Pid::from_raw(i32::MAX)]);
        // Other tests of this process open and close files meanwhile.
        assert!(
            after.open >= 3 && after.sockets >= 2,
            "{before:?} {after:?}"
        );
        assert!(after.open > after.sockets);
        drop((pair, file));
        assert_eq!(
            descriptors(&[Pid::from_raw(i32::MAX)]),
            Descriptors::default()
        );
    }
}
