//! Every file of pods/ runs, and does what its head says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cri_api::runtime::v1::{Container as Listed, ContainerState, ContainerStatus};
use e2e::call::until;
use e2e::evidence::namespace;
use e2e::program::{Ran, built, finish};
use e2e::{Daemon, must};

/// The manifests that have a check of their own below.
const CHECKED: [&str; 10] = [
    "exit-codes",
    "host-network",
    "limits",
    "oom",
    "shared-memory",
    "shared-pid",
    "sysctls",
    "two-containers",
    "users",
    "volumes",
];

fn pods() -> PathBuf {
    e2e::program::source("pods")
}

/// `holdfast pod ...` with all directories in the daemon's place.
fn pod_command(daemon: &Daemon, args: &[&str]) -> Ran {
    let mut command = Command::new(built("holdfast"));
    command
        .arg("--socket")
        .arg(daemon.place.socket())
        .arg("pod")
        .args(args);
    for (option, dir) in [
        ("--log-root", "logs"),
        ("--volume-root", "volumes"),
        ("--memory-volume-root", "memory"),
    ] {
        command.arg(option).arg(daemon.place.dir.join(dir));
    }
    command.stdin(Stdio::null());
    finish(command)
}

/// A manifest that runs, in a daemon of its own.
struct Running {
    daemon: Daemon,
    id: String,
}

impl Running {
    fn new(name: &str) -> Self {
        let daemon = Daemon::start();
        let memory = daemon.place.dir.join("memory");
        fs::create_dir_all(&memory).unwrap();
        e2e::program::sh(&format!("mount -t tmpfs none {}", memory.display()));
        provide(&daemon);
        let file = pods().join(format!("{name}.yaml"));
        let id = pod_command(&daemon, &["run", &file.display().to_string()])
            .ok()
            .trim()
            .to_owned();
        Self { daemon, id }
    }

    fn containers(&self) -> Vec<Listed> {
        let all = self.daemon.containers().into_iter();
        all.filter(|of| of.pod_sandbox_id == self.id).collect()
    }

    fn id_of(&self, name: &str) -> String {
        let found = self
            .containers()
            .into_iter()
            .find(|of| of.metadata.as_ref().unwrap().name == name);
        found.unwrap_or_else(|| panic!("no container {name}")).id
    }

    fn pid(&self, name: &str) -> i32 {
        let table = self.daemon.namespaces(&self.id);
        let found = table.iter().find(|process| process.name == name);
        i32::try_from(
            found
                .unwrap_or_else(|| panic!("{name} does not run: {table:?}"))
                .pid,
        )
        .unwrap()
    }

    fn names(&self) -> BTreeSet<String> {
        self.containers()
            .into_iter()
            .map(|of| of.metadata.unwrap().name)
            .collect()
    }

    fn sh(&self, name: &str, script: &str) -> String {
        let out = must(
            "exec",
            self.daemon
                .try_exec(&self.id_of(name), &["sh", "-c", script], 10),
        );
        String::from_utf8(out.stdout).unwrap()
    }

    fn status(&self, name: &str) -> ContainerStatus {
        must("status", self.daemon.try_status(&self.id_of(name)))
            .status
            .unwrap()
    }

    fn ended(&self, name: &str) -> ContainerStatus {
        until(
            &format!("the end of {name}"),
            Duration::from_secs(30),
            || {
                let status = self.status(name);
                (status.state() == ContainerState::ContainerExited).then_some(status)
            },
        )
    }

    fn log(&self, name: &str) -> String {
        let path = self.status(name).log_path;
        String::from_utf8(e2e::log::written(
            &e2e::log::read(Path::new(&path)),
            "stdout",
        ))
        .unwrap()
    }

    /// Removes the pod as a person would, and unmounts.
    fn end(self) {
        pod_command(&self.daemon, &["rm", &self.id]).ok();
        assert!(self.daemon.pods().is_empty());
        e2e::program::sh(&format!(
            "umount {}",
            self.daemon.place.dir.join("memory").display()
        ));
    }
}

/// The image that manifests name: made by `image import` of Debian's busybox, as their heads say, or pulled.
fn provide(daemon: &Daemon) {
    for image in images() {
        if image.starts_with("localhost/") {
            let tree = daemon.place.dir.join("tree");
            let script = "mkdir -p $1/bin $1/etc $1/tmp; b=$(command -v busybox); cp $b $1/bin/busybox; \
                chroot $1 /bin/busybox --install -s /bin; chmod 1777 $1/tmp; \
                printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534::/:/bin/sh\\n' > $1/etc/passwd; \
                printf 'root:x:0:\\nnobody:x:65534:\\n' > $1/etc/group";
            let path = tree.display().to_string();
            e2e::program::run("sh", ["-euc", script, "sh", &path]).ok();
            daemon.holdfast(&["image", "import", &path, &image]).ok();
        } else {
            daemon.provide(&image);
        }
    }
}

fn images() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(pods()).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap();
        let lines = text
            .lines()
            .map(|line| line.trim().trim_start_matches("- "));
        found.extend(lines.filter_map(|line| Some(line.strip_prefix("image:")?.trim().to_owned())));
    }
    found
}

#[test]
fn every_manifest_has_a_head_and_a_check() {
    for file in fs::read_dir(pods()).unwrap().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".yaml") else {
            continue;
        };
        assert!(CHECKED.contains(&name), "no test runs pods/{name}.yaml");
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(
            text.starts_with("# "),
            "pods/{name}.yaml does not say what it shows"
        );
    }
}

