//! Which namespaces are shared and which are not, by the kernel's own inode numbers.

use std::fs;

use cri_api::holdfast::v1::process_namespaces::Role;
use cri_api::runtime::v1::{NamespaceMode, PodSandboxConfig};
use e2e::call::until;
use e2e::evidence::{self, namespace};
use e2e::request::{ContainerParts, PodParts, idle, shell};
use e2e::{Container, Daemon, Pod, fails};
use std::time::Duration;
use tonic::Code;

fn own(kind: &str) -> u64 {
    namespace(i32::try_from(std::process::id()).unwrap(), kind)
}

/// A pod and two containers, all with a mode of the pid namespace.
fn pair(daemon: &Daemon, mode: NamespaceMode) -> (Pod<'_>, Container<'_>, Container<'_>) {
    let mut config = daemon.pod("pair");
    config.namespaces().pid = mode.into();
    let pod = daemon.run(config);
    let [a, b] = ["a", "b"].map(|name| {
        let mut config = idle(name);
        config.namespaces().pid = mode.into();
        pod.start(config)
    });
    (pod, a, b)
}

#[test]
fn net_ipc_and_uts_are_the_pods_and_pid_and_mnt_the_containers() {
    let daemon = Daemon::start();
    let (pod, a, b) = pair(&daemon, NamespaceMode::Container);
    let (pause, a, b) = (pod.pause(), a.pid(), b.pid());
    for kind in ["net", "ipc", "uts"] {
        let shared = namespace(pause, kind);
        assert_eq!(
            [namespace(a, kind), namespace(b, kind)],
            [shared, shared],
            "{kind}"
        );
        assert_ne!(shared, own(kind), "{kind} is the host's");
    }
    for kind in ["pid", "mnt", "cgroup"] {
        let all = [namespace(a, kind), namespace(b, kind), own(kind)];
        assert!(
            all[0] != all[1] && all[0] != all[2] && all[1] != all[2],
            "{kind}: {all:?}"
        );
        assert_ne!(namespace(pause, kind), namespace(a, kind), "{kind}");
    }
}

#[test]
fn the_daemons_table_agrees_with_the_kernel() {
    let daemon = Daemon::start();
    let (pod, a, _) = pair(&daemon, NamespaceMode::Container);
    let table = daemon.namespaces(&pod.id);
    assert_eq!(table.len(), 3);
    assert_eq!(table[0].role(), Role::Pause);
    assert_eq!(table[1].name, "a");
    assert_eq!(table[1].id, a.id);
    for process in table {
        for (kind, inode) in &process.inodes {
            let pid = i32::try_from(process.pid).unwrap();
            assert_eq!(*inode, namespace(pid, kind), "{kind} of {}", process.name);
        }
        assert!(process.inodes.len() >= 7, "{:?}", process.inodes);
    }
}

#[test]
fn pid_pod_is_one_namespace_with_the_pause_as_its_first_process() {
    let daemon = Daemon::start();
    let (pod, a, b) = pair(&daemon, NamespaceMode::Pod);
    let shared = namespace(pod.pause(), "pid");
    assert_eq!(
        [namespace(a.pid(), "pid"), namespace(b.pid(), "pid")],
        [shared, shared]
    );
    assert_eq!(
        evidence::status(pod.pause(), "NSpid")
            .split_whitespace()
            .last(),
        Some("1")
    );
    assert!(a.sh("cat /proc/1/cmdline").contains("pause"));
    // Each sees and may signal the processes of the other.
    assert_eq!(
        a.sh("ps").matches("sleep 100000").count(),
        2,
        "{}",
        a.sh("ps")
    );
    assert_ne!(namespace(a.pid(), "mnt"), namespace(b.pid(), "mnt"));
}

