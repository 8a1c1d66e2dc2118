//! The conversation that version 1 is: `protocol-1.txt` has the bytes of a greeting, of each kind of plan, and of all
//! requests, replies and events. The bytes go on meaning the same, and are still what is written for it.

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::plan::*;
use crate::*;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;

const RECORDED: &str = include_str!("protocol-1.txt");

#[derive(Debug, PartialEq)]
enum Recorded {
    Greeting(Greeting),
    Pause(PausePlan),
    Container(Box<ContainerPlan>),
    Exec(ExecPlan),
    To(ToShim),
    From(FromShim),
    Exit(Event),
}

impl Recorded {
    fn write(&self) -> Vec<u8> {
        let protocol = Protocol::spoken(1).unwrap();
        match self {
            Self::Greeting(greeting) => greeting.encode(),
            Self::Pause(plan) => encode_plan(protocol, plan).unwrap(),
            Self::Container(plan) => encode_plan(protocol, &**plan).unwrap(),
            Self::Exec(plan) => encode_plan(protocol, plan).unwrap(),
            Self::To(message) => encode(protocol, message).unwrap(),
            Self::From(message) => encode(protocol, message).unwrap(),
            Self::Exit(event) => encode_exit(event).unwrap(),
        }
    }

    /// What bytes of the same kind mean.
    fn read(&self, bytes: &[u8]) -> Self {
        match self {
            Self::Greeting(_) => Self::Greeting(Greeting::decode(bytes).unwrap()),
            Self::Pause(_) => Self::Pause(decode_plan(bytes).unwrap()),
            Self::Container(_) => Self::Container(Box::new(decode_plan(bytes).unwrap())),
            Self::Exec(_) => Self::Exec(decode_plan(bytes).unwrap()),
            Self::To(_) => Self::To(decode(bytes).unwrap().1),
            Self::From(_) => Self::From(decode(bytes).unwrap().1),
            Self::Exit(_) => Self::Exit(decode_exit(bytes).unwrap()),
        }
    }
}

#[test]
fn a_recorded_conversation_means_what_it_did() {
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    let mut recorded: BTreeMap<&str, &str> =
        lines.map(|line| line.split_once(' ').unwrap()).collect();
    let mut missing = String::new();
    for (name, value) in conversation() {
        let Some(text) = recorded.remove(name.as_str()) else {
            missing.push_str(&format!("{name} {}\n", hex::encode(value.write())));
            continue;
        };
        let bytes = hex::decode(text).unwrap();
        assert_eq!(value.read(&bytes), value, "{name}");
        assert_eq!(hex::encode(value.write()), text, "{name}");
    }
    assert!(missing.is_empty(), "not recorded:\n{missing}");
    assert!(recorded.is_empty(), "means nothing: {recorded:?}");
}

fn conversation() -> Vec<(String, Recorded)> {
    let greeting = Greeting {
        protocols: Protocols {
            oldest: 1,
            newest: 1,
        },
        user_namespace_problem: "unshare: Operation not permitted".to_owned(),
    };
    let mut all = vec![
        ("greeting".to_owned(), Recorded::Greeting(greeting)),
        ("pause-plan".to_owned(), Recorded::Pause(pause_plan())),
        (
            "container-plan".to_owned(),
            Recorded::Container(Box::new(container_plan())),
        ),
        ("exec-plan".to_owned(), Recorded::Exec(exec_plan())),
    ];
    for (index, body) in requests().into_iter().enumerate() {
        let id = 100 + index as u64;
        let name = format!("request-{}", variant(&body));
        all.push((name, Recorded::To(ToShim { id, body })));
    }
    for (index, body) in replies().into_iter().enumerate() {
        let id = 100 + index as u64;
        let name = format!("reply-{index}-{}", variant(&body));
        all.push((name, Recorded::From(FromShim::Reply { id, body })));
    }
    for event in events() {
        let name = format!("event-{}", variant(&event));
        all.push((name, Recorded::From(FromShim::Event(event))));
    }
    let exit = events().remove(0);
    all.push(("exit-record".to_owned(), Recorded::Exit(exit)));
    all
}

/// The name of an enum's variant.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find([' ', '(']).unwrap_or(text.len());
    text[..end].to_owned()
}

fn id() -> ContainerId {
    "f3a9c1d2e4b5968778695a4b3c2d1e0ff3a9c1d2e4b5968778695a4b3c2d1e0f"
        .parse()
        .unwrap()
}

fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn texts(all: &[&str]) -> Vec<CString> {
    all.iter().map(|one| text(one)).collect()
}

fn mappings() -> IdMappings {
    let range = IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    IdMappings {
        uids: vec![range],
        gids: vec![range],
    }
}