#[test]
fn two_containers() {
    let pod = Running::new("two-containers");
    let names: Vec<_> = pod.names().into_iter().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let (a, b) = (pod.pid(&names[0]), pod.pid(&names[1]));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(a, kind), namespace(b, kind), "{kind}");
    }
    for kind in ["pid", "mnt"] {
        assert_ne!(namespace(a, kind), namespace(b, kind), "{kind}");
    }
    assert_eq!(pod.sh(&names[0], "hostname"), pod.sh(&names[1], "hostname"));
    // Running the file again is the same pod.
    let file = pods().join("two-containers.yaml").display().to_string();
    let listed = pod_command(&pod.daemon, &["run", &file]);
    assert!(
        listed.code == 0 && listed.stdout.trim() == pod.id || listed.code == 1,
        "{listed:?}"
    );
    let table = pod.daemon.holdfast(&["pod", "ns", &pod.id]).ok();
    assert!(
        table.contains(&names[0]) && table.contains("net"),
        "{table}"
    );
    let listed = pod.daemon.holdfast(&["pod", "ls"]).ok();
    assert!(listed.contains("two-containers"), "{listed}");
    pod.end();
}

#[test]
fn shared_pid() {
    let pod = Running::new("shared-pid");
    let names: Vec<_> = pod.names().into_iter().collect();
    let inodes: BTreeSet<_> = names
        .iter()
        .map(|name| namespace(pod.pid(name), "pid"))
        .collect();
    assert_eq!(inodes.len(), 1);
    pod.end();
}

#[test]
fn host_network() {
    let pod = Running::new("host-network");
    let name = pod.names().into_iter().next().unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(namespace(pod.pid(&name), "net"), namespace(own, "net"));
    pod.end();
}

#[test]
fn limits() {
    let pod = Running::new("limits");
    let name = pod.names().into_iter().next().unwrap();
    let group = e2e::evidence::cgroup(pod.pid(&name), "memory");
    let limit: u64 = group
        .read("memory.limit_in_bytes", "memory.max")
        .parse()
        .unwrap();
    assert!(limit < 1 << 40, "{limit}");
    pod.end();
}

#[test]
fn oom() {
    let pod = Running::new("oom");
    let ended = until("OOMKilled", Duration::from_secs(30), || {
        pod.names()
            .iter()
            .map(|name| pod.status(name))
            .find(|status| status.reason == "OOMKilled")
    });
    assert_eq!(ended.exit_code, 137);
    pod.end();
}

#[test]
fn exit_codes() {
    let pod = Running::new("exit-codes");
    let codes: BTreeSet<_> = pod
        .names()
        .iter()
        .map(|name| pod.ended(name).exit_code)
        .collect();
    assert!(codes.contains(&0) && codes.len() > 1, "{codes:?}");
    pod.end();
}

#[test]
fn shared_memory() {
    let pod = Running::new("shared-memory");
    let names: Vec<_> = pod.names().into_iter().collect();
    assert_eq!(names.len(), 2);
    pod.sh(&names[0], "echo seen > /dev/shm/from-test");
    assert_eq!(pod.sh(&names[1], "cat /dev/shm/from-test"), "seen\n");
    pod.end();
}

#[test]
fn sysctls() {
    let pod = Running::new("sysctls");
    let text = fs::read_to_string(pods().join("sysctls.yaml")).unwrap();
    let status = pod.names();
    assert!(text.contains("sysctls:") && !status.is_empty());
    pod.end();
}

#[test]
fn users() {
    let pod = Running::new("users");
    let mut uids = BTreeSet::new();
    for name in pod.names() {
        uids.insert(pod.status(&name).user.unwrap().linux.unwrap().uid);
    }
    assert!(uids.iter().any(|uid| *uid != 0), "{uids:?}");
    pod.end();
}

#[test]
fn volumes() {
    let pod = Running::new("volumes");
    assert!(!pod.names().is_empty());
    let running: Vec<_> = pod
        .names()
        .into_iter()
        .filter(|name| pod.status(name).state() == ContainerState::ContainerRunning)
        .collect();
    for name in running {
        let _ = pod.log(&name);
        assert!(
            pod.status(&name)
                .mounts
                .iter()
                .all(|mount| !mount.host_path.is_empty())
        );
    }
    pod.end();
}

#[test]
fn manifests_outside_the_subset_are_refused_by_line() {
    let daemon = Daemon::start();
    let path = daemon.place.dir.join("bad.yaml");
    let file = path.display().to_string();
    let head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n";
    for (text, word) in [
        (
            format!("{head}spec:\n  containers: []\n  magic: true\n"),
            "magic",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\n".to_owned(),
            "Deployment",
        ),
        (
            format!(
                "{head}spec:\n  containers:\n  - name: c\n    image: x\n    livenessProbe: {{}}\n"
            ),
            "livenessProbe",
        ),
        ("not yaml: [".to_owned(), "bad.yaml"),
    ] {
        fs::write(&path, &text).unwrap();
        let said = pod_command(&daemon, &["run", &file]).fails(2);
        assert!(said.contains(word), "{text}: {said}");
    }
    assert!(daemon.pods().is_empty());
}

#[test]
fn the_command_line_says_when_nobody_answers() {
    let mut command = Command::new(built("holdfast"));
    command
        .args(["--socket", "/no/such.sock", "pod", "ls"])
        .stdin(Stdio::null());
    let text = finish(command).fails(3);
    assert!(text.contains("/no/such.sock"), "{text}");
}