#[test]
fn the_pause_reaps_what_a_container_orphans() {
    let daemon = Daemon::start();
    let (pod, a, _) = pair(&daemon, NamespaceMode::Pod);
    a.sh("probe orphan 0");
    let zombies = || {
        let pids = evidence::cgroup(a.pid(), "pids").processes();
        let pids = pids.into_iter().chain(children(pod.pause()));
        // A process that is gone meanwhile does not count.
        let stat = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        pids.filter(|pid| stat(pid).contains(") Z ")).count()
    };
    until("the orphan's end", Duration::from_secs(5), || {
        (zombies() == 0).then_some(())
    });
    // Stray signals do not end it.
    a.sh("kill -HUP 1; kill -CHLD 1; kill -URG 1; kill -USR1 1; sleep 0.1");
    assert!(evidence::is_alive(pod.pause()));
    assert_eq!(a.sh("echo still here"), "still here\n");
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[test]
fn without_namespace_options_the_pid_namespace_is_the_pods() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("crictl");
    config.linux = None;
    let pod = daemon.run(config);
    let mut config = idle("c");
    config.linux = None;
    let container = pod.start(config);
    assert_eq!(
        namespace(container.pid(), "pid"),
        namespace(pod.pause(), "pid")
    );
}

#[test]
fn pid_node_is_the_hosts() {
    let daemon = Daemon::start();
    let (_, a, _) = pair(&daemon, NamespaceMode::Node);
    assert_eq!(namespace(a.pid(), "pid"), own("pid"));
    let seen = a.sh(&format!(
        "cat /proc/{}/cmdline | tr '\\0' ' '",
        daemon.pid()
    ));
    assert!(seen.contains("holdfastd"), "{seen}");
}

#[test]
fn pid_target_is_another_containers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("target");
    let app = pod.start(idle("app"));
    let mut config = shell("debug", "ps; exec sleep 100000");
    config.namespaces().pid = NamespaceMode::Target.into();
    config.namespaces().target_id.clone_from(&app.id);
    let debug = pod.start(config.clone());
    assert_eq!(namespace(debug.pid(), "pid"), namespace(app.pid(), "pid"));
    assert_ne!(namespace(debug.pid(), "mnt"), namespace(app.pid(), "mnt"));
    assert!(debug.sh("ps").contains("sleep 100000"));

    // The one that is joined must run, and be of the same pod.
    app.stop(0);
    config.metadata.as_mut().unwrap().name = "late".into();
    let refused = daemon
        .try_create(&pod.id, &pod.config, &config)
        .and_then(|id| daemon.try_start(&id));
    fails(refused, Code::InvalidArgument, &["target_id"]);
    let other = daemon.run_named("other");
    let app = other.start(idle("app"));
    config.namespaces().target_id.clone_from(&app.id);
    let refused = daemon
        .try_create(&pod.id, &pod.config, &config)
        .and_then(|id| daemon.try_start(&id));
    fails(refused, Code::InvalidArgument, &["target_id"]);
}

/// A container whose target had ended had no Spec in `crictl inspect`, and where it lives on, in a pod with one pid
/// namespace for all, no command ran in it and its limits could not be changed.
#[test]
fn a_container_is_shown_and_used_after_its_target() {
    let daemon = Daemon::start();
    for (name, mode, outlives) in [
        ("own", NamespaceMode::Container, false),
        ("shared", NamespaceMode::Pod, true),
    ] {
        let mut config = daemon.pod(name);
        config.namespaces().pid = mode.into();
        let pod = daemon.run(config);
        let mut config = idle("app");
        config.namespaces().pid = mode.into();
        let app = pod.start(config);
        let mut config = idle("debug");
        config.namespaces().pid = NamespaceMode::Target.into();
        config.namespaces().target_id.clone_from(&app.id);
        let debug = pod.start(config);
        app.stop(0);
        if outlives {
            assert_eq!(debug.sh("echo here").trim(), "here");
        } else {
            debug.wait();
        }
        let info = debug.info();
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
        let mut pid = namespaces
            .into_iter()
            .flatten()
            .filter(|one| one["type"] == "pid");
        let pid = pid
            .next()
            .unwrap_or_else(|| panic!("no pid namespace in {info}"));
        assert!(pid["path"].is_null(), "{info}");
        assert!(info["runtimeSpecError"].is_null(), "{info}");
    }
}

