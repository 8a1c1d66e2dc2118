//! Pods with a user namespace of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::time::Duration;

use cri_api::runtime::v1::{
    IdMapping, Int64Value, LinuxContainerSecurityContext, Mount, NamespaceMode, PodSandboxConfig,
    StatusRequest, UserNamespace,
};
use e2e::evidence;
use e2e::program::{run, tool};
use e2e::request::{ContainerParts, PodParts, idle, mount, shell};
use e2e::{Daemon, Pod, call, skip};
use tonic::Code;

/// Where the pod's ids begin on the host, and how many they are.
const HOST_ID: u32 = 700_000;
const LENGTH: u32 = 65_536;

fn range(container_id: u32, host_id: u32) -> IdMapping {
    IdMapping {
        host_id,
        container_id,
        length: LENGTH,
    }
}

fn mapped() -> UserNamespace {
    UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range(0, HOST_ID)],
        gids: vec![range(0, HOST_ID)],
    }
}

fn config(daemon: &Daemon, name: &str) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    config.namespaces().userns_options = Some(mapped());
    config
}

fn pod<'d>(daemon: &'d Daemon, name: &str) -> Pod<'d> {
    daemon.run(config(daemon, name))
}

/// A process in the host's namespaces.
fn host() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn owned_volume(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    let dir = daemon.place.dir.join("volumes").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn root_of_the_pod_is_nobody_on_the_host() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let container = pod.start(idle("c"));
    assert_eq!(
        container.sh("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '"),
        format!(" 0 {HOST_ID} {LENGTH}\n 0 {HOST_ID} {LENGTH}\n")
    );
    assert_eq!(container.sh("id -u; id -g"), "0\n0\n");
    let (pause, pid) = (pod.pause(), container.pid());
    for process in [pause, pid] {
        let uid = evidence::status(process, "Uid");
        assert_eq!(uid.split_whitespace().next(), Some("700000"), "{uid}");
    }
    for kind in ["user", "net", "ipc", "uts"] {
        let inode = evidence::namespace(pause, kind);
        assert_eq!(inode, evidence::namespace(pid, kind), "{kind}");
        assert_ne!(inode, evidence::namespace(host(), kind), "{kind}");
    }
    let shown = daemon.holdfast(&["ns", &pod.id]);
    assert!(shown.stdout.contains("user"), "{}", shown.stdout);
    let options = pod.status().linux.unwrap().namespaces.unwrap().options;
    assert_eq!(options.unwrap().userns_options, Some(mapped()));
}

#[test]
fn files_of_the_image_and_of_the_pod_belong_to_its_root() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let container = pod.start(idle("c"));
    let owners =
        "stat -c %u:%g / /bin /bin/sh /etc/hosts /etc/resolv.conf /dev /dev/null /dev/shm /proc/1";
    assert_eq!(container.sh(owners), "0:0\n".repeat(9));
    container.sh("echo x > /file && mkdir /d && chown 7:8 /file && cat /file");
    container.sh("echo '10.0.0.9 other' >> /etc/hosts && touch /dev/shm/x /dev/x");
    assert_eq!(container.sh("stat -c %u:%g /file"), "7:8\n");
    let upper = daemon
        .place
        .root()
        .join("containers")
        .join(&container.id)
        .join("upper");
    let file = fs::metadata(upper.join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (HOST_ID + 7, HOST_ID + 8));
}

#[test]
fn devices_and_standard_streams_can_be_opened() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let container = pod.start(shell(
        "c",
        "echo err > /dev/stderr; echo out > /dev/stdout; sleep 1000",
    ));
    container.wait_for("out");
    // The streams are two pipes: which is read first is the shim's affair.
    let patience = Duration::from_secs(20);
    call::until("what it wrote to standard error", patience, || {
        (container.stderr() == "err\n").then_some(())
    });
    container
        .sh("echo x > /dev/null; head -c 4 /dev/zero; head -c 4 /dev/urandom > /dev/full || true");
    assert_eq!(container.sh("echo again > /dev/stdout"), "again\n");
    assert_ne!(container.exec(&["mknod", "/n", "c", "1", "3"]).code, 0);

    let mut config = shell("tty", "tty && stat -c %u /dev/console && test -t 0");
    config.tty = true;
    let out = pod.output(config);
    assert!(out.contains("/dev/") && out.contains('0'), "{out}");
}

#[test]
fn the_namespaces_of_the_pod_are_its_roots_to_change() {
    let daemon = Daemon::start();
    let mut wanted = config(&daemon, "userns");
    let sysctl = ("net.ipv4.ip_local_port_range", "2000 2100");
    wanted
        .linux()
        .sysctls
        .insert(sysctl.0.to_owned(), sysctl.1.to_owned());
    let pod = daemon.run(wanted);
    let mut config = idle("c");
    config
        .security()
        .capabilities
        .get_or_insert_default()
        .add_capabilities = vec!["NET_ADMIN".to_owned(), "SYS_ADMIN".to_owned()];
    let container = pod.start(config);
    container.sh("ip link set lo mtu 1400 && ip addr add 10.99.0.1/32 dev lo");
    container.sh("hostname other && mkdir /m && mount -t tmpfs none /m && touch /m/x");
    let range = container.sh("cat /proc/sys/net/ipv4/ip_local_port_range");
    assert_eq!(range, "2000\t2100\n");
    let hosts = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(hosts, "other\n");
    let ip = pod.ip();
    assert!(container.sh("ip addr").contains(&ip), "{ip}");
}

