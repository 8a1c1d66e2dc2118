//! Everything that metrics tell of a pod: more files than statistics need, read for nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{major, minor};

use super::samples::Owner;
use super::{Traffic, count, group_stats, layer, running, traffic};
use crate::cgroup::{CgroupPath, Detail, IoStats, Limits, Stats};
use crate::disk::{FsSpace, TreeUsage};
use crate::pod::container;
use crate::pod::error::PodError;
use crate::pod::index::PodSnapshot;
use crate::pod::node::{Node, now};
use crate::pod::record::{ContainerRecord, PodRecord};
use crate::pod::sandbox;
use crate::pod::state::PodPhase;

/// A cgroup's figures.
#[derive(Debug, Clone)]
pub struct GroupMeasures {
    /// When: nanoseconds since the epoch.
    pub timestamp: i64,
    /// The group's path below the roots of the cgroup trees.
    pub path: String,
    /// The figures that statistics have as well.
    pub stats: Stats,
    /// The others.
    pub detail: Detail,
    /// The limits in force, as the kernel has them.
    pub limits: Limits,
    /// Processes in the group and below.
    pub processes: Option<u64>,
    /// Block I/O by device, named.
    pub devices: Vec<BlockDevice>,
    /// Size of the writable layer, of a container.
    pub layer: Option<TreeUsage>,
}

/// Block I/O on one device.
#[derive(Debug, Clone)]
pub struct BlockDevice {
    /// Its path: `/dev/sda`; empty when the machine does not know it any more.
    pub name: String,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// What was read and written.
    pub io: IoStats,
}

/// A pod's figures.
#[derive(Debug, Clone)]
pub struct PodMeasures {
    /// The pod.
    pub pod: Arc<PodRecord>,
    /// Of its own cgroup.
    pub group: GroupMeasures,
    /// Of its interfaces.
    pub network: Option<Traffic>,
    /// Of its running containers.
    pub containers: Vec<(Arc<ContainerRecord>, GroupMeasures)>,
}

/// The file system of the containers' writable layers.
#[derive(Debug, Clone)]
pub struct StoreSpace {
    /// Its device: `/dev/sda1`; empty when it has none.
    pub device: String,
    /// Its room.
    pub space: FsSpace,
}

/// Reads pods that are ready, and the file system of their layers. Those that vanish meanwhile are left out.
/// Blocks.
pub fn measure(
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
    let Some(group) = of_group(node, Owner::Pod(pod.id), &sandbox::own_cgroup(pod)?)? else {
        return Ok(None);
    };
    let mut containers = Vec::new();
    for record in running(snapshot) {
        let path = container::cgroup_path(pod, record.id)?;
        if let Some(group) = of_group(node, Owner::Container(record.id), &path)? {
            let layer = layer(node, record.id);
            containers.push((Arc::clone(record), GroupMeasures { layer, ..group }));
        }
    }
    Ok(Some(PodMeasures {
        pod: Arc::clone(pod),
        group,
        network: traffic(pod),
        containers,
    }))
}

fn of_group(
    node: &Node,
    owner: Owner,
    path: &CgroupPath,
) -> Result<Option<GroupMeasures>, PodError> {
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
    Ok(Some(GroupMeasures {
        timestamp: now(),
        path: path.to_string(),
        stats,
        limits,
        processes: count(&group),
        devices: devices.collect(),
        detail,
        layer: None,
    }))
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
