//! The harness of every test: a store with one busybox layer, cgroups, a shim, a connection.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, fdpass, memfd, pidfd};
use holdfast_wire::plan::*;
use holdfast_wire::*;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};

/// Longest time that a test waits for one message.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// True when the tests can run; says why not otherwise.
pub(crate) fn can_run() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: these tests start processes in namespaces and cgroups and need root");
    }
    root
}

pub(crate) struct Harness {
    pub directory: tempfile::TempDir,
    name: String,
    small: OwnedFd,
    pub daemon: OwnedFd,
    cgroups: Vec<(CgroupSlot, PathBuf)>,
    next: u64,
    events: VecDeque<Event>,
    pub pause_pid: Pid,
    pub shim_pid: Pid,
}

pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn cgroup_parents() -> Vec<(CgroupSlot, PathBuf)> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return vec![(CgroupSlot::Unified, top.to_owned())];
    }
    [
        (CgroupSlot::Unified, "unified"),
        (CgroupSlot::V1Memory, "memory"),
        (CgroupSlot::V1, "pids"),
    ]
    .into_iter()
    .map(|(slot, name)| (slot, top.join(name)))
    .filter(|(_, path)| path.is_dir())
    .collect()
}

/// The program as the daemon would run it.
#[expect(
    clippy::disallowed_methods,
    reason = "the test stands in for the daemon, which spawns shims"
)]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// The shim under test: another build can be named, to measure it.
fn shim_program() -> PathBuf {
    std::env::var_os("HOLDFAST_SHIM")
        .map_or_else(|| env!("CARGO_BIN_EXE_holdfast-shim").into(), PathBuf::from)
}