#[test]
fn pid_namespaces_work_as_in_other_pods() {
    let daemon = Daemon::start();
    let mut wanted = config(&daemon, "userns");
    wanted.namespaces().pid = NamespaceMode::Pod.into();
    let pod = daemon.run(wanted);
    let mut shared = idle("shared");
    shared.namespaces().pid = NamespaceMode::Pod.into();
    let shared = pod.start(shared);
    assert!(shared.sh("cat /proc/1/comm").contains("holdfast-pause"));
    let own = pod.start(idle("own"));
    assert_eq!(own.sh("cat /proc/1/comm"), "sleep\n");
    let mut target = shell("target", "cat /proc/1/comm");
    target.namespaces().pid = NamespaceMode::Target.into();
    target.namespaces().target_id = own.id.clone();
    assert_eq!(pod.output(target), "sleep\n");
}

#[test]
fn a_privileged_container_is_privileged_in_its_pod_only() {
    let daemon = Daemon::start();
    let mut wanted = config(&daemon, "userns");
    wanted.security().privileged = true;
    let pod = daemon.run(wanted);
    let mut config = idle("c");
    config.security().privileged = true;
    let container = pod.start(config);
    let effective = evidence::capabilities(container.pid(), "CapEff");
    assert!(effective.count_ones() > 35, "{effective:#x}");
    container.sh("mkdir -p /m && mount -t tmpfs none /m && ls /sys/fs/cgroup");
    let out = container.exec(&["sh", "-c", "echo 1 > /proc/sys/kernel/panic"]);
    assert_ne!(out.code, 0);
    assert_eq!(
        evidence::namespace(container.pid(), "user"),
        evidence::namespace(pod.pause(), "user")
    );
}

#[test]
fn the_hosts_network_goes_with_a_user_namespace() {
    let daemon = Daemon::start();
    let mut wanted = config(&daemon, "userns");
    wanted.namespaces().network = NamespaceMode::Node.into();
    wanted.hostname.clear();
    let pod = daemon.run(wanted);
    let mut config = idle("c");
    config.namespaces().network = NamespaceMode::Node.into();
    let container = pod.start(config);
    let pid = container.pid();
    assert_eq!(
        evidence::namespace(pid, "net"),
        evidence::namespace(host(), "net")
    );
    assert_ne!(
        evidence::namespace(pid, "user"),
        evidence::namespace(host(), "user")
    );
    container.sh("ls /sys/class/net/lo /sys/fs/cgroup");
    assert_ne!(container.exec(&["touch", "/sys/x"]).code, 0);
    assert_ne!(
        container
            .exec(&["ip", "link", "set", "lo", "mtu", "1400"])
            .code,
        0
    );
}

#[test]
fn users_and_groups_are_those_of_the_namespace() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let mut config = idle("c");
    *config.security() = LinuxContainerSecurityContext {
        run_as_user: Some(Int64Value { value: 1000 }),
        run_as_group: Some(Int64Value { value: 1001 }),
        supplemental_groups: vec![1002],
        ..config.security().clone()
    };
    let container = pod.start(config.clone());
    assert_eq!(
        container.sh("id -u; id -g; id -G"),
        "1000\n1001\n1001 1002\n"
    );
    let groups = evidence::status(container.pid(), "Groups");
    assert_eq!(groups.trim(), "701001 701002");
    let user = container.status().user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid), (1000, 1001));

    config.metadata.as_mut().unwrap().name = "beyond".to_owned();
    config.security().supplemental_groups = vec![i64::from(LENGTH)];
    let status = daemon
        .try_create(&pod.id, &pod.config, &config)
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("supplemental_groups"), "{status}");
    config.security().run_as_user = Some(Int64Value { value: 70_000 });
    let status = daemon
        .try_create(&pod.id, &pod.config, &config)
        .unwrap_err();
    assert!(status.message().contains("70000"), "{status}");
}

#[test]
fn a_volume_is_mapped_when_the_request_says_so() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let dir = owned_volume(&daemon, "v");
    fs::write(dir.join("file"), "x").unwrap();
    chown(dir.join("file"), Some(5), Some(6)).unwrap();
    let plain = mount(&dir, "/plain");
    let mapping = mapped();
    let with_map = Mount {
        uid_mappings: mapping.uids.clone(),
        gid_mappings: mapping.gids.clone(),
        ..mount(&dir, "/mapped")
    };
    let mut config = idle("c");
    config.mounts = vec![plain, with_map.clone()];
    let container = pod.start(config);
    let owners = container.sh("stat -c %u:%g /mapped/file /plain/file");
    assert_eq!(owners, "5:6\n65534:65534\n");
    container.sh("touch /mapped/made");
    let made = fs::metadata(dir.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
    assert_ne!(container.exec(&["touch", "/plain/made"]).code, 0);

    let mut config = idle("other");
    config.mounts = vec![Mount {
        uid_mappings: vec![range(0, 1)],
        ..with_map
    }];
    let status = daemon
        .try_create(&pod.id, &pod.config, &config)
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("uidMappings"), "{status}");
}