fn node(daemon: &Daemon, name: &str) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    config.namespaces().network = NamespaceMode::Node.into();
    config.namespaces().ipc = NamespaceMode::Node.into();
    config.hostname = String::new();
    config
}

#[test]
fn net_node_and_ipc_node_are_the_hosts() {
    let daemon = Daemon::start();
    let pod = daemon.run(node(&daemon, "host"));
    let mut config = idle("c");
    config.namespaces().network = NamespaceMode::Node.into();
    config.namespaces().ipc = NamespaceMode::Node.into();
    let container = pod.start(config);
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(namespace(container.pid(), kind), own(kind), "{kind}");
    }
    assert_ne!(namespace(container.pid(), "mnt"), own("mnt"));
    assert_eq!(pod.ip(), "", "the host's addresses are not the pod's");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(container.sh("hostname"), name);
    let shm = tempfile::Builder::new()
        .prefix("holdfast-e2e-")
        .tempfile_in("/dev/shm")
        .unwrap();
    container.sh(&format!("test -e {}", shm.path().display()));
}

/// CRI-O gives a pod in the host's network that asks for a name a UTS namespace of its own; containerd refuses it. A
/// kubelet asks for none.
#[test]
fn a_host_name_in_the_hosts_network_is_the_pods_alone() {
    let daemon = Daemon::start();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut config = node(&daemon, "named");
    config.hostname = "box-1.example".to_owned();
    let pod = daemon.run(config);
    let mut config = idle("c");
    config.namespaces().network = NamespaceMode::Node.into();
    let container = pod.start(config.clone());
    let names =
        container.sh("hostname; echo $HOSTNAME; cat /etc/hostname /proc/sys/kernel/hostname");
    assert_eq!(names, "box-1.example\n".repeat(4));
    assert_eq!(namespace(container.pid(), "net"), own("net"));
    assert_ne!(namespace(container.pid(), "uts"), own("uts"));
    assert_eq!(
        namespace(container.pid(), "uts"),
        namespace(pod.pause(), "uts")
    );
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
    let longest = "h".repeat(64);
    for (name, right) in [
        ("", true),
        (longest.as_str(), true),
        (&format!("{longest}h"), false),
        ("two words", false),
        ("b\u{f6}x", false),
        ("a/b", false),
    ] {
        for network in [NamespaceMode::Node, NamespaceMode::Pod] {
            let mut config = daemon.pod("tried");
            config.hostname = name.to_owned();
            config.namespaces().network = network.into();
            match daemon.try_run(&config) {
                Ok(id) => {
                    assert!(right, "{name}");
                    daemon
                        .try_stop_pod(&id)
                        .and_then(|()| daemon.try_remove_pod(&id))
                        .unwrap();
                }
                Err(status) => {
                    assert!(
                        !right && status.message().contains("hostname"),
                        "{name}: {status}"
                    );
                    assert_eq!(status.code(), Code::InvalidArgument);
                }
            }
        }
    }
}

#[test]
fn shared_memory_is_seen_by_both_containers_and_not_by_the_host() {
    let daemon = Daemon::start();
    let (pod, a, b) = pair(&daemon, NamespaceMode::Container);
    a.sh("probe shm-sysv write 4711 'over system five'");
    assert_eq!(b.sh("probe shm-sysv read 4711").trim(), "over system five");
    a.sh("probe shm-posix write /hello 'over posix'");
    assert_eq!(b.sh("probe shm-posix read /hello").trim(), "over posix");
    a.sh("probe mqueue write /queue 'over a queue'");
    assert_eq!(b.sh("probe mqueue read /queue").trim(), "over a queue");
    assert!(!fs::exists("/dev/shm/hello").unwrap());
    let other = daemon.run_named("other").start(idle("c"));
    assert_ne!(other.exec(&["probe", "shm-sysv", "read", "4711"]).code, 0);
    assert_ne!(
        other.exec(&["probe", "shm-posix", "read", "/hello"]).code,
        0
    );
    let size = a
        .sh("df -k /dev/shm | tail -n1")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    assert_eq!(size, "65536", "64 MiB as other runtimes have it");
    // It outlives the containers, as the pod does.
    a.remove();
    b.remove();
    assert_eq!(
        pod.start(idle("later"))
            .sh("probe shm-posix read /hello")
            .trim(),
        "over posix"
    );
}

