//! Every file of pods/ runs, and does what its head says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cri_api::runtime::v1::{Container as Listed, ContainerState, ContainerStatus};
use e2e::call::until;
use e2e::daemon::Options;
use e2e::evidence::namespace;
use e2e::program::{Ran, built, finish};
use e2e::{Daemon, must};

/// The manifests that have a check of their own below.
const CHECKED: [&str; 13] = [
    "exit-codes",
    "host-network",
    "join-network",
    "limits",
    "oom",
    "shared-memory",
    "shared-pid",
    "sysctls",
    "time-namespace",
    "two-containers",
    "unshare",
    "users",
    "volumes",
];

fn pods() -> PathBuf {
    e2e::program::source("pods")
}

/// `holdfast ...` with all directories in the daemon's place.
fn pod_command(daemon: &Daemon, args: &[&str]) -> Ran {
    let mut command = Command::new(built("holdfast"));
    command
        .arg("--socket")
        .arg(daemon.place.socket())
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
        Self::on(Daemon::start(), name)
    }

    /// On a node that allows experiments.
    fn experiment(name: &str) -> Self {
        Self::on(experiments(), name)
    }

    fn on(daemon: Daemon, name: &str) -> Self {
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

    /// Waits until a container has written something.
    fn logs(&self, name: &str, text: &str) {
        until(
            &format!("{text:?} in the log of {name}"),
            Duration::from_secs(20),
            || self.log(name).contains(text).then_some(()),
        );
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

/// A node that allows all experiments.
fn experiments() -> Daemon {
    let all = ["join-network", "time-offsets", "namespaces"].map(toml::Value::from);
    Daemon::with(Options::default().set("experiments.allow", all.to_vec()))
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
    let (a, b) = (pod.pid("a"), pod.pid("b"));
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(a, kind), namespace(b, kind), "{kind}");
    }
    for kind in ["pid", "mnt"] {
        assert_ne!(namespace(a, kind), namespace(b, kind), "{kind}");
    }
    assert_eq!(pod.sh("a", "hostname"), "two-containers\n");
    assert_eq!(pod.sh("b", "hostname"), "two-containers\n");
    pod.logs("b", "hello from a\n");
    assert!(
        !pod.sh("b", "ps").contains("httpd"),
        "b sees its own processes only"
    );
    // Running the file again is the same pod, or is refused; a second pod there is not.
    let file = pods().join("two-containers.yaml").display().to_string();
    let again = pod_command(&pod.daemon, &["run", &file]);
    assert!(
        again.code == 1 || again.stdout.trim() == pod.id,
        "{again:?}"
    );
    assert_eq!(pod.daemon.pods().len(), 1);
    pod.end();
}

#[test]
fn the_command_line_shows_a_pod() {
    let pod = Running::new("two-containers");
    let holdfast = |args: &[&str]| pod.daemon.holdfast(args);
    let table = holdfast(&["ns", "two-containers"]).ok();
    for word in ["net", "pid", "a", "b"] {
        assert!(table.contains(word), "{table}");
    }
    assert!(
        table.contains(&namespace(pod.pid("a"), "pid").to_string()),
        "{table}"
    );
    assert!(holdfast(&["pods"]).ok().contains("two-containers"));
    pod.logs("b", "hello from a\n");
    assert_eq!(
        holdfast(&["logs", "two-containers/b"]).ok(),
        "hello from a\n"
    );
    assert_eq!(
        holdfast(&["exec", "two-containers/a", "--", "echo", "hi"]).ok(),
        "hi\n"
    );
    holdfast(&["exec", "two-containers/a", "--", "sh", "-c", "exit 7"]).fails(7);
    let enter = holdfast(&["enter", "two-containers/a"]).ok();
    assert!(
        enter.contains("nsenter") && enter.contains(&pod.pid("a").to_string()),
        "{enter}"
    );
    let host = e2e::program::sh(&format!("echo hostname | {}", enter.trim()));
    assert_eq!(host, "two-containers\n");
    holdfast(&["doctor"]);
    pod.end();
}

#[test]
fn shared_pid() {
    let pod = Running::new("shared-pid");
    assert_eq!(
        namespace(pod.pid("worker"), "pid"),
        namespace(pod.pid("observer"), "pid")
    );
    let seen = pod.sh("observer", "ps");
    assert!(
        seen.contains("sleep 1000000") && seen.contains("sleep 1000001"),
        "{seen}"
    );
    assert!(seen.contains("pause"), "{seen}");
    pod.end();
}

#[test]
fn host_network() {
    let pod = Running::new("host-network");
    let own = i32::try_from(std::process::id()).unwrap();
    for (kind, shared) in [
        ("net", true),
        ("uts", true),
        ("pid", false),
        ("mnt", false),
        ("ipc", false),
    ] {
        assert_eq!(
            namespace(pod.pid("main"), kind) == namespace(own, kind),
            shared,
            "{kind}"
        );
    }
    pod.logs("main", "lo:");
    pod.end();
}

