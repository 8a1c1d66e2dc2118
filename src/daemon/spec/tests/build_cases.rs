use oci_spec::runtime::{Capability, LinuxNamespaceType, Spec};

use super::*;
use holdfast_wire::plan::{IdMappings, IdRange};

fn process(spec: &Spec) -> &oci_spec::runtime::Process {
    spec.process().as_ref().unwrap()
}

fn linux(spec: &Spec) -> &oci_spec::runtime::Linux {
    spec.linux().as_ref().unwrap()
}

fn bounding(spec: &Spec) -> std::collections::HashSet<Capability> {
    process(spec)
        .capabilities()
        .as_ref()
        .unwrap()
        .bounding()
        .clone()
        .unwrap()
}

fn args(command: &[&str], args: &[&str], entrypoint: &[&str], cmd: &[&str]) -> Option<Vec<String>> {
    let own = |list: &[&str]| {
        list.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let mut world = World::new();
    world.container.command = own(command);
    world.container.args = own(args);
    world.image.entrypoint = own(entrypoint);
    world.image.cmd = own(cmd);
    world
        .build()
        .ok()
        .and_then(|spec| process(&spec).args().clone())
}

#[test]
fn command_and_args_against_the_image() {
    let own = |list: &[&str]| {
        Some(
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(args(&[], &[], &["e"], &["c"]), own(&["e", "c"]));
    assert_eq!(args(&[], &["a"], &["e"], &["c"]), own(&["e", "a"]));
    assert_eq!(args(&["x"], &[], &["e"], &["c"]), own(&["x"]));
    assert_eq!(args(&["x"], &["a"], &["e"], &["c"]), own(&["x", "a"]));
    assert_eq!(args(&[], &[], &[], &["c"]), own(&["c"]));
    assert_eq!(args(&[], &["a"], &[""], &[]), own(&["a"]));
    assert_eq!(args(&[], &[], &[], &[]), None);
    assert_eq!(args(&[""], &[], &[], &[]), None);
}

#[test]
fn the_environment_is_layered() {
    let mut world = World::new();
    world.image.env = vec![
        "A=image".into(),
        "B=image".into(),
        "JUNK".into(),
        "PATH=/opt".into(),
    ];
    world.container.envs = vec![
        ("B".into(), b"request".to_vec()),
        ("C".into(), b"1=2".to_vec()),
        ("B".into(), b"last".to_vec()),
    ];
    world.container.tty = true;
    world.identity.home = Some("/home/app".into());
    let spec = world.build().unwrap();
    assert_eq!(
        process(&spec).env().as_deref().unwrap(),
        [
            "PATH=/opt",
            "TERM=xterm",
            "HOSTNAME=box",
            "A=image",
            "B=last",
            "C=1=2",
            "HOME=/home/app"
        ]
    );
    assert_eq!(process(&spec).terminal(), Some(true));
}

#[test]
fn the_environment_has_defaults_and_limits() {
    let mut world = World::new();
    let spec = world.build().unwrap();
    let path = format!("PATH={}", crate::spec::process::DEFAULT_PATH);
    assert_eq!(
        process(&spec).env().as_deref().unwrap(),
        [&path, "HOSTNAME=box", "HOME=/"]
    );
    for (name, value) in [("", &b"x"[..]), ("A=B", b"x"), ("A", b"x\0y")] {
        world.container.envs = vec![(name.into(), value.to_vec())];
        assert!(world.build().unwrap_err().to_string().starts_with("envs:"));
    }
    world.container.envs = vec![
        ("RAW".into(), vec![0xff, b'a']),
        ("TEXT".into(), b"b".to_vec()),
    ];
    assert!(
        process(&world.build().unwrap())
            .env()
            .as_ref()
            .unwrap()
            .contains(&"RAW=\u{fffd}a".into())
    );
}

#[test]
fn the_working_directory() {
    let cwd = |request: Option<&str>, image: &str| {
        let mut world = World::new();
        world.container.working_dir = request.map(str::to_owned);
        world.image.working_dir = image.to_owned();
        world
            .build()
            .map(|spec| process(&spec).cwd().to_str().unwrap().to_owned())
    };
    assert_eq!(cwd(None, "").unwrap(), "/");
    assert_eq!(cwd(None, "/srv").unwrap(), "/srv");
    assert_eq!(cwd(Some(""), "/srv").unwrap(), "/srv");
    assert_eq!(cwd(Some("/a"), "/srv").unwrap(), "/a");
    assert_eq!(cwd(Some("/tmp/../var"), "/srv").unwrap(), "/var");
    assert_eq!(cwd(None, "/tmp/../srv/./x").unwrap(), "/srv/x");
    assert_eq!(cwd(None, "srv/../app").unwrap(), "/app");
    assert_eq!(cwd(Some("/a/.."), "/srv").unwrap(), "/");
    assert!(cwd(Some("/a/../.."), "").is_err());
    assert!(cwd(None, "/a/../../b").is_err());
}

#[test]
fn default_mounts_in_order() {
    let spec = World::new().build().unwrap();
    let targets: Vec<_> = mounts(&spec)
        .into_iter()
        .map(|(target, ..)| target)
        .collect();
    assert_eq!(
        targets,
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys",
            "/sys/fs/cgroup",
            "/etc/hostname",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/dev/shm",
        ]
    );
    assert_eq!(mount_at(&spec, "/dev/shm").1, "/run/pod/shm");
    assert!(mount_at(&spec, "/sys").2.contains(&"ro".into()));
    assert!(mount_at(&spec, "/sys/fs/cgroup").2.contains(&"ro".into()));
    assert_eq!(mount_at(&spec, "/etc/hosts").2, ["rbind", "rprivate", "rw"]);
}

#[test]
fn requested_mounts_replace_defaults() {
    let mut world = World::new();
    world.volume("/deep/er/path", "/srv/c");
    world.volume("/etc/hosts", "/srv/hosts");
    world.volume("/dev", "/dev");
    world.volume("/sys", "/srv/sys").access = VolumeAccess::ReadOnly;
    let spec = world.build().unwrap();
    let targets: Vec<_> = mounts(&spec)
        .into_iter()
        .map(|(target, ..)| target)
        .collect();
    assert_eq!(
        targets,
        [
            "/proc",
            "/sys/fs/cgroup",
            "/dev",
            "/sys",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/dev/shm",
            "/deep/er/path",
        ]
    );
    assert_eq!(mount_at(&spec, "/etc/hosts").1, "/srv/hosts");
    assert_eq!(mount_at(&spec, "/sys").2, ["rbind", "rprivate", "ro"]);
}

#[test]
fn ipc_and_read_only_root_shape_the_pod_files() {
    let mut world = World::new();
    world.pod.namespaces.ipc = IpcMode::Node;
    world.container.security.readonly_rootfs = true;
    let spec = world.build().unwrap();
    assert_eq!(mount_at(&spec, "/dev/shm").1, "/dev/shm");
    assert_eq!(
        mount_at(&spec, "/etc/hostname").2,
        ["rbind", "rprivate", "ro"]
    );
    assert!(mount_at(&spec, "/dev/shm").2.contains(&"rw".into()));
    assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(true));
}

#[test]
fn propagation_reaches_the_root() {
    let mut world = World::new();
    world.volume("/a", "/a").propagation = VolumePropagation::HostToContainer;
    assert_eq!(
        linux(&world.build().unwrap())
            .rootfs_propagation()
            .as_deref(),
        Some("rslave")
    );
    world.volume("/b", "/b").propagation = VolumePropagation::Bidirectional;
    let spec = world.build().unwrap();
    assert_eq!(
        linux(&spec).rootfs_propagation().as_deref(),
        Some("rshared")
    );
    assert_eq!(mount_at(&spec, "/a").2, ["rbind", "rslave", "rw"]);
}

#[test]
fn recursive_read_only_needs_a_kernel_that_has_it() {
    let mut world = World::new();
    world.volume("/a", "/a").access = VolumeAccess::RecursiveReadOnly;
    let spec = world.build().unwrap();
    assert_eq!(mount_at(&spec, "/a").2, ["rbind", "rprivate", "rro"]);
    world.host.recursive_read_only = false;
    let refused = world.build().unwrap_err();
    assert!(matches!(refused, SpecError::Unsupported { .. }));
    let refused = refused.to_string();
    assert!(refused.starts_with("mounts[0].recursive_read_only"));
}

/// A volume over /proc would fake what the runtime and programs read there.
#[test]
fn proc_is_not_covered() {
    for (target, source, fine) in [
        ("/", "/srv", false),
        ("/proc", "/srv", false),
        ("/proc", "/proc", true),
        ("/proc/self", "/srv", false),
        ("/proc/sys/kernel", "/srv", false),
        ("/proc/cpuinfo", "/srv", true),
        ("/process", "/srv", true),
    ] {
        let mut world = World::new();
        world.volume(target, source);
        assert_eq!(world.build().is_ok(), fine, "{target}");
    }
}

#[test]
fn image_volumes_yield_to_requests() {
    let mut world = World::new();
    let path = |text| ContainerPath::new("v", text).unwrap();
    let directory = |text| HostPath::new("v", text).unwrap();
    world.volumes = vec![
        (path("/data"), directory("/v/1")),
        (path("/taken"), directory("/v/2")),
    ];
    world.volume("/taken", "/srv");
    let spec = world.build().unwrap();
    assert_eq!(mount_at(&spec, "/data").1, "/v/1");
    assert_eq!(mount_at(&spec, "/taken").1, "/srv");
}

#[test]
fn volumes_from_images_are_read_only() {
    let mut world = World::new();
    let volume = world.volume("/v", "/srv");
    volume.source = VolumeSource::Image {
        image: ImageSpec {
            image: "image:1".into(),
            ..ImageSpec::default()
        },
        sub_path: "dir".into(),
    };
    volume.access = VolumeAccess::ReadOnly;
    let (kind, source, options) = mount_at(&world.build().unwrap(), "/v");
    assert_eq!((kind.as_str(), source.as_str()), ("image", "image:1/dir"));
    assert_eq!(options, ["ro", "nodev"]);
}

#[test]
fn a_user_namespace_bounds_who_processes_can_be() {
    let mut world = World::new();
    let ranges = |count| {
        vec![IdRange {
            inside: 0,
            outside: 100_000,
            count,
        }]
    };
    world.pod.namespaces.userns = Some(IdMappings {
        uids: ranges(10),
        gids: ranges(5),
    });
    let (_, _, options) = mount_at(&world.build().unwrap(), "/dev/pts");
    assert!(!options.contains(&"gid=5".to_owned()), "{options:?}");
    let cases = [
        (10, 0, 0, "run_as_user"),
        (9, 5, 0, "run_as_group"),
        (9, 4, 7, "supplemental_groups"),
    ];
    for (uid, gid, group, field) in cases {
        world.identity = Identity {
            uid,
            gid,
            groups: vec![gid, group],
            home: None,
        };
        let text = world.build().unwrap_err().to_string();
        assert!(text.contains(field) && text.contains("mappings"), "{text}");
    }
    assert_eq!(world.pod.root_owner(), (100_000, 100_000));
    world.host.user_namespace_problem = Some("it needs Linux 5.19".into());
    let text = world.build_pod().unwrap_err().to_string();
    assert!(
        text.contains("userns_options") && text.contains("5.19"),
        "{text}"
    );
}

#[test]
fn capabilities_are_added_and_dropped() {
    let caps = |add: &[&str], drop: &[&str]| {
        let mut world = World::new();
        world.container.security.add_capabilities = add.iter().map(|c| (*c).to_owned()).collect();
        world.container.security.drop_capabilities = drop.iter().map(|c| (*c).to_owned()).collect();
        world.build().map(|spec| bounding(&spec))
    };
    assert_eq!(caps(&[], &[]).unwrap().len(), 14);
    assert_eq!(caps(&["ALL"], &[]).unwrap().len(), 41);
    assert_eq!(caps(&["all"], &["CAP_SYS_ADMIN"]).unwrap().len(), 40);
    assert_eq!(caps(&[], &["ALL"]).unwrap().len(), 0);
    let one = caps(&["net_admin"], &["ALL"]).unwrap();
    assert_eq!(one, [Capability::NetAdmin].into());
    assert!(!caps(&[], &["CHOWN"]).unwrap().contains(&Capability::Chown));
    let error = caps(&["CAP_NOPE"], &[]).unwrap_err();
    assert!(error.to_string().contains("CAP_NOPE"), "{error}");
}

#[test]
fn old_kernels_and_ambient_sets() {
    let mut world = World::new();
    world.host.last_cap = 37;
    world.container.security.add_capabilities = vec!["ALL".into(), "BPF".into()];
    world.container.security.add_ambient_capabilities = vec!["NET_BIND_SERVICE".into()];
    let spec = world.build().unwrap();
    assert_eq!(bounding(&spec).len(), 38);
    let sets = process(&spec).capabilities().as_ref().unwrap();
    let only = Some([Capability::NetBindService].into());
    assert_eq!((sets.ambient(), sets.inheritable()), (&only, &only));
    // Nothing is inheritable unless it was asked for.
    let plain = World::new().build().unwrap();
    let sets = process(&plain).capabilities().as_ref().unwrap();
    assert!(sets.inheritable().as_ref().unwrap().is_empty());
}

#[test]
fn privileged_has_all_and_needs_a_privileged_pod() {
    let mut world = World::new();
    world.container.security.privileged = true;
    world.container.security.masked_paths = vec!["/proc/kcore".into()];
    world.container.security.seccomp = SeccompChoice::RuntimeDefault;
    let device = |path: &str| HostDevice {
        path: path.into(),
        kind: DeviceKind::Character,
        major: 10,
        minor: 229,
        mode: 0o100_666,
        uid: Some(0),
        gid: Some(0),
    };
    world.host.devices = vec![
        device("/dev/fuse"),
        device("/dev/pts/0"),
        device("/dev/console"),
    ];
    assert_eq!(world.build(), Err(SpecError::PrivilegedInPlainPod));
    world.pod.security.privileged = true;
    let spec = world.build().unwrap();
    assert_eq!(bounding(&spec).len(), 41);
    assert!(linux(&spec).seccomp().is_none() && linux(&spec).masked_paths().is_none());
    let nodes: Vec<_> = linux(&spec)
        .devices()
        .iter()
        .flatten()
        .map(|d| d.path().clone())
        .collect();
    assert_eq!(nodes, [PathBuf::from("/dev/fuse")]);
    assert!(mount_at(&spec, "/sys").2.contains(&"rw".into()));
    let namespaces = linux(&spec).namespaces().clone().unwrap();
    assert!(
        !namespaces
            .iter()
            .any(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup)
    );
    let rules = linux(&spec)
        .resources()
        .as_ref()
        .unwrap()
        .devices()
        .clone()
        .unwrap();
    assert_eq!(rules.len(), 1);
    assert!(rules[0].allow());
}

#[test]
fn masks_and_filters_are_verbatim() {
    let mut world = World::new();
    assert_eq!(linux(&world.build().unwrap()).masked_paths(), &None);
    world.container.security.masked_paths = vec!["/proc/kcore".into(), "/proc/keys".into()];
    world.container.security.readonly_paths = vec!["/proc/sys".into()];
    world.container.security.seccomp = SeccompChoice::RuntimeDefault;
    let spec = world.build().unwrap();
    assert_eq!(linux(&spec).masked_paths().as_ref().unwrap().len(), 2);
    assert_eq!(
        linux(&spec).readonly_paths().as_deref(),
        Some(&["/proc/sys".to_owned()][..])
    );
    assert!(linux(&spec).seccomp().is_some());
    world.container.security.masked_paths = vec!["proc/kcore".into()];
    assert!(world.build().is_err());
    world.container.security.masked_paths.clear();
    world.container.security.seccomp =
        SeccompChoice::Localhost(HostPath::new("p", "/profiles/a.json").unwrap());
    assert!(
        world
            .build()
            .unwrap_err()
            .to_string()
            .contains("/profiles/a.json")
    );
}

#[test]
fn namespaces_are_joined_by_path() {
    let path = |spec: &Spec, kind| {
        let all = linux(spec).namespaces().clone().unwrap();
        all.iter()
            .find(|namespace| namespace.typ() == kind)
            .map(|namespace| namespace.path().clone())
    };
    let mut world = World::new();
    let spec = world.build().unwrap();
    assert_eq!(
        path(&spec, LinuxNamespaceType::Network),
        Some(Some("/proc/77/ns/net".into()))
    );
    assert_eq!(
        path(&spec, LinuxNamespaceType::Pid),
        Some(Some("/proc/77/ns/pid".into()))
    );
    assert_eq!(path(&spec, LinuxNamespaceType::Cgroup), Some(None));
    world.container.security.pid = PidMode::Container;
    assert_eq!(
        path(&world.build().unwrap(), LinuxNamespaceType::Pid),
        Some(None)
    );
    world.container.security.pid = PidMode::Node;
    assert_eq!(path(&world.build().unwrap(), LinuxNamespaceType::Pid), None);
    world.container.security.pid = PidMode::Target("22".repeat(32).parse().unwrap());
    assert!(world.build().unwrap_err().to_string().contains("target_id"));
    world.paths.target_pid = Some("/proc/99/ns/pid".into());
    let spec = world.build().unwrap();
    assert_eq!(
        path(&spec, LinuxNamespaceType::Pid),
        Some(Some("/proc/99/ns/pid".into()))
    );
}

#[test]
fn resources_and_their_limits() {
    let mut world = World::new();
    world.container.resources = Resources {
        cpu_period: 100_000,
        cpu_quota: -1,
        cpu_shares: 512,
        memory_limit: 64 << 20,
        oom_score_adj: 500,
        cpuset_cpus: "0-1".into(),
        hugepage_limits: vec![("2MB".into(), u64::MAX)],
        unified: [("memory.high".to_owned(), "1".to_owned())].into(),
        ..Resources::default()
    };
    let spec = world.build().unwrap();
    let resources = linux(&spec).resources().as_ref().unwrap();
    let cpu = resources.cpu().as_ref().unwrap();
    assert_eq!(
        (cpu.period(), cpu.quota(), cpu.shares()),
        (Some(100_000), Some(-1), Some(512))
    );
    let memory = resources.memory().as_ref().unwrap();
    assert_eq!(
        (memory.limit(), memory.swap()),
        (Some(64 << 20), Some(64 << 20))
    );
    assert_eq!(process(&spec).oom_score_adj(), Some(500));
    let bad = |change: &dyn Fn(&mut Resources)| {
        let mut resources = Resources::default();
        change(&mut resources);
        world_with(resources).build().is_err()
    };
    assert!(bad(&|r| r.cpu_period = -5));
    assert!(bad(&|r| r.memory_limit = -2));
    assert!(bad(&|r| r.oom_score_adj = 1001));
    assert!(bad(&|r| r.cpuset_cpus = "0;1".into()));
    assert!(bad(&|r| r.hugepage_limits = vec![("2M".into(), 1)]));
    assert!(bad(&|r| (r.memory_limit, r.memory_swap_limit) = (100, 50)));
    for key in ["../x", "a/b.c", "memory", "", ".hidden", "a..b"] {
        assert!(
            bad(&|r| _ = r.unified.insert(key.into(), "1".into())),
            "{key}"
        );
    }
}

/// The kernel's bound of a quota is that of tg_set_cfs_bandwidth() of Linux; that of memory plus swap is config-linux
/// of the OCI runtime specification.
#[test]
fn limits_out_of_bounds_say_what_the_kernel_takes() {
    const SWAP: &str = "linux.resources.memory_swap_limit_in_bytes: invalid value";
    for (quota, memory, swap, wanted) in [
        (
            i64::MAX,
            0,
            0,
            Some(
                "cpu_quota: invalid value 9223372036854775807: the kernel takes at most 17592186044415 ",
            ),
        ),
        (
            17_592_186_044_416,
            0,
            0,
            Some("at most 17592186044415 microseconds; give that, or -1 for no limit"),
        ),
        (17_592_186_044_415, 0, 0, None),
        (-1, 0, 0, None),
        (0, 0, 1 << 20, Some("set memory_limit_in_bytes as well")),
        (0, -1, 1 << 20, Some("set memory_limit_in_bytes as well")),
        (
            0,
            2 << 20,
            1 << 20,
            Some("give at least the memory limit, 2097152"),
        ),
        (0, 1 << 20, 2 << 20, None),
        (0, 1 << 20, -1, None),
        (0, 0, -1, None),
    ] {
        let resources = Resources {
            cpu_quota: quota,
            memory_limit: memory,
            memory_swap_limit: swap,
            ..Resources::default()
        };
        let got = crate::spec::resources::check(&resources).map_err(|error| error.to_string());
        match wanted {
            None => assert_eq!(got, Ok(())),
            Some(wanted) => {
                let text = got.unwrap_err();
                assert!(text.contains(wanted), "{text}");
                assert!(quota != 0 || text.contains(SWAP), "{text}");
            }
        }
    }
}

fn world_with(resources: Resources) -> World {
    let mut world = World::new();
    world.container.resources = resources;
    world
}

#[test]
fn devices_and_their_rules() {
    let mut world = World::new();
    let device = HostDevice {
        path: "/dev/xfuse".into(),
        kind: DeviceKind::Character,
        major: 10,
        minor: 229,
        mode: 0o20_660,
        uid: Some(0),
        gid: Some(6),
    };
    world.devices = vec![DeviceGrant {
        device,
        permissions: "rw".into(),
    }];
    let spec = world.build().unwrap();
    let node = &linux(&spec).devices().as_ref().unwrap()[0];
    assert_eq!((node.file_mode(), node.gid()), (Some(0o660), Some(6)));
    let rules = linux(&spec)
        .resources()
        .as_ref()
        .unwrap()
        .devices()
        .clone()
        .unwrap();
    assert_eq!(rules[0].to_string(), "a *:* rwm");
    assert!(!rules[0].allow());
    assert_eq!(rules.last().unwrap().to_string(), "c 10:229 rw");
    assert!(rules.iter().any(|rule| rule.to_string() == "c 136:* rwm"));
    world.devices[0].permissions = "rx".into();
    assert!(world.build().is_err());
}

/// A CDI device whose description leaves the owner open belongs to the container's user (`Apply` of
/// container-device-interface 1.1.2; containerd 2.4 resolves the user first, spec_linux.go and container_create.go).
/// A node of the host's keeps the host's owner, as runc's `DeviceFromPath` gives it.
#[test]
fn a_device_without_an_owner_belongs_to_the_user() {
    for (said, user, wanted) in [
        ((None, None), (0, 0), (0, 0)),
        ((None, None), (1000, 2000), (1000, 2000)),
        ((Some(7), None), (1000, 2000), (7, 2000)),
        ((None, Some(44)), (1000, 2000), (1000, 44)),
        ((Some(0), Some(0)), (1000, 2000), (0, 0)),
    ] {
        let mut world = World::new();
        (world.identity.uid, world.identity.gid) = user;
        let device = HostDevice {
            path: "/dev/hf0".into(),
            kind: DeviceKind::Character,
            major: 1,
            minor: 3,
            mode: 0o660,
            uid: said.0,
            gid: said.1,
        };
        world.cdi.devices = vec![DeviceGrant {
            device,
            permissions: "rw".into(),
        }];
        let spec = world.build().unwrap();
        let node = &linux(&spec).devices().as_ref().unwrap()[0];
        let found = (node.uid(), node.gid());
        assert_eq!(found, (Some(wanted.0), Some(wanted.1)), "{said:?} {user:?}");
    }
}

/// Of CDI the last counts: `RemoveDevice` and `AddDevice` of container-device-interface 1.1.2. Of the request the first
/// does: runc leaves a node that is there, and containerd hands it both.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of devices")]
fn a_path_has_one_node() {
    type Nodes = &'static [(&'static str, u32, u32)];
    let grant = |(path, minor, mode): &(&str, u32, u32)| DeviceGrant {
        device: HostDevice {
            path: (*path).into(),
            kind: DeviceKind::Character,
            major: 1,
            minor: *minor,
            mode: *mode,
            uid: Some(0),
            gid: Some(0),
        },
        permissions: "rw".into(),
    };
    let cases: &[(Nodes, Nodes, Nodes)] = &[
        (
            &[("/dev/hf0", 5, 0o666)],
            &[("/dev/hf0", 3, 0o640)],
            &[("/dev/hf0", 3, 0o640)],
        ),
        (
            &[],
            &[("/dev/hf0", 3, 0o666), ("/dev/hf0", 5, 0o600)],
            &[("/dev/hf0", 5, 0o600)],
        ),
        (
            &[("/dev/hf0", 5, 0o666)],
            &[("/dev/hf0", 5, 0o600)],
            &[("/dev/hf0", 5, 0o600)],
        ),
        (
            &[("/dev/hf0", 5, 0o666), ("/dev/hf0", 3, 0o666)],
            &[],
            &[("/dev/hf0", 5, 0o666)],
        ),
        (
            &[("/dev/hf0", 5, 0o666), ("/dev/hf0", 3, 0o666)],
            &[("/dev/hf0", 7, 0o444)],
            &[("/dev/hf0", 7, 0o444)],
        ),
        (
            &[("/dev/a", 5, 0o666), ("/dev/b", 3, 0o666)],
            &[("/dev/a", 8, 0o666), ("/dev/c", 9, 0o666)],
            &[
                ("/dev/b", 3, 0o666),
                ("/dev/a", 8, 0o666),
                ("/dev/c", 9, 0o666),
            ],
        ),
    ];
    for (requested, described, wanted) in cases {
        let mut world = World::new();
        world.devices = requested.iter().map(grant).collect();
        world.cdi.devices = described.iter().map(grant).collect();
        let spec = world.build().unwrap();
        let nodes = linux(&spec).devices().clone().unwrap();
        let found: Vec<_> = nodes
            .iter()
            .map(|node| {
                (
                    node.path().to_str().unwrap(),
                    node.minor(),
                    node.file_mode(),
                )
            })
            .collect();
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(path, minor, mode)| (*path, i64::from(*minor), Some(*mode)))
            .collect();
        assert_eq!(found, wanted, "{requested:?} {described:?}");
        let resources = linux(&spec).resources().clone().unwrap();
        let rules = resources.devices().clone().unwrap();
        for (_, minor, _) in requested.iter().chain(*described) {
            let rule = format!("c 1:{minor} rw");
            assert!(
                rules.iter().any(|found| found.to_string() == rule),
                "{rule}"
            );
        }
    }
}

