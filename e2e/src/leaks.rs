//! What a test has left behind.
//!
//! Looked at is what bears the tag of the test's place or hangs on its bridge: other tests, and other programs,
//! may change the machine at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::evidence;
use crate::machine;
use crate::place::Place;
use crate::program;

/// The machine, as far as a place is concerned: kind of thing to the things.
#[derive(Debug, Default, Clone)]
pub struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    /// Looks at the machine.
    pub fn take(place: &Place) -> Self {
        Self(BTreeMap::from([
            ("process", processes(place)),
            ("mount", mounts(place)),
            ("netns", netns(place)),
            ("link", links(place)),
            ("nft", nft(place)),
            ("plugins'", plugins(place)),
            (
                "cgroup",
                cgroups(place)
                    .iter()
                    .map(|dir| dir.display().to_string())
                    .collect(),
            ),
            ("file", files(place)),
        ]))
    }

    /// What is there more or less than here, one line a thing.
    pub fn difference(&self, later: &Self) -> Vec<String> {
        let none = BTreeSet::new();
        let mut lines = Vec::new();
        for (kind, after) in &later.0 {
            let before = self.0.get(kind).unwrap_or(&none);
            lines.extend(
                after
                    .difference(before)
                    .map(|thing| format!("+ {kind} {thing}")),
            );
            lines.extend(
                before
                    .difference(after)
                    .map(|thing| format!("- {kind} {thing}")),
            );
        }
        lines
    }
}

/// Processes of a place, its daemon and the server of its shims left out: by their cgroup, their command line, or what
/// they have mounted.
pub fn processes(place: &Place) -> BTreeSet<String> {
    let found = process_ids(place).into_iter();
    found.filter(|pid| !is_server(*pid)).map(shown).collect()
}

/// All processes of a place whose daemon has ended.
pub fn survivors(place: &Place) -> BTreeSet<String> {
    process_ids(place).into_iter().map(shown).collect()
}

fn shown(pid: i32) -> String {
    format!("{pid} {}", evidence::command_line(pid))
}

/// Whether a process forks shims. It lives as long as its daemon.
fn is_server(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name == "holdfast-shims\n")
}

fn process_ids(place: &Place) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let ours = |pid: &i32| {
        let command = evidence::command_line(*pid);
        let started_by_us =
            command.contains("holdfastd --config") || command.contains("tail --pid");
        *pid > 1 && *pid != own && !started_by_us && evidence::is_alive(*pid) && is_of(*pid, place)
    };
    evidence::pids().into_iter().filter(ours).collect()
}

fn is_of(pid: i32, place: &Place) -> bool {
    // A tag that is the beginning of another one's must not match: hfe2e-7-1 and hfe2e-7-12.
    let tagged = |text: &str| {
        text.match_indices(&place.tag).any(|(at, tag)| {
            let next = text[at + tag.len()..].chars().next();
            !next.is_some_and(|c| c.is_ascii_digit())
        })
    };
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
        target.display().to_string()
    };
    tagged(&evidence::command_line(pid)) || tagged(&file("cgroup")) || {
        // A shim is known by what it has mounted, or by the log that it writes to: a run directory that is a file
        // system of its own has no name of ours. Mounts reach other programs' namespaces too, by propagation.
        // The server of the shims lives where its daemon does, which may be beside other places' mounts.
        let by_mounts = || !is_server(pid) && tagged(&file("mountinfo"));
        file("comm").starts_with("holdfast")
            && (is_server(pid) || !shares_our_mounts(pid))
            && (tagged(&link("fd/2")) || by_mounts())
    }
}

fn shares_our_mounts(pid: i32) -> bool {
    let inode = |pid: &str| {
        fs::metadata(format!("/proc/{pid}/ns/mnt"))
            .map(|of| of.ino())
            .ok()
    };
    inode("self") == inode(&pid.to_string())
}

fn mounts(place: &Place) -> BTreeSet<String> {
    let dir = format!("/{}/", place.tag);
    let mounts = machine::mounts("self").into_iter();
    mounts
        .filter(|mount| mount.line.contains(&dir))
        .map(|mount| mount.point.display().to_string())
        .collect()
}