fn pause_plan() -> PausePlan {
    PausePlan {
        new_net: true,
        new_ipc: true,
        new_uts: true,
        new_pid: true,
        user: Some(mappings()),
        hostname: Some(text("web-0")),
        sysctls: vec![Sysctl {
            path: text("net/ipv4/ip_forward"),
            value: text("1"),
        }],
        shm_bytes: 64 << 20,
        uid: 65_535,
        gid: 65_534,
        groups: vec![1000],
        seccomp: Some(filter()),
        oom_score_adj: Some(-998),
        join_net: true,
        new_cgroup: true,
        time: Some(ClockOffsets {
            monotonic: (-3600, 0),
            boottime: (i64::MAX, 999_999_999),
        }),
    }
}

fn filter() -> SeccompFilter {
    SeccompFilter {
        program: vec![0x06, 0, 0, 0, 0, 0, 0xff, 0x7f],
        flags: 1,
    }
}

fn container_plan() -> ContainerPlan {
    ContainerPlan {
        user: Some(mappings()),
        pid: PidNamespace::Container(id()),
        new_cgroup: true,
        lower: texts(&["/store/layers/2", "/store/layers/1"]),
        upper: text("/store/containers/c/upper"),
        work: text("/store/containers/c/work"),
        readonly_rootfs: true,
        rootfs_propagation: Propagation::Slave,
        mounts: mounts(),
        devices: vec![Device {
            target: text("/dev/null"),
            kind: 0o020_000,
            major: 1,
            minor: 3,
            mode: 0o666,
            uid: 1,
            gid: 2,
        }],
        symlinks: vec![(text("/dev/fd"), text("/proc/self/fd"))],
        masked_paths: texts(&["/proc/kcore"]),
        readonly_paths: texts(&["/proc/sys", "/sys/fs/cgroup/."]),
        process: process(),
        stdin: true,
        stdin_once: true,
        new_uts: true,
        new_ipc: true,
        join_cgroup: true,
        hooks: Some(hooks()),
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |target: &str, source, propagation| Mount {
        target: text(target),
        source,
        attributes: 14,
        recursive_attributes: propagation == Propagation::Shared,
        propagation,
    };
    let tree = |origin, missing, id_map| MountSource::Tree {
        origin,
        path: text("/srv"),
        recursive: true,
        missing,
        id_map,
    };
    let tmpfs = MountSource::New {
        fs_type: text("tmpfs"),
        options: vec![(text("size"), text("64m")), (text("noswap"), text(""))],
        copy_up: true,
    };
    let image = MountSource::Image {
        lower: texts(&["/store/layers/3"]),
        sub_path: text("etc"),
    };
    let host = tree(TreeOrigin::Host, Missing::Fail, Some(mappings()));
    let pod = tree(TreeOrigin::Pod, Missing::MakeDirectory, None);
    let store = tree(TreeOrigin::Store, Missing::Fail, None);
    vec![
        mount("/tmp", tmpfs, Propagation::Private),
        mount("/image", image, Propagation::Private),
        mount("/host", host, Propagation::Shared),
        mount("/dev/shm", pod, Propagation::Slave),
        mount("/volume", store, Propagation::Private),
    ]
}

fn process() -> Process {
    Process {
        args: texts(&["sh", "-c", "exit 3"]),
        candidates: texts(&["/usr/bin/sh", "/bin/sh"]),
        env: texts(&["PATH=/usr/bin:/bin"]),
        cwd: text("/work"),
        terminal: true,
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 27],
        umask: Some(0o027),
        capabilities: Capabilities {
            bounding: 0xa804_25fb,
            effective: 1,
            permitted: 3,
            inheritable: 0,
            ambient: 1 << 40,
        },
        no_new_privileges: true,
        seccomp: Some(filter()),
        apparmor: Some(text("holdfast-default")),
        selinux: Some(text("system_u:system_r:container_t:s0:c1,c2")),
        rlimits: vec![(7, 1024, u64::MAX)],
        oom_score_adj: Some(500),
    }
}

fn hooks() -> Hooks {
    use HookMoment::*;
    let moments = [
        Prestart,
        CreateRuntime,
        CreateContainer,
        StartContainer,
        Poststart,
        Poststop,
    ];
    let hook = |(moment, timeout)| Hook {
        moment,
        path: text("/usr/bin/hook"),
        args: texts(&["hook", "now"]),
        env: texts(&["A=b"]),
        timeout,
    };
    let timeouts = [None, Some(5), None, None, None, None];
    Hooks {
        bundle: text("/var/lib/holdfast/bundles/c"),
        root: text("/var/lib/holdfast/bundles/c/rootfs"),
        state_head: r#"{"status":""#.to_owned(),
        state_tail: r#","bundle":"/b"}"#.to_owned(),
        hooks: moments.into_iter().zip(timeouts).map(hook).collect(),
    }
}

fn exec_plan() -> ExecPlan {
    ExecPlan {
        user: Some(mappings()),
        process: process(),
        terminal_size: Some(TerminalSize {
            rows: 24,
            columns: 80,
        }),
    }
}

