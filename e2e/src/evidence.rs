//! What the kernel says about a process, past the daemon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::machine;

/// Inode of one of a process's namespaces: `net`, `ipc`, `uts`, `pid`, `mnt`, `user`, `cgroup`, `time`.
#[track_caller]
pub fn namespace(pid: i32, kind: &str) -> u64 {
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::metadata(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .ino()
}

/// A line of /proc/PID/status, without its name.
#[track_caller]
pub fn status(pid: i32, field: &str) -> String {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {field} in {path}"))
        .trim()
        .to_owned()
}

/// A set of capabilities of /proc/PID/status, such as `CapEff`.
#[track_caller]
pub fn capabilities(pid: i32, set: &str) -> u64 {
    let text = status(pid, set);
    u64::from_str_radix(&text, 16).unwrap_or_else(|error| panic!("{set} {text}: {error}"))
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // PID (COMMAND) STATE ...; the command may have any character.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Process ids whose command line has a text.
pub fn with_command(text: &str) -> Vec<i32> {
    let found = pids()
        .into_iter()
        .filter(|pid| command_line(*pid).contains(text) && is_alive(*pid));
    found.collect()
}

/// The ids of all processes on this machine.
pub fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// The command line of a process, with spaces between the arguments; empty when it is gone.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// The cgroup directory of a process in the hierarchy that has a controller; on a pure v2 machine there is
/// but one.
#[track_caller]
pub fn cgroup(pid: i32, controller: &str) -> Cgroup {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let roots = machine::cgroup_roots();
    let find = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, below) = (parts.next()?, parts.next()?);
            let has = controllers.split(',').any(|name| name == wanted);
            has.then(|| below.trim_start_matches('/').to_owned())
        })
    };
    let v1 = roots
        .iter()
        .find(|(_, controllers)| controllers.iter().any(|name| name == controller));
    if let (Some((root, _)), Some(below)) = (v1, find(controller)) {
        return Cgroup {
            dir: root.join(below),
            v2: false,
        };
    }
    let v2 = roots.iter().find(|(_, controllers)| controllers.is_empty());
    let (Some((root, _)), Some(below)) = (v2, find("")) else {
        panic!("no hierarchy has the controller {controller}: {roots:?}");
    };
    Cgroup {
        dir: root.join(below),
        v2: true,
    }
}

/// A cgroup, read from its directory.
#[derive(Debug, Clone)]
pub struct Cgroup {
    /// Path of the cgroup's directory.
    pub dir: PathBuf,
    /// Whether it is of version 2.
    pub v2: bool,
}

impl Cgroup {
    /// A file of it, by its name in version 1 and in version 2.
    #[track_caller]
    pub fn read(&self, v1: &str, v2: &str) -> String {
        read(&self.dir.join(if self.v2 { v2 } else { v1 }))
    }

    /// The processes in it and in the groups below it: on v2 what is executed in a container has one there.
    #[track_caller]
    pub fn processes(&self) -> Vec<i32> {
        let text = read(&self.dir.join("cgroup.procs"));
        let mut found = numbers(&text);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            // A file has nothing below it, and a group may be gone by now.
            let below = fs::read_to_string(entry.path().join("cgroup.procs"));
            found.extend(numbers(&below.unwrap_or_default()));
        }
        found
    }
}

fn numbers(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A file, without the line break at its end.
#[track_caller]
pub fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    text.unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
        .trim_end()
        .to_owned()
}

/// The mounts that a process sees.
pub fn mounts(pid: i32) -> Vec<machine::Mount> {
    machine::mounts(&pid.to_string())
}