fn netns(place: &Place) -> BTreeSet<String> {
    names(&place.netns())
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Ports of the bridge, and host ends of pods that hang on no bridge at all.
fn links(place: &Place) -> BTreeSet<String> {
    let bridge = format!("master {} ", place.bridge);
    let text = program::run("ip", ["-o", "link"]).stdout;
    let ours = text.lines().filter(|line| line.contains(&bridge));
    ours.filter_map(|line| Some(line.split(": ").nth(1)?.to_owned()))
        .collect()
}

fn nft(place: &Place) -> BTreeSet<String> {
    let table = format!("holdfast-{}", place.bridge);
    let listed = program::run("nft", ["list", "table", "inet", &table]).stdout;
    listed
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// What network plugins keep of pods: leases, and in the place's own namespace links and rules. Chains that
/// are there for all pods stay for good.
fn plugins(place: &Place) -> BTreeSet<String> {
    let mut files = Vec::new();
    walk(&place.dir.join("cni/leases"), &mut files);
    let mut found: BTreeSet<String> = files
        .into_iter()
        .filter(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.parse::<std::net::IpAddr>().is_ok()
        })
        .collect();
    if let Some(home) = place.home() {
        let net = format!("--net={}", home.display());
        let rules = program::run("nsenter", [net.as_str(), "nft", "list", "ruleset"]).stdout;
        // A pod's chains are named by a hash of its id, those of all pods in capitals.
        let of_pods = |line: &&str| {
            let chain = line.trim().strip_prefix("chain CNI-").unwrap_or_default();
            chain.starts_with("DN-") || chain.starts_with(|c: char| !c.is_ascii_uppercase())
        };
        found.extend(
            rules
                .lines()
                .filter(of_pods)
                .map(|line| line.trim().to_owned()),
        );
        let links = program::run("nsenter", [net.as_str(), "ip", "-o", "link"]).stdout;
        let ends = links.lines().filter_map(|line| line.split(": ").nth(1));
        let ends = ends.filter(|name| name.starts_with("veth") || name.starts_with("bwp"));
        found.extend(ends.map(str::to_owned));
    }
    found
}

/// Cgroups below the place's own, in every hierarchy; deepest last.
fn cgroups(place: &Place) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (root, _) in machine::cgroup_roots() {
        below(
            &root.join(place.cgroup().trim_start_matches('/')),
            &mut found,
        );
    }
    found
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
            below(&entry.path(), found);
        }
    }
}

fn files(place: &Place) -> BTreeSet<String> {
    let mut found = Vec::new();
    for dir in [place.root(), place.run()] {
        walk(&dir, &mut found);
    }
    // The store keeps its list when it is empty as well, and what the kubelet said of all pods outlives each.
    let kept = ["images/index.json", "images/verified.json", "cni/ranges"]
        .map(|name| place.root().join(name));
    found.retain(|path| !kept.iter().any(|kept| kept.as_os_str() == path.as_str()));
    // What tests say to a daemon and hear of it.
    let faults = format!("{}/fault/", place.run().display());
    found.retain(|path| !path.starts_with(&faults));
    let leases = format!("{}/network/", place.run().display());
    let told = |path: String| match path.starts_with(&leases) {
        // A lease says whose it is.
        true => format!(
            "{path} of {}",
            fs::read_to_string(&path).unwrap_or_default()
        ),
        false => path,
    };
    found.into_iter().map(told).collect()
}

fn walk(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        found.push(format!(
            "{}{}",
            path.display(),
            if directory { "/" } else { "" }
        ));
        if directory {
            walk(&path, found);
        }
    }
}

/// Puts the machine back by force, whatever a test has left: what a place leaves on purpose, its bridge and
/// its table, as well.
pub fn clean(place: &Place) {
    kill(place);
    for pid in evidence::with_command(&format!("--config {}", place.config().display())) {
        let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    unplug(place);
    if std::env::var_os("HOLDFAST_E2E_KEEP").is_none() {
        let _ = fs::remove_dir_all(&place.dir);
    }
}

/// Kills the processes of a place's pods.
pub fn kill(place: &Place) {
    for pid in process_ids(place) {
        // It may have ended meanwhile.
        let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Takes away what a place has of the machine but not on its disk: mounts, links, rules and cgroups.
pub fn unplug(place: &Place) {
    for mount in mounts(place).iter().rev() {
        let _ = program::run("umount", ["-l", mount.as_str()]);
    }
    for link in links(place) {
        let _ = program::run(
            "ip",
            ["link", "del", link.split('@').next().unwrap_or_default()],
        );
    }
    let _ = program::run("ip", ["link", "del", place.bridge.as_str()]);
    let table = format!("holdfast-{}", place.bridge);
    let _ = program::run("nft", ["delete", "table", "inet", &table]);
    if place.home().is_some() {
        let _ = program::run("ip", ["netns", "del", place.tag.as_str()]);
    }
    remove_cgroups(place);
}

fn remove_cgroups(place: &Place) {
    for _ in 0..100 {
        let mut dirs = cgroups(place);
        let own = machine::cgroup_roots().into_iter();
        dirs.splice(
            0..0,
            own.map(|(root, _)| root.join(place.cgroup().trim_start_matches('/'))),
        );
        dirs.retain(|dir| dir.exists());
        if dirs.is_empty() {
            return;
        }
        for dir in dirs.iter().rev() {
            // Busy until the last process in it has been reaped.
            let _ = fs::remove_dir(dir);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