fn requests() -> Vec<Request> {
    use Request::*;
    let container = id();
    let cgroup = vec![CgroupSlot::Unified, CgroupSlot::V1Memory, CgroupSlot::V1];
    let sysctls = pause_plan().sysctls;
    vec![
        StartPause {
            cgroup: cgroup.clone(),
        },
        OpenNetlink,
        StartContainer {
            container,
            log: true,
            cgroup,
        },
        Exec {
            container,
            exec: 1 << 40,
            stdio: ExecStdio::Terminal,
        },
        Signal {
            container,
            signal: 15,
        },
        Kill { container },
        KillExec { exec: 7 },
        ReopenLog { container },
        Resize {
            container,
            exec: Some(7),
            height: 24,
            width: 80,
        },
        Acknowledge { sequence: 300 },
        Inventory,
        Forget { container },
        Shutdown,
        Attach {
            container,
            client: 9,
            stdout: true,
            stderr: false,
            stdin: true,
        },
        OpenTcp {
            family: IpFamily::V6,
        },
        Identify,
        SetNetworkSysctls { sysctls },
        MakeNetwork,
    ]
}

fn replies() -> Vec<Reply> {
    let pause = PauseReport {
        pid: Pid::from_raw(4242),
        start_ticks: 123_456,
        shim_pid: Pid::from_raw(4240),
        shim_start_ticks: 123_400,
    };
    let running = Phase::Running {
        pid: Pid::from_raw(4300),
        start_ticks: 200_000,
    };
    let report = |phase| ContainerReport {
        container: id(),
        phase,
    };
    let attached = |input| Reply::Attached { input };
    let mut all = vec![
        Reply::Done,
        Reply::PauseStarted(pause.clone()),
        Reply::Started {
            pid: Pid::from_raw(4300),
            start_ticks: 200_000,
            degraded: vec![Failure::errno(Step::Label, 22, "x")],
        },
        Reply::Netlink,
        Reply::Inventory {
            pause: Some(pause),
            containers: [running, Phase::Exited, Phase::Launching]
                .map(report)
                .to_vec(),
        },
        attached(AttachedInput::None),
        attached(AttachedInput::Pipe),
        attached(AttachedInput::Terminal),
        Reply::Identity(Pid::from_raw(4240)),
    ];
    all.extend(failures().into_iter().map(Reply::Failed));
    all.push(Reply::NetworkMade);
    all
}

fn failures() -> Vec<Failure> {
    let path = |path: &str| Object::Path(path.to_owned());
    let mount = |source| Object::Mount {
        target: "/data".to_owned(),
        source,
    };
    let tree = MountedObject::Tree {
        path: "/srv".to_owned(),
        spreads: true,
    };
    let sysctl = Object::Sysctl {
        path: "net/ipv4/ip_forward".to_owned(),
        value: "1".to_owned(),
    };
    let image = MountedObject::Image("etc".to_owned());
    let tmpfs = MountedObject::New("tmpfs".to_owned());
    let hook = "createRuntime hook /bin/acme";
    let other = |step, object, cause| Failure {
        step,
        object,
        cause,
    };
    vec![
        Failure::errno(Step::Admit, 3, "the container does not run"),
        Failure::errno(Step::Exec, 2, path("/bin/no")),
        Failure::errno(Step::Mount, 22, mount(tree)),
        Failure::errno(Step::HostPath, 2, mount(image)),
        Failure::errno(Step::Mount, 19, mount(tmpfs)),
        Failure::errno(Step::Sysctl, 22, sysctl),
        Failure::ended(ExitStatus::Signal(31)),
        Failure::ended(ExitStatus::Code(1)),
        other(Step::Rootfs, path("/nfs"), Cause::TimedOut(110)),
        other(
            Step::Hook,
            hook.into(),
            Cause::Said("exited with 3: no such card".to_owned()),
        ),
    ]
}

/// Each failure is one sentence that names the step, the object and the cause.
#[test]
fn failures_are_rendered_once() {
    let failures = failures();
    let said: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "the container does not run",
            "cannot execute /bin/no: No such file or directory (os error 2)",
            "cannot mount /srv on /data: Invalid argument (os error 22)",
            "cannot open directory \"etc\" of the image: No such file or directory (os error 2)",
            "cannot mount tmpfs on /data: No such device (os error 19)",
            "cannot set the sysctl net/ipv4/ip_forward=1: Invalid argument (os error 22)",
            "cannot start the process: signal 31 killed it before its program ran",
            "cannot start the process: it ended with exit code 1 before its program ran",
            "cannot mount the root file system /nfs: no answer within 110 s",
            "createRuntime hook /bin/acme exited with 3: no such card",
        ]
    );
}

fn events() -> Vec<Event> {
    let at_unix_nanos = 1_796_000_000_123_456_789;
    vec![
        Event::Exited {
            sequence: 30,
            container: id(),
            status: ExitStatus::Code(7),
            at_unix_nanos,
            oom_killed: true,
        },
        Event::ExecExited {
            exec: 1 << 40,
            status: ExitStatus::Signal(9),
        },
        Event::PauseExited {
            status: ExitStatus::Code(0),
            at_unix_nanos,
        },
        Event::ClientDropped { client: 9 },
    ]
}