fn prepare_store(directory: &Path) {
    let layer = directory.join("layer");
    for name in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(layer.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    for name in [
        "sh", "sleep", "cat", "echo", "ls", "id", "true", "yes", "dd", "hostname", "stat", "tty",
        "ps", "grep", "wc", "test", "env",
    ] {
        symlink("busybox", layer.join("bin").join(name)).unwrap();
    }
    symlink("../run/resolv.conf", layer.join("etc/resolv.conf")).unwrap();
    fs::create_dir(directory.join("state")).unwrap();
}

fn make_small_namespace(store: &Path) -> OwnedFd {
    let (left, right) = descriptor::packet_pair().unwrap();
    let status = command(shim_program())
        .arg("mount-namespace")
        .arg(store)
        .stdin(right)
        .status()
        .unwrap();
    assert!(status.success());
    let (_, mut descriptors) = fdpass::recv_packet(left.as_fd(), &mut [0; 8]).unwrap();
    descriptors.remove(0)
}

impl Harness {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare_store(directory.path());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-test-{}-{count}", std::process::id());
        let small = make_small_namespace(directory.path());
        let daemon = spawn_shim(directory.path());
        let mut harness = Self {
            directory,
            name,
            small,
            daemon,
            cgroups: Vec::new(),
            next: 0,
            events: VecDeque::new(),
            pause_pid: Pid::NONE,
            shim_pid: Pid::NONE,
        };
        for (slot, parent) in cgroup_parents() {
            let path = parent.join(&harness.name);
            fs::create_dir(&path).unwrap();
            harness.cgroups.push((slot, path));
        }
        harness
    }

    /// A pod whose pause runs.
    pub(crate) fn with_pause(change: impl FnOnce(&mut PausePlan)) -> Self {
        let mut harness = Self::new();
        let mut plan = pause_plan();
        change(&mut plan);
        let (reply, descriptors) = harness.start_pause(&plan);
        let Reply::PauseStarted(report) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(descriptors.len(), 2);
        harness.pause_pid = report.pid;
        harness.shim_pid = report.shim_pid;
        harness
    }

    pub(crate) fn start_pause(&mut self, plan: &PausePlan) -> (Reply, Vec<OwnedFd>) {
        let mut descriptors = vec![
            plan_file(plan),
            descriptor::duplicate(self.small.as_fd()).unwrap(),
        ];
        let (slots, directories) = self.make_cgroup("pause");
        descriptors.extend(directories);
        self.ask(Request::StartPause { cgroup: slots }, &descriptors)
    }

    fn make_cgroup(&self, name: &str) -> (Vec<CgroupSlot>, Vec<OwnedFd>) {
        let open = |(slot, parent): &(CgroupSlot, PathBuf)| {
            let path = parent.join(name);
            fs::create_dir_all(&path).unwrap();
            (*slot, OwnedFd::from(fs::File::open(path).unwrap()))
        };
        self.cgroups.iter().map(open).unzip()
    }

    pub(crate) fn cgroup(&self, slot: CgroupSlot, name: &str) -> PathBuf {
        let found = self.cgroups.iter().find(|(one, _)| *one == slot).unwrap();
        found.1.join(name)
    }

    pub(crate) fn log_path(&self, container: ContainerId) -> PathBuf {
        self.directory
            .path()
            .join(format!("{}.log", container.short()))
    }

    pub(crate) fn open_log(&self, container: ContainerId) -> OwnedFd {
        let mut options = fs::OpenOptions::new();
        options.create(true).append(true);
        options.open(self.log_path(container)).unwrap().into()
    }

    /// A plan that runs a shell command in a root of its own.
    pub(crate) fn plan(&self, container: ContainerId, script: &str) -> ContainerPlan {
        let own = self.directory.path().join(container.short());
        for name in ["upper", "work"] {
            fs::create_dir_all(own.join(name)).unwrap();
        }
        container_plan(&container.short(), script)
    }

    pub(crate) fn start(
        &mut self,
        container: ContainerId,
        plan: &ContainerPlan,
    ) -> (Reply, Vec<OwnedFd>) {
        let (request, descriptors) = self.start_request(container, plan);
        self.ask(request, &descriptors)
    }

    pub(crate) fn start_request(
        &mut self,
        container: ContainerId,
        plan: &ContainerPlan,
    ) -> (Request, Vec<OwnedFd>) {
        let mut descriptors = vec![plan_file(plan), self.open_log(container)];
        let (cgroup, directories) = self.make_cgroup(&container.short());
        descriptors.extend(directories);
        let request = Request::StartContainer {
            container,
            log: true,
            cgroup,
        };
        (request, descriptors)
    }

    /// Starts a shell command; its process id.
    pub(crate) fn run(&mut self, container: ContainerId, script: &str) -> Pid {
        let plan = self.plan(container, script);
        match self.start(container, &plan).0 {
            Reply::Started { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request and waits for its answer; events on the way are kept.
    pub(crate) fn ask(&mut self, body: Request, descriptors: &[OwnedFd]) -> (Reply, Vec<OwnedFd>) {
        let id = self.send(body, descriptors);
        loop {
            match self.receive() {
                (FromShim::Reply { id: found, body }, descriptors) => {
                    assert_eq!(found, id);
                    return (body, descriptors);
                }
                (FromShim::Event(event), _) => self.events.push_back(event),
            }
        }
    }

    /// Sends a request; its number.
    pub(crate) fn send(&mut self, body: Request, descriptors: &[OwnedFd]) -> u64 {
        self.next += 1;
        let id = self.next;
        let packet = encode(Protocol::CURRENT, &ToShim { id, body }).unwrap();
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        fdpass::send_packet(self.daemon.as_fd(), &packet, &descriptors).unwrap();
        id
    }

    pub(crate) fn done(&mut self, body: Request) {
        assert_eq!(self.ask(body, &[]).0, Reply::Done);
    }

    /// Sends what may be no request.
    pub(crate) fn send_bytes(&self, packet: &[u8]) {
        fdpass::send_packet(self.daemon.as_fd(), packet, &[]).unwrap();
    }

    pub(crate) fn receive(&self) -> (FromShim, Vec<OwnedFd>) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut set = [PollFd::new(self.daemon.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut set, PollTimeout::try_from(ANSWER_DEADLINE).unwrap()).unwrap();
        assert_eq!(ready, 1, "the shim says nothing");
        let mut buffer = vec![0; MAX_PACKET];
        let (length, descriptors) = fdpass::recv_packet(self.daemon.as_fd(), &mut buffer).unwrap();
        assert!(length > 0, "the shim has closed the connection");
        (decode(&buffer[..length]).unwrap().1, descriptors)
    }

    pub(crate) fn event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.receive() {
            (FromShim::Event(event), _) => event,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Waits for a container's end, acknowledges and forgets it.
    pub(crate) fn wait(&mut self, wanted: ContainerId) -> ExitStatus {
        loop {
            if let Event::Exited {
                sequence,
                container,
                status,
                ..
            } = self.event()
            {
                assert_eq!(container, wanted);
                self.done(Request::Acknowledge { sequence });
                self.done(Request::Forget { container });
                return status;
            }
        }
    }

    /// Runs a command to its end and returns its log.
    pub(crate) fn output(&mut self, script: &str) -> (ExitStatus, String) {
        let container = ContainerId::random().unwrap();
        self.run(container, script);
        let status = self.wait(container);
        (status, self.log(container))
    }

    /// The contents of a log's records.
    pub(crate) fn log(&self, container: ContainerId) -> String {
        let log = fs::read_to_string(self.log_path(container)).unwrap();
        log.lines()
            .map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap()))
            .collect()
    }

    /// Connects anew, as a restarted daemon does.
    pub(crate) fn reconnect(&mut self) {
        self.daemon = connect_to(&self.directory.path().join("shim.sock"));
        self.next = 0;
    }

    /// Ends the pod and checks that nothing is left of it.
    pub(crate) fn shut_down(mut self) {
        let shim = pidfd::open(self.shim_pid).unwrap();
        self.done(Request::Shutdown);
        wait_until("the shim is gone", || pidfd::exited(shim.as_fd()).unwrap());
        let proc = PathBuf::from(format!("/proc/{}", self.pause_pid));
        assert!(!proc.exists());
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        for (_, path) in &self.cgroups {
            let kill = path.join("cgroup.kill");
            if kill.exists() {
                let _ = fs::OpenOptions::new()
                    .write(true)
                    .open(kill)
                    .and_then(|mut file| {
                        use std::io::Write;
                        file.write_all(b"1")
                    });
            }
        }
        let path = self
            .cgroups
            .iter()
            .map(|(_, path)| path.clone())
            .collect::<Vec<_>>();
        for path in path {
            remove_cgroup(&path);
        }
        if !self.shim_pid.is_none()
            && let Ok(shim) = pidfd::open(self.shim_pid)
        {
            let _ = pidfd::send_signal(shim.as_fd(), 9);
        }
    }
}

fn remove_cgroup(path: &Path) {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    let deadline = Instant::now() + Duration::from_secs(3);
    while fs::remove_dir(path).is_err() && path.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + ANSWER_DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spawn_shim(directory: &Path) -> OwnedFd {
    let path = directory.join("shim.sock");
    let listener = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    bind(
        std::os::fd::AsRawFd::as_raw_fd(&listener),
        &UnixAddr::new(&path).unwrap(),
    )
    .unwrap();
    listen(&listener, Backlog::new(4).unwrap()).unwrap();
    let state = fs::File::open(directory.join("state")).unwrap();
    let (server, theirs) = descriptor::packet_pair().unwrap();
    let status = command(shim_program())
        .arg("serve")
        .stdin(theirs)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let descriptors = [listener.as_fd(), state.as_fd()];
    fdpass::send_packet(server.as_fd(), NEW_POD, &descriptors).unwrap();
    // The server ends here; the shim goes on.
    drop(server);
    connect_to(&path)
}

fn connect_to(path: &Path) -> OwnedFd {
    let daemon = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    connect(
        std::os::fd::AsRawFd::as_raw_fd(&daemon),
        &UnixAddr::new(path).unwrap(),
    )
    .unwrap();
    daemon
}

pub(crate) fn plan_file<T: Growing>(plan: &T) -> OwnedFd {
    let bytes = encode_plan(Protocol::CURRENT, plan).unwrap();
    memfd::create_sealed(c"plan", &bytes).unwrap()
}

pub(crate) fn pause_plan() -> PausePlan {
    PausePlan {
        new_net: true,
        new_ipc: true,
        new_uts: true,
        new_pid: false,
        user: None,
        hostname: Some(text("the-pod")),
        sysctls: vec![Sysctl {
            path: text("net/ipv4/ip_forward"),
            value: text("1"),
        }],
        shm_bytes: 64 << 20,
        uid: 65_535,
        gid: 65_535,
        groups: vec![],
        seccomp: None,
        oom_score_adj: Some(-998),
        join_net: false,
        new_cgroup: false,
        time: None,
    }
}

const NOSUID_NOEXEC_NODEV: u64 = 2 | 8 | 4;

pub(crate) fn new_mount(
    target: &str,
    fs_type: &str,
    options: &[(&str, &str)],
    attributes: u64,
) -> Mount {
    Mount {
        target: text(target),
        source: MountSource::New {
            fs_type: text(fs_type),
            options: options
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            copy_up: false,
        },
        attributes,
        recursive_attributes: false,
        propagation: Propagation::Private,
    }
}

pub(crate) fn tree_mount(target: &str, origin: TreeOrigin, path: &str, attributes: u64) -> Mount {
    Mount {
        target: text(target),
        source: MountSource::Tree {
            origin,
            path: text(path),
            recursive: true,
            missing: Missing::Fail,
            id_map: None,
        },
        attributes,
        recursive_attributes: false,
        propagation: Propagation::Private,
    }
}

fn device(target: &str, minor: u32) -> Device {
    Device {
        target: text(target),
        kind: 0o020_000,
        major: 1,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    }
}

fn container_plan(own: &str, script: &str) -> ContainerPlan {
    ContainerPlan {
        new_cgroup: true,
        lower: vec![text("/store/layer")],
        upper: text(&format!("/store/{own}/upper")),
        work: text(&format!("/store/{own}/work")),
        mounts: vec![
            new_mount("/proc", "proc", &[], NOSUID_NOEXEC_NODEV),
            new_mount("/dev", "tmpfs", &[("mode", "755"), ("size", "65536k")], 2),
            new_mount(
                "/dev/pts",
                "devpts",
                &[
                    ("newinstance", ""),
                    ("ptmxmode", "0666"),
                    ("mode", "0620"),
                    ("gid", "5"),
                ],
                2 | 8,
            ),
            new_mount("/dev/mqueue", "mqueue", &[], NOSUID_NOEXEC_NODEV),
            new_mount("/sys", "sysfs", &[], NOSUID_NOEXEC_NODEV | 1),
            tree_mount("/dev/shm", TreeOrigin::Pod, "/shm", NOSUID_NOEXEC_NODEV),
            tree_mount("/etc/resolv.conf", TreeOrigin::Host, "/etc/hostname", 1),
        ],
        devices: vec![
            device("/dev/null", 3),
            device("/dev/zero", 5),
            device("/dev/full", 7),
        ],
        symlinks: vec![
            (text("/dev/fd"), text("/proc/self/fd")),
            (text("/dev/stdout"), text("/proc/self/fd/1")),
            (text("/dev/ptmx"), text("pts/ptmx")),
        ],
        masked_paths: [
            "/proc/kcore",
            "/proc/acpi",
            "/proc/keys",
            "/proc/scsi",
            "/sys/firmware",
            "/nowhere",
        ]
        .map(text)
        .to_vec(),
        readonly_paths: [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]
        .map(text)
        .to_vec(),
        process: process(&["/bin/sh", "-c", script]),
        ..ContainerPlan::default()
    }
}

/// The 14 capabilities that containers get unless they ask for more.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

pub(crate) fn process(args: &[&str]) -> Process {
    let set = DEFAULT_CAPABILITIES;
    Process {
        args: args.iter().map(|arg| text(arg)).collect(),
        candidates: vec![text("/nowhere/at/all"), text(args[0])],
        env: vec![text("PATH=/bin"), text("COLOUR=blue")],
        cwd: text("/root"),
        capabilities: Capabilities {
            bounding: set,
            effective: set,
            permitted: set,
            inheritable: 0,
            ambient: 0,
        },
        no_new_privileges: true,
        rlimits: vec![(7, 1024, 1024)],
        oom_score_adj: Some(500),
        ..Process::default()
    }
}

/// The inode of a process' namespace.
pub(crate) fn namespace(pid: Pid, name: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{name}"))
        .unwrap()
        .ino()
}

pub(crate) fn read_all(file: OwnedFd) -> String {
    let mut content = String::new();
    fs::File::from(file).read_to_string(&mut content).unwrap();
    content
}