#[test]
fn join_network() {
    let daemon = experiments();
    provide(&daemon);
    let file = |name: &str| pods().join(name).display().to_string();
    // Without the other pod there is nothing to join.
    let alone = pod_command(&daemon, &["run", &file("join-network.yaml")]).fails(1);
    assert!(alone.contains("default/two-containers"), "{alone}");
    let other = pod_command(&daemon, &["run", &file("two-containers.yaml")]).ok();
    let pod = Running::on(daemon, "join-network");
    pod.logs("client", "join-network\nhello from a\n");
    let owner = pod.daemon.namespaces(other.trim());
    let net = owner[0].inodes["net"];
    assert_eq!(namespace(pod.pid("client"), "net"), net);
    assert!(pod.sh("client", "ip addr").contains("eth0"));
    pod_command(&pod.daemon, &["rm", other.trim()]).ok();
    until("the end of eth0", Duration::from_secs(15), || {
        let left = pod.sh("client", "ip addr");
        (left.contains("lo:") && !left.contains("eth0")).then_some(())
    });
    pod.end();
}

#[test]
fn time_namespace() {
    let pod = Running::experiment("time-namespace");
    pod.logs("main", " days,");
    let ahead = pod
        .sh("main", "cut -d . -f 1 /proc/uptime")
        .trim()
        .parse::<i64>()
        .unwrap();
    assert!(ahead > 8_640_000, "{ahead}");
    assert!(pod.log("main").contains("8640000"));
    pod.end();
}

#[test]
fn unshare() {
    let pod = Running::experiment("unshare");
    pod.logs("plain", "unshare\na note of plain\n");
    pod.logs("loner", "loner\n");
    assert!(!pod.log("loner").contains("a note of plain"));
    pod.logs("guest", "unshare\na note of plain\n");
    pod.logs("guest", "/../");
    pod.logs("outside", "unshare\na note of plain\n");
    pod.logs("outside", pod.daemon.place.cgroup().as_str());
    let own = |name: &str, kind: &str| {
        namespace(pod.pid(name), kind) != namespace(pod.pid("plain"), kind)
    };
    for (name, kinds) in [
        ("loner", ["uts", "ipc", "cgroup"].as_slice()),
        ("guest", &["cgroup"]),
        ("outside", &["cgroup"]),
    ] {
        for kind in ["uts", "ipc", "net", "cgroup"] {
            assert_eq!(own(name, kind), kinds.contains(&kind), "{name} {kind}");
        }
    }
    pod.end();
}

#[test]
fn limits() {
    let pod = Running::new("limits");
    let pid = pod.pid("main");
    let memory = e2e::evidence::cgroup(pid, "memory");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    assert_eq!(
        e2e::evidence::cgroup(pid, "pids").read("pids.max", "pids.max"),
        "16"
    );
    let cpu = e2e::evidence::cgroup(pid, "cpu");
    assert!(cpu.read("cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    pod.logs("main", "fork");
    pod.end();
}

#[test]
fn oom() {
    let pod = Running::new("oom");
    let ended = pod.ended("hungry");
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
    assert_eq!(
        pod.status("neighbour").state(),
        ContainerState::ContainerRunning
    );
    pod.end();
}

#[test]
fn exit_codes() {
    let pod = Running::new("exit-codes");
    let codes = ["success", "failure", "signal"].map(|name| pod.ended(name).exit_code);
    assert_eq!(codes, [0, 3, 143]);
    pod.end();
}

#[test]
fn shared_memory() {
    let pod = Running::new("shared-memory");
    pod.logs("reader", "hello through /dev/shm\n");
    pod.end();
}

#[test]
fn sysctls() {
    let before = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let pod = Running::new("sysctls");
    pod.logs("main", "4096\n16384\n");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(),
        before
    );
    pod.end();
}

#[test]
fn users() {
    let pod = Running::new("users");
    pod.logs("main", "the volume is writable");
    let log = pod.log("main");
    assert!(log.contains("uid 1000, groups 1001 1002 1003"), "{log}");
    assert!(
        log.contains("CapEff:\t0000000000000000") && log.contains("NoNewPrivs:\t1"),
        "{log}"
    );
    assert!(log.contains("the root is read-only"), "{log}");
    pod.end();
}

#[test]
fn volumes() {
    let pod = Running::new("volumes");
    pod.logs("reader", "the host runs");
    let log = pod.log("reader");
    for line in [
        "written by writer\n",
        "the reader cannot write\n",
        "kept in memory\n",
    ] {
        assert!(log.contains(line), "{log}");
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
        .args(["--socket", "/no/such.sock", "pods"])
        .stdin(Stdio::null());
    let text = finish(command).fails(3);
    assert!(text.contains("/no/such.sock"), "{text}");
}
