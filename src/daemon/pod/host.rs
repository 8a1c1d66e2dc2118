//! Facts of this machine that shape Specs and plans, read once at the daemon's start.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};
use nix::sys::utsname::uname;

use crate::plan::{CgroupHierarchy, CgroupMounts};
use crate::spec::{CgroupMode, DeviceKind, HostDevice, HostFacts};
use holdfast_kernel::cgroup::Mode;
use holdfast_kernel::sys::proc;

/// Most device nodes that a privileged container gets.
const DEVICE_LIMIT: usize = 4096;

/// Reads the facts.
///
/// # Errors
/// procfs is not readable.
pub(super) fn facts(mode: Mode) -> io::Result<HostFacts> {
    let last_cap = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    let kernel = proc::kernel_version();
    Ok(HostFacts {
        cgroup_mode: match mode {
            Mode::V2 => CgroupMode::V2,
            Mode::Hybrid | Mode::V1 => CgroupMode::V1,
        },
        cgroup_delegation: delegates(&cgroup_mounts()?),
        last_cap: last_cap
            .trim()
            .parse()
            .map_err(|_| io::ErrorKind::InvalidData)?,
        kernel,
        recursive_read_only: kernel >= (5, 12),
        // The shims' program tries it out.
        user_namespace_problem: None,
        time_namespaces: Path::new("/proc/self/ns/time").exists(),
        apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|text| text.trim() == "Y"),
        // Known when it has been loaded.
        apparmor_default: None,
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        devices: devices(Path::new("/dev")),
    })
}

/// Host name of the node.
pub(super) fn node_hostname() -> String {
    uname()
        .ok()
        .and_then(|names| names.nodename().to_str().map(str::to_owned))
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Directories of /dev that containers have of their own.
const OWN_DIRECTORIES: [&str; 4] = ["pts", "shm", "mqueue", "fd"];

/// A device node, or those below a directory, as a container gets them: without terminals and the like.
/// Unreadable ones are left out: devices come and go.
pub(super) fn devices(root: &Path) -> Vec<HostDevice> {
    let mut found: Vec<_> = device(root).into_iter().collect();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let own = OWN_DIRECTORIES.iter().any(|name| path == root.join(name));
            if kind.is_dir() && !own {
                pending.push(path);
            } else if let Some(device) = device(&path)
                && found.len() < DEVICE_LIMIT
            {
                found.push(device);
            }
        }
    }
    found
}

/// The device behind a path; `None` for anything else. Links are not followed.
pub(super) fn device(path: &Path) -> Option<HostDevice> {
    let data = fs::symlink_metadata(path).ok()?;
    let kind = data.file_type();
    let kind = if kind.is_char_device() {
        DeviceKind::Character
    } else if kind.is_block_device() {
        DeviceKind::Block
    } else {
        return None;
    };
    // Linux keeps device numbers in 32 bits: 12 of the major and 20 of the minor.
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Some(HostDevice {
        path: path.to_owned(),
        kind,
        major: number(major(data.rdev())),
        minor: number(minor(data.rdev())),
        mode: data.mode() & 0o7777,
        uid: Some(data.uid()),
        gid: Some(data.gid()),
    })
}

/// How cgroups are mounted in containers of this machine.
///
/// # Errors
/// procfs is not readable.
pub(super) fn cgroup_mounts() -> io::Result<CgroupMounts> {
    Ok(parse_cgroup_mounts(&fs::read_to_string(
        "/proc/self/mountinfo",
    )?))
}

/// Whether the kernel keeps a container inside its part of the tree when it may write there, cgroups(7): the
/// namespace is a boundary of delegation then, and the limits of its root cannot be written from inside.
fn delegates(mounts: &CgroupMounts) -> bool {
    match mounts {
        CgroupMounts::V1(_) => false,
        CgroupMounts::V2 { options } => options.iter().any(|option| option == "nsdelegate"),
    }
}

/// Reads /proc/PID/mountinfo, proc_pid_mountinfo(5). The first v1 hierarchy makes the machine a v1 one.
fn parse_cgroup_mounts(mountinfo: &str) -> CgroupMounts {
    let mut hierarchies: Vec<CgroupHierarchy> = Vec::new();
    let mut unified = Vec::new();
    for line in mountinfo.lines() {
        let Some((place, what)) = line.split_once(" - ") else {
            continue;
        };
        let mut what = what.split(' ');
        let (fs_type, options) = (what.next(), what.nth(1).unwrap_or_default());
        let Some(target) = place.split(' ').nth(4) else {
            continue;
        };
        match fs_type {
            Some("cgroup") => {
                let directory = target.rsplit('/').next().unwrap_or_default().to_owned();
                let options = hierarchy_options(options);
                if !hierarchies.iter().any(|known| known.options == options) {
                    hierarchies.push(CgroupHierarchy { directory, options });
                }
            }
            Some("cgroup2") => unified = options.split(',').map(str::to_owned).collect(),
            _ => {}
        }
    }
    if hierarchies.is_empty() {
        unified.retain(|option| option != "rw" && option != "ro");
        CgroupMounts::V2 { options: unified }
    } else {
        CgroupMounts::V1(hierarchies)
    }
}

/// Picks those of a mount's options that select the hierarchy.
fn hierarchy_options(options: &str) -> Vec<String> {
    const NO_SELECTION: [&str; 6] = [
        "rw",
        "ro",
        "xattr",
        "clone_children",
        "noprefix",
        "release_agent",
    ];
    let mut chosen: Vec<String> = options
        .split(',')
        .filter(|option| !NO_SELECTION.contains(&option.split('=').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect();
    if chosen.iter().any(|option| option.starts_with("name=")) {
        chosen.insert(0, "none".to_owned());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hierarchies_are_told_apart() {
        let text = "\
30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:29 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
";
        let CgroupMounts::V1(found) = parse_cgroup_mounts(text) else {
            panic!("v1 expected")
        };
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].directory, "systemd");
        assert_eq!(found[0].options, ["none", "name=systemd"]);
        assert_eq!(found[1].options, ["cpu", "cpuacct"]);
    }

    #[test]
    fn the_options_of_the_one_tree_are_kept() {
        let text =
            "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let CgroupMounts::V2 { options } = parse_cgroup_mounts(text) else {
            panic!("v2 expected")
        };
        assert_eq!(options, ["nsdelegate", "memory_recursiveprot"]);
    }

    /// The comment of `CGROUP_MOUNT_MODE_READ_WRITE` (cri-api v0.38.0-beta.0) wants version 2 with nsdelegate.
    #[test]
    fn only_the_one_tree_with_nsdelegate_delegates() {
        let v2 = |options: &str| {
            format!("30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 {options}\n")
        };
        let hybrid = "31 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let cases = [
            (v2("rw,nsdelegate,memory_recursiveprot"), true),
            (v2("rw,nsdelegate"), true),
            (v2("rw"), false),
            (v2("rw,favordynmods,nonsdelegate"), false),
            (format!("{hybrid}{}", v2("rw,nsdelegate")), false),
            (hybrid.to_owned(), false),
            (String::new(), false),
        ];
        for (text, wanted) in cases {
            assert_eq!(delegates(&parse_cgroup_mounts(&text)), wanted, "{text}");
        }
    }
}
