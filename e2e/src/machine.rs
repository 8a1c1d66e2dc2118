//! Mount points of this machine, as /proc/PID/mountinfo lists them.

use std::fs;
use std::path::PathBuf;

/// One line of a mountinfo file: proc_pid_mountinfo(5).
#[derive(Debug, Clone)]
pub struct Mount {
    /// Root of the mount within its file system.
    pub root: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Options of the mount, such as `ro`.
    pub options: Vec<String>,
    /// `shared:N`, `master:N` and the like.
    pub propagation: Vec<String>,
    /// Type of the file system.
    pub kind: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
    /// The whole line of mountinfo.
    pub line: String,
}

/// The mounts that a process sees; `self` is this one. A process that is gone has none.
pub fn mounts(pid: &str) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<_> = left.split(' ').collect();
    let right: Vec<_> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Mount {
        root: (*left.get(3)?).to_owned(),
        point: PathBuf::from(left.get(4)?.replace("\\040", " ")),
        options: list(left.get(5)?),
        propagation: left.get(6..)?.iter().map(|&text| text.to_owned()).collect(),
        kind: (*right.first()?).to_owned(),
        super_options: list(right.last()?),
        line: line.to_owned(),
    })
}

/// Mount points of the cgroup hierarchies, with the controllers of v1 ones; v2 has none.
pub fn cgroup_roots() -> Vec<(PathBuf, Vec<String>)> {
    let mounts = mounts("self").into_iter();
    let roots = mounts.filter_map(|mount| match mount.kind.as_str() {
        "cgroup2" => Some((mount.point, Vec::new())),
        "cgroup" => {
            let plain = |option: &String| !matches!(option.as_str(), "rw" | "ro" | "xattr");
            Some((
                mount.point,
                mount.super_options.into_iter().filter(plain).collect(),
            ))
        }
        _ => None,
    });
    roots.collect()
}

/// Which versions of cgroups are mounted, in words.
pub fn cgroup_version() -> &'static str {
    let roots = cgroup_roots();
    match roots.iter().any(|(_, controllers)| !controllers.is_empty()) {
        true => "cgroup v1",
        false => "cgroup v2",
    }
}