#[test]
fn labels_of_security_modules() {
    let mut world = World::new();
    world.container.security.apparmor = AppArmorChoice::RuntimeDefault;
    assert_eq!(process(&world.build().unwrap()).apparmor_profile(), &None);
    world.container.security.apparmor = AppArmorChoice::Localhost("mine".into());
    assert!(matches!(world.build(), Err(SpecError::Unsupported { .. })));
    world.host.apparmor = true;
    assert_eq!(
        process(&world.build().unwrap())
            .apparmor_profile()
            .as_deref(),
        Some("mine")
    );

    world.pod.security.selinux = Some(SelinuxOptions {
        user: "system_u".into(),
        role: "system_r".into(),
        kind: "container_t".into(),
        level: "s0:c1,c2".into(),
    });
    assert_eq!(process(&world.build().unwrap()).selinux_label(), &None);
    world.host.selinux = true;
    let spec = world.build().unwrap();
    let label = process(&spec).selinux_label().as_deref();
    assert_eq!(label, Some("system_u:system_r:container_t:s0:c1,c2"));
}

/// Options are OCI's (cri-api v0.37.2, `Mount.mount_options`), which are about the volume's own mount (runc 1.5.3
/// applies only those that begin with an `r` to the mounts below). A recursively read-only tree has them all
/// below as well: never less than what was asked for.
#[test]
fn options_of_volumes_follow_their_access() {
    use crate::spec::MountOption::{NoDev, NoExec, NoSuid};
    use VolumeAccess::{ReadOnly, ReadWrite, RecursiveReadOnly};
    let options = |access, asked: &[crate::spec::MountOption]| {
        let mut world = World::new();
        let volume = world.volume("/c", "/h");
        volume.access = access;
        volume.options = asked.to_vec();
        mount_at(&world.build().unwrap(), "/c").2.join(",")
    };
    let all = [NoExec, NoDev, NoSuid];
    let cases = [
        (ReadWrite, &all[..0], "rbind,rprivate,rw"),
        (ReadWrite, &all[..1], "rbind,rprivate,rw,noexec"),
        (ReadOnly, &all, "rbind,rprivate,ro,noexec,nodev,nosuid"),
        (RecursiveReadOnly, &all[..0], "rbind,rprivate,rro"),
        (
            RecursiveReadOnly,
            &all,
            "rbind,rprivate,rro,rnoexec,rnodev,rnosuid",
        ),
    ];
    for (access, asked, wanted) in cases {
        assert_eq!(options(access, asked), wanted);
    }
    let mut world = World::new();
    let volume = world.volume("/c", "/h");
    volume.propagation = crate::spec::VolumePropagation::Bidirectional;
    volume.options = vec![NoSuid];
    let (.., found) = mount_at(&world.build().unwrap(), "/c");
    assert_eq!(found, ["rbind", "rshared", "rw", "nosuid"]);
}