#[test]
fn a_volume_that_cannot_be_mapped_is_named() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let mapping = mapped();
    let mut config = idle("c");
    // A procfs has no id-mapped mounts on any kernel.
    config.mounts = vec![Mount {
        uid_mappings: mapping.uids,
        gid_mappings: mapping.gids,
        readonly: true,
        ..mount("/proc/sys", "/data")
    }];
    let container = pod.create(config);
    let status = daemon.try_start(&container.id).unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    for word in ["/proc/sys", "proc", "uidMappings"] {
        assert!(status.message().contains(word), "{word}: {status}");
    }
}

#[test]
fn mappings_that_make_no_pod_are_refused() {
    let daemon = Daemon::start();
    let with = |change: &dyn Fn(&mut UserNamespace)| {
        let mut wanted = config(&daemon, "refused");
        change(wanted.namespaces().userns_options.as_mut().unwrap());
        daemon.try_run(&wanted).unwrap_err()
    };
    let two = with(&|user| user.uids.push(range(LENGTH, 1)));
    assert!(two.message().contains("exactly one"), "{two}");
    let rootless = with(&|user| user.gids = vec![range(1, HOST_ID)]);
    assert!(rootless.message().contains("container id 0"), "{rootless}");
    let modes = [NamespaceMode::Container, NamespaceMode::Target].map(|mode| {
        with(&|user| {
            *user = UserNamespace {
                mode: mode.into(),
                ..UserNamespace::default()
            }
        })
    });
    for status in modes.iter().chain([&two, &rootless]) {
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    for host in ["pid", "ipc"] {
        let mut wanted = config(&daemon, "refused");
        let namespaces = wanted.namespaces();
        match host {
            "pid" => namespaces.pid = NamespaceMode::Node.into(),
            _ => namespaces.ipc = NamespaceMode::Node.into(),
        }
        let status = daemon.try_run(&wanted).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(host), "{status}");
    }
    // Users and groups need not have the same ranges.
    let mut wanted = config(&daemon, "different");
    let user = wanted.namespaces().userns_options.as_mut().unwrap();
    user.gids = vec![range(0, 900_000)];
    let pod = daemon.run(wanted);
    let container = pod.start(idle("c"));
    let gid = evidence::status(container.pid(), "Gid");
    assert!(gid.starts_with("900000"), "{gid}");

    let mut other = idle("other");
    let mut mapping = mapped();
    mapping.uids[0].host_id += 1;
    other.namespaces().userns_options = Some(mapping);
    let status = daemon.try_create(&pod.id, &pod.config, &other).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[test]
fn user_namespaces_survive_the_daemon() {
    let daemon = Daemon::start();
    let pod = pod(&daemon, "userns");
    let container = pod.start(idle("c"));
    daemon.kill9();
    daemon.restart();
    assert_eq!(container.sh("id -u"), "0\n");
    let later = pod.start(idle("later"));
    assert_eq!(
        evidence::namespace(later.pid(), "user"),
        evidence::namespace(container.pid(), "user")
    );
    let options = pod.status().linux.unwrap().namespaces.unwrap().options;
    assert_eq!(options.unwrap().userns_options, Some(mapped()));
}

#[test]
fn status_says_that_pods_can_have_user_namespaces() {
    let daemon = Daemon::start();
    let mut runtime = daemon.clients().runtime;
    let status = e2e::call::call(async move { runtime.status(StatusRequest::default()).await });
    let status = status.unwrap();
    let handlers = &status.runtime_handlers;
    let names: Vec<_> = handlers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["", "holdfast"]);
    for handler in handlers {
        let features = handler.features.unwrap();
        assert!(features.user_namespaces && features.recursive_read_only_mounts);
    }
    assert!(status.features.unwrap().user_namespaces_host_network);
}

#[test]
fn the_conformance_tests_agree() {
    let Some(critest) = tool("critest") else {
        skip!("critest is not built: run e2e/tools/install.sh");
    };
    let daemon = Daemon::start();
    let socket = format!("unix://{}", daemon.place.socket().display());
    let arguments = [
        format!("-runtime-endpoint={socket}"),
        format!("-image-endpoint={socket}"),
        "-ginkgo.focus=UserNamespaces".to_owned(),
        "-ginkgo.no-color".to_owned(),
    ];
    let out = run(critest, arguments).ok();
    assert!(out.contains("6 Passed | 0 Failed"), "{out}");
}