#[test]
fn the_hostname_is_the_pods_everywhere() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("pod");
    config.hostname = "a-name-of-its-own".into();
    let pod = daemon.run(config);
    let [a, b] = ["a", "b"].map(|name| pod.start(idle(name)));
    for container in [&a, &b] {
        assert_eq!(container.sh("hostname"), "a-name-of-its-own\n");
        assert_eq!(container.sh("cat /etc/hostname"), "a-name-of-its-own\n");
        assert_eq!(container.sh("echo $HOSTNAME"), "a-name-of-its-own\n");
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(name.trim(), "a-name-of-its-own");
}

#[test]
fn a_pod_without_a_hostname_has_the_nodes() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("pod");
    config.hostname = String::new();
    let container = daemon.run(config).start(idle("c"));
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(container.sh("hostname"), name);
}

#[test]
fn no_descriptor_of_the_host_survives_into_a_container() {
    let daemon = Daemon::start();
    let container = daemon.run_named("fds").start(idle("c"));
    let fds = container.sh("probe fds");
    for line in fds.lines() {
        let (number, target) = line.split_once(' ').unwrap();
        assert!(number.parse::<u32>().unwrap() <= 2, "{fds}");
        assert!(
            target.starts_with("pipe:") || target == "/dev/null",
            "{fds}"
        );
    }
    let names = fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap();
    assert_eq!(names.count(), 3);
}

#[test]
fn the_environment_of_the_daemon_does_not_reach_a_container() {
    let daemon = Daemon::start();
    let container = daemon.run_named("env").start(idle("c"));
    let environment = fs::read_to_string(format!("/proc/{}/environ", container.pid())).unwrap();
    let mut names: Vec<_> = environment
        .split('\0')
        .filter_map(|pair| Some(pair.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    let known = ["HOME", "HOSTNAME", "PATH"];
    assert!(
        names.iter().all(|name| known.contains(name)),
        "{environment:?}"
    );
}

/// Scripts read the path at which the network can be entered in `inspectp`; containerd and CRI-O give the pinned
/// one. Of a pod that has been stopped, or whose pause was killed, there is no path at all.
#[test]
fn specs_name_the_pinned_network_and_nothing_that_has_ended() {
    let daemon = Daemon::start();
    let (pod, a, _b) = pair(&daemon, NamespaceMode::Pod);
    let path = |info: &serde_json::Value, kind: &str| {
        let all = info["runtimeSpec"]["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .clone();
        let found = all.into_iter().find(|one| one["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {info}"))["path"].clone()
    };
    let info = pod.info();
    let pinned = info["netnsPath"].as_str().unwrap().to_owned();
    for info in [&info, &a.info()] {
        assert_eq!(path(info, "network"), pinned.as_str());
    }
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&pinned).unwrap());
    assert_eq!(inode, namespace(pod.pause(), "net"));
    let pause = pod.pause();
    assert_eq!(path(&a.info(), "ipc"), format!("/proc/{pause}/ns/ipc"));
    pod.stop();
    for info in [pod.info(), a.info()] {
        assert!(path(&info, "network").is_null(), "{info}");
        let text = info.to_string();
        assert!(
            !text.contains("/proc/0/") && !text.contains(&format!("/proc/{pause}/")),
            "{text}"
        );
    }
    assert!(pod.info()["netnsPath"].is_null());
    let shown = daemon.holdfast(&["inspect", "pair"]).ok();
    assert!(!shown.contains("/proc/0/"), "{shown}");
}
