//! Which files a container sees.

use super::super::procfs::{self, Mount, ProcError};
use super::fact::Fact;
use holdfast_kernel::sys::pid::Pid;

/// File systems that every container has and that tell nothing.
const USUAL: [&str; 4] = ["proc", "devpts", "mqueue", "cgroup"];

/// Facts on the root, the volumes, and what is hidden.
pub(super) fn facts(pid: Pid) -> Result<Vec<Fact>, ProcError> {
    let source = pid.proc_file("mountinfo");
    let mounts = procfs::mounts(&procfs::text(pid, "mountinfo")?);
    let fact = |statement: String| Fact::new("files", statement, source.clone());
    let mut facts = Vec::new();
    if let Some(root) = mounts.iter().rev().find(|mount| mount.target == "/") {
        facts.push(fact(self::root(root)));
    }
    let masked: Vec<_> = mounts
        .iter()
        .filter(|mount| is_mask(mount))
        .map(target)
        .collect();
    if !masked.is_empty() {
        facts.push(fact(format!("hidden from it: {}", masked.join(" "))));
    }
    let fixed: Vec<_> = mounts
        .iter()
        .filter(|mount| is_fixed(mount))
        .map(target)
        .collect();
    if !fixed.is_empty() {
        facts.push(fact(format!(
            "can be read and not written: {}",
            fixed.join(" ")
        )));
    }
    facts.extend(
        mounts
            .iter()
            .filter(|mount| is_volume(mount))
            .map(|mount| fact(volume(mount))),
    );
    Ok(facts)
}

fn target(mount: &Mount) -> &str {
    &mount.target
}

fn root(root: &Mount) -> String {
    let writable = if root.read_only() {
        "read-only"
    } else {
        "writable, gone with the container"
    };
    match root.fs_type.as_str() {
        "overlay" => {
            let layers = root.super_options.split(',').filter_map(|option| {
                let (key, value) = option.split_once('=')?;
                key.starts_with("lowerdir")
                    .then(|| value.split(':').filter(|part| !part.is_empty()).count())
            });
            let layers: usize = layers.sum();
            format!(
                "its root is an overlay of {layers} layer(s), {writable}; the node has no such mount"
            )
        }
        other => format!("its root is {other}, {writable}"),
    }
}

/// What is covered: a device file, or an empty read-only directory, over something of /proc or /sys.
fn is_mask(mount: &Mount) -> bool {
    let kernel = mount.target.starts_with("/proc/") || mount.target.starts_with("/sys/");
    let cover = mount.fs_type == "tmpfs" || mount.root == "/null";
    kernel && cover && !mount.target.starts_with("/sys/fs/cgroup")
}

/// A part of /proc or /sys that is there, but not to be changed.
fn is_fixed(mount: &Mount) -> bool {
    let kernel = mount.target.starts_with("/proc/") || mount.target.starts_with("/sys");
    // The controllers' trees are below one that is listed.
    let below = mount.target.starts_with("/sys/fs/cgroup/");
    kernel && !below && !is_mask(mount) && mount.read_only()
}

fn is_volume(mount: &Mount) -> bool {
    let system = ["/proc", "/sys"]
        .iter()
        .any(|root| mount.target.starts_with(root));
    let device = mount.target.starts_with("/dev/") && mount.target != "/dev/shm";
    mount.target != "/"
        && !system
        && !device
        && !USUAL.contains(&mount.fs_type.as_str())
        && mount.target != "/dev"
}

fn volume(mount: &Mount) -> String {
    let writable = if mount.read_only() {
        "read-only"
    } else {
        "writable"
    };
    // A bind mount shows which part of its file system it is.
    let part = if mount.root == "/" {
        String::new()
    } else {
        format!(", {} of it", mount.root)
    };
    format!(
        "{} is {} on {}{part}, {writable}",
        mount.target, mount.fs_type, mount.source
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_container() {
        let table = "1 0 0:50 / / rw - overlay overlay rw,lowerdir+=/a,lowerdir+=/b,upperdir=/u\n\
                     2 1 0:51 / /proc rw - proc proc rw\n\
                     3 2 0:52 /null /proc/kcore rw - tmpfs tmpfs rw\n\
                     4 2 0:51 /sys /proc/sys ro - proc proc rw\n\
                     5 1 8:1 /var/v /data ro,noexec - ext4 /dev/vda rw\n";
        let mounts = procfs::mounts(table);
        let volumes: Vec<_> = mounts
            .iter()
            .filter(|mount| is_volume(mount))
            .map(volume)
            .collect();
        assert_eq!(
            volumes,
            ["/data is ext4 on /dev/vda, /var/v of it, read-only"]
        );
        assert!(
            root(&mounts[0]).contains("2 layer(s), writable"),
            "{}",
            root(&mounts[0])
        );
        assert!(is_mask(&mounts[2]) && is_fixed(&mounts[3]) && !is_fixed(&mounts[1]));
    }
}
