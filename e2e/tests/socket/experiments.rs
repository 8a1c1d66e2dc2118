//! What the CRI has no field for: a pod in another pod's network, clocks of its own, namespaces by container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use cri_api::runtime::v1::{
    Capability, ContainerState, IdMapping, NamespaceMode, PodSandboxConfig, PodSandboxState,
    PortMapping, UserNamespace,
};
use e2e::call::until;
use e2e::daemon::Options;
use e2e::evidence::{self, namespace};
use e2e::reboot::RunDir;
use e2e::request::{BUSYBOX, ContainerParts, PodParts, idle, shell};
use e2e::{Container, Daemon, Pod, cni, fails};
use serde_json::{Value, json};
use tonic::Code;

const PREFIX: &str = "experiments.holdfast.internal/";

/// How long things in the background may take.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(15);

fn options() -> Options {
    let all = ["join-network", "time-offsets", "namespaces"];
    let all = all.map(toml::Value::from).to_vec();
    Options::default().set("experiments.allow", all)
}

/// A pod with experiments.
fn config(daemon: &Daemon, name: &str, experiments: &[(&str, &str)]) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    let experiments = experiments.iter();
    let experiments =
        experiments.map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
    config.annotations.extend(experiments);
    config
}

fn joiner<'d>(daemon: &'d Daemon, name: &str, other: &str) -> Pod<'d> {
    daemon.run(config(daemon, name, &[("join-network", other)]))
}

/// The namespace of the test, which is the host's.
fn host(kind: &str) -> u64 {
    namespace(i32::try_from(std::process::id()).unwrap(), kind)
}

fn is_ready(pod: &Pod<'_>) -> bool {
    pod.status().state() == PodSandboxState::SandboxReady
}

fn runs(container: &Container<'_>) -> bool {
    container.status().state() == ContainerState::ContainerRunning
}

fn connected(pod: &Pod<'_>) -> Value {
    pod.info()["experiments"]["joinNetwork"]["connected"].clone()
}

/// Names of the interfaces that a container sees.
fn interfaces(container: &Container<'_>) -> String {
    container.sh("ls /sys/class/net | sort | tr '\n' ' '")
}

#[test]
fn a_pod_in_the_network_of_another_one() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    let server = owner.start(shell(
        "server",
        "while :; do echo hello | nc -l -p 80; done",
    ));
    let by_name = joiner(&daemon, "by-name", "e2e/owner");
    let by_id = joiner(&daemon, "by-id", &owner.id[..12]);
    // One that joins a joiner is in the network of its owner.
    let third = joiner(&daemon, "third", "e2e/by-name");
    assert!(!owner.ip().is_empty());
    for pod in [&by_name, &by_id, &third] {
        assert_eq!(pod.status().network, owner.status().network);
        let client = pod.start(idle("client"));
        for pid in [pod.pause(), client.pid()] {
            assert_eq!(namespace(pid, "net"), namespace(owner.pause(), "net"));
            for kind in ["uts", "ipc"] {
                assert_ne!(
                    namespace(pid, kind),
                    namespace(owner.pause(), kind),
                    "{kind}"
                );
                assert_ne!(namespace(pid, kind), host(kind), "{kind}");
            }
        }
        assert_eq!(client.sh("ip addr"), server.sh("ip addr"));
        assert_eq!(client.sh("nc -w 5 127.0.0.1 80 </dev/null"), "hello\n");
        let name = pod.config.hostname.clone();
        assert_eq!(client.sh("hostname"), format!("{name}\n"));
        let info = pod.info();
        let joined = json!({ "podSandboxId": owner.id, "connected": true });
        assert_eq!(info["experiments"]["joinNetwork"], joined);
        let pinned = info["netnsPath"].as_str().unwrap();
        assert_eq!(
            fs::metadata(pinned).unwrap().ino(),
            namespace(owner.pause(), "net")
        );
    }
    assert_eq!(owner.info()["experiments"], Value::Null);
    let pins = fs::read_dir(daemon.place.netns()).unwrap().count();
    assert_eq!(pins, 1, "a joiner has a pin of its own");
    // The end of a joiner is no concern of the owner's.
    by_name.remove();
    by_id.stop();
    let late = owner.start(idle("late"));
    assert_eq!(late.sh("nc -w 5 127.0.0.1 80 </dev/null"), "hello\n");
    assert_eq!(connected(&third), true);
}

/// As with docker's `--net=container:`, the joiner keeps the loopback interface.
#[test]
fn the_end_of_the_owner_leaves_the_joiner_with_loopback() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    let pod = joiner(&daemon, "joiner", "e2e/owner");
    let client = pod.start(idle("client"));
    assert_eq!(interfaces(&client), "eth0 lo ");
    let ip = owner.ip();
    assert_eq!(pod.ip(), ip);

    owner.stop();
    until("the end of eth0", BACKGROUND_DEADLINE, || {
        (interfaces(&client) == "lo ").then_some(())
    });
    assert!(is_ready(&pod) && runs(&client));
    assert_eq!(
        (pod.ip().as_str(), connected(&pod)),
        ("", Value::from(false))
    );
    client.sh("echo hello | nc -l -p 80 & sleep 1; nc -w 5 127.0.0.1 80 </dev/null | grep hello");
    let words = ["join-network", "e2e/joiner", "has ended"];
    let late = config(&daemon, "late", &[("join-network", "e2e/joiner")]);
    fails(daemon.try_run(&late), Code::FailedPrecondition, &words);

    owner.remove();
    daemon.kill9();
    daemon.restart();
    assert!(is_ready(&pod) && runs(&client));
    assert_eq!(
        (pod.ip().as_str(), connected(&pod)),
        ("", Value::from(false))
    );
    assert_eq!(client.sh("hostname"), "joiner\n");
    // A new pod of that name, with that address, is another one.
    let again = daemon.run_named("owner");
    assert_eq!(connected(&pod), false);
    assert_ne!(
        namespace(again.pause(), "net"),
        namespace(pod.pause(), "net")
    );
    pod.remove();
}

#[test]
fn joiners_survive_the_daemon() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    let pod = joiner(&daemon, "joiner", "e2e/owner");
    let client = pod.start(idle("client"));
    let (ip, net) = (owner.ip(), namespace(owner.pause(), "net"));
    for _ in 0..2 {
        daemon.kill9();
        daemon.restart();
        assert!(is_ready(&owner) && is_ready(&pod) && runs(&client));
        assert_eq!((pod.ip(), connected(&pod)), (ip.clone(), Value::from(true)));
        let later = joiner(&daemon, "later", "e2e/joiner");
        assert_eq!(namespace(later.pause(), "net"), net);
        later.remove();
    }
    // The same request again is answered with the pod, even when the owner is gone.
    owner.stop();
    assert_eq!(daemon.try_run(&pod.config).unwrap(), pod.id);
    daemon.kill9();
    daemon.restart();
    client.stop(0);
    pod.remove();
}

/// The pod to be joined is of a release whose shims are not understood: nothing of it is touched.
#[test]
fn a_pod_of_another_release_cannot_be_joined() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    let first = joiner(&daemon, "first", "e2e/owner");
    let client = first.start(idle("client"));
    let record = daemon.place.run().join("pods").join(&owner.id);
    let record = record.join("pod.json");
    daemon.kill9();
    let mut data: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    data["data"]["protocols"] = json!({ "oldest": 99, "newest": 99 });
    fs::write(&record, data.to_string()).unwrap();
    daemon.restart();
    assert!(is_ready(&owner) && is_ready(&first) && runs(&client));
    assert_eq!(first.ip(), owner.ip());
    let late = config(&daemon, "late", &[("join-network", "e2e/owner")]);
    let words = ["network namespace of the pod", "protocol 99"];
    fails(daemon.try_run(&late), Code::FailedPrecondition, &words);
    assert_eq!(daemon.pods().len(), 2);
    assert_eq!(interfaces(&client), "eth0 lo ");
}

/// The shim of the pod that was joined is killed: its pod ends, and nothing else does.
#[test]
fn a_joiner_outlives_the_shim_of_the_pod_that_it_joined() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    owner.start(idle("c"));
    let pod = joiner(&daemon, "joiner", "e2e/owner");
    let client = pod.start(idle("client"));
    let shim = owner.info()["shimPid"].as_i64().unwrap();
    e2e::program::sh(&format!("kill -KILL {shim}"));
    until("the end of the owner", BACKGROUND_DEADLINE, || {
        (!is_ready(&owner)).then_some(())
    });
    until("the end of eth0", BACKGROUND_DEADLINE, || {
        (interfaces(&client) == "lo ").then_some(())
    });
    assert!(is_ready(&pod) && runs(&client));
    assert_eq!(connected(&pod), false);
    owner.remove();
    pod.remove();
}

#[test]
fn a_reboot_ends_owner_and_joiner() {
    let daemon = Daemon::with(options());
    let owner = daemon.run_named("owner");
    let pod = joiner(&daemon, "joiner", "e2e/owner");
    let client = pod.start(idle("client"));
    std::thread::sleep(Duration::from_millis(2500));
    daemon.kill9();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    until("both pods are not ready", BACKGROUND_DEADLINE, || {
        (!is_ready(&owner) && !is_ready(&pod)).then_some(())
    });
    assert_eq!(client.status().reason, "NodeRebooted");
    assert_eq!(
        (pod.ip().as_str(), connected(&pod)),
        ("", Value::from(false))
    );
    pod.remove();
    owner.remove();
}

#[test]
fn plugins_are_not_called_for_a_joiner() {
    let (daemon, plugins) = cni::start(options());
    plugins.spy("spy");
    let list = r#"{ "cniVersion": "1.0.0", "name": "spied", "plugins": [{ "type": "spy" }] }"#;
    plugins.configure("10-spy.conflist", list);
    let owner = daemon.run_named("owner");
    let before = plugins.order();
    let pod = joiner(&daemon, "joiner", "e2e/owner");
    pod.start(idle("c"));
    assert_eq!(pod.ip(), owner.ip());
    pod.remove();
    assert_eq!(plugins.order(), before, "a plugin was called");
    owner.remove();
}

#[test]
fn what_a_joiner_cannot_have_is_refused_by_its_field() {
    let daemon = Daemon::with(options());
    daemon.provide(BUSYBOX);
    let owner = daemon.run_named("owner");
    let mut node = daemon.pod("node");
    node.namespaces().network = NamespaceMode::Node.into();
    daemon.run(node);
    let refused = |change: &dyn Fn(&mut PodSandboxConfig), code: Code, words: &[&str]| {
        let mut asked = config(&daemon, "joiner", &[("join-network", "e2e/owner")]);
        change(&mut asked);
        fails(daemon.try_run(&asked), code, words);
        assert_eq!(daemon.pods().len(), 2, "{words:?}");
    };
    let key = format!("{PREFIX}join-network");
    let other = |value: &'static str| {
        let key = key.clone();
        move |config: &mut PodSandboxConfig| {
            _ = config.annotations.insert(key.clone(), value.into())
        }
    };
    let invalid = Code::InvalidArgument;
    let port = PortMapping {
        host_port: 8080,
        container_port: 80,
        ..PortMapping::default()
    };
    refused(
        &|config| config.port_mappings = vec![port.clone()],
        invalid,
        &["port_mappings[0].host_port", &key],
    );
    refused(
        &|config| config.namespaces().network = NamespaceMode::Node.into(),
        invalid,
        &["namespace_options.network", &key],
    );
    let bandwidth = "kubernetes.io/ingress-bandwidth";
    refused(
        &|config| _ = config.annotations.insert(bandwidth.into(), "10M".into()),
        invalid,
        &[bandwidth],
    );
    let sysctl = "net.ipv4.ip_forward";
    refused(
        &|config| _ = config.linux().sysctls.insert(sysctl.into(), "1".into()),
        invalid,
        &[sysctl],
    );
    let precondition = Code::FailedPrecondition;
    refused(
        &other("e2e/none"),
        precondition,
        &[&key, "e2e/none", "run it first"],
    );
    refused(
        &other("ffffffffffff"),
        precondition,
        &[&key, "ffffffffffff", "not known"],
    );
    refused(&other("e2e/joiner"), precondition, &[&key, "run it first"]);
    refused(&other("e2e/node"), precondition, &[&key, "hostNetwork"]);
    refused(&other("owner"), invalid, &[&key, "owner", "NAMESPACE/NAME"]);
    owner.stop();
    refused(
        &other("e2e/owner"),
        precondition,
        &["e2e/owner", "run it first"],
    );
}

#[test]
fn experiments_are_off_unless_the_node_allows_them() {
    let allowed = vec![toml::Value::from("namespaces")];
    let daemon = Daemon::with(Options::default().set("experiments.allow", allowed));
    for (key, value) in [
        ("join-network", "e2e/owner"),
        ("time-offsets", "boottime=1s"),
    ] {
        let asked = config(&daemon, "refused", &[(key, value)]);
        let key = format!("{PREFIX}{key}");
        let words = [key.as_str(), value, "experiments.allow"];
        fails(daemon.try_run(&asked), Code::FailedPrecondition, &words);
    }
    for (key, value, word) in [
        ("time-travel", "1", "no such experiment"),
        ("time-offsets", "boottime=1h", "such as -3600s"),
        ("namespaces.web", "net=own", "uts=own|pod"),
    ] {
        let asked = config(&daemon, "refused", &[(key, value)]);
        let key = format!("{PREFIX}{key}");
        fails(
            daemon.try_run(&asked),
            Code::InvalidArgument,
            &[&key, value, word],
        );
    }
    assert!(daemon.pods().is_empty());
    let state = fs::read_dir(daemon.place.run().join("pods"))
        .unwrap()
        .count();
    assert_eq!(state, 0, "something of a refused pod is left");
    daemon.run(config(&daemon, "allowed", &[("namespaces.web", "uts=own")]));
}

/// Seconds since boot as a file of procfs says.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn host_uptime() -> f64 {
    uptime(&fs::read_to_string("/proc/uptime").unwrap())
}

#[test]
fn a_pod_has_clocks_of_its_own() {
    const DAY: f64 = 86_400.0;
    let daemon = Daemon::with(options());
    let offsets = "boottime=86400s monotonic=1500000000ns";
    let pod = daemon.run(config(&daemon, "clocks", &[("time-offsets", offsets)]));
    let run = pod.start(shell("c", "cat /proc/uptime; exec sleep 100000"));
    run.wait_for(".");
    let ahead = |text: &str| {
        let ahead = uptime(text) - host_uptime();
        assert!((DAY - 60.0..DAY + 60.0).contains(&ahead), "{ahead}");
    };
    ahead(&run.stdout());
    ahead(&run.sh("cat /proc/uptime"));
    let written = run.sh("cat /proc/self/timens_offsets");
    let words: Vec<&str> = written.split_whitespace().collect();
    assert_eq!(
        words,
        ["monotonic", "1", "500000000", "boottime", "86400", "0"]
    );
    let time = namespace(pod.pause(), "time");
    assert_ne!(time, host("time"));
    assert_eq!(namespace(run.pid(), "time"), time);
    let shown = daemon.namespaces(&pod.id);
    assert!(
        shown.iter().all(|of| of.inodes.get("time") == Some(&time)),
        "{shown:?}"
    );
    // What the shim starts otherwise is in the host's.
    let shim = i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap();
    assert_eq!(namespace(shim, "time"), host("time"));
    assert_eq!(namespace(shim, "time_for_children"), host("time"));
    let other = daemon.run_named("other").start(idle("c"));
    assert_eq!(namespace(other.pid(), "time"), host("time"));

    // The daemon knows processes by their start, as the host counts.
    let started = Duration::from_nanos(u64::try_from(run.status().started_at).unwrap());
    assert!(UNIX_EPOCH.elapsed().unwrap() - started < Duration::from_secs(600));
    daemon.kill9();
    daemon.restart();
    assert!(is_ready(&pod) && runs(&run));
    ahead(&run.sh("cat /proc/uptime"));
    let second = pod.start(shell("d", "cat /proc/uptime; exec sleep 100000"));
    second.wait_for(".");
    ahead(&second.stdout());
    assert_eq!(
        pod.info()["experiments"]["timeOffsets"]["boottime"],
        86_400_000_000_000_i64
    );
    run.stop(1);
    assert!(evidence::is_alive(second.pid()) && runs(&second));
    pod.remove();
}

/// The pause is then process 1 of the pod's pid namespace as well.
#[test]
fn clocks_and_processes_of_one_pod() {
    let daemon = Daemon::with(options());
    let mut asked = config(&daemon, "both", &[("time-offsets", "boottime=86400s")]);
    asked.namespaces().pid = NamespaceMode::Pod.into();
    let pod = daemon.run(asked);
    let mut container = idle("c");
    container.namespaces().pid = NamespaceMode::Pod.into();
    let run = pod.start(container);
    for kind in ["pid", "time"] {
        assert_eq!(
            namespace(run.pid(), kind),
            namespace(pod.pause(), kind),
            "{kind}"
        );
        assert_ne!(namespace(run.pid(), kind), host(kind), "{kind}");
    }
    assert!(run.sh("ps").contains("sleep 100000"));
    assert!(uptime(&run.sh("cat /proc/uptime")) > host_uptime() + 80_000.0);
}

#[test]
fn clocks_go_back_at_most_to_their_zero() {
    let daemon = Daemon::with(options());
    daemon.provide(BUSYBOX);
    let asked = config(
        &daemon,
        "early",
        &[("time-offsets", "monotonic=-999999999s")],
    );
    let words = ["time-offsets", "monotonic", "before 0", "give at least"];
    fails(daemon.try_run(&asked), Code::InvalidArgument, &words);
    assert!(daemon.pods().is_empty());
    let back = host_uptime() - 1.0;
    let offsets = format!("boottime=-{}s", back.trunc());
    let young = daemon.run(config(&daemon, "young", &[("time-offsets", &offsets)]));
    let seconds = uptime(&young.start(idle("c")).sh("cat /proc/uptime"));
    assert!((0.0..60.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_user_namespace_has_clocks_too() {
    let daemon = Daemon::with(options());
    let experiments = [
        ("time-offsets", "boottime=86400s"),
        ("namespaces.c", "uts=own ipc=own cgroup=pod"),
    ];
    let mut asked = config(&daemon, "mapped", &experiments);
    let range = IdMapping {
        host_id: 700_000,
        container_id: 0,
        length: 65_536,
    };
    asked.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    });
    let words = ["userns_options", "join-network"];
    let mut joins = asked.clone();
    joins
        .annotations
        .insert(format!("{PREFIX}join-network"), "e2e/other".into());
    fails(daemon.try_run(&joins), Code::InvalidArgument, &words);
    let pod = daemon.run(asked);
    let mut container = idle("c");
    let capabilities = Capability {
        add_capabilities: vec!["SYS_ADMIN".to_owned()],
        ..Capability::default()
    };
    container.security().capabilities = Some(capabilities);
    let run = pod.start(container);
    // The other way round: root of the host's user namespace in a network that belongs to a lesser one.
    let guest = joiner(&daemon, "guest", "e2e/mapped").start(idle("c"));
    assert_eq!(interfaces(&guest), "eth0 lo ");
    assert_ne!(namespace(run.pid(), "user"), host("user"));
    assert_eq!(namespace(run.pid(), "time"), namespace(pod.pause(), "time"));
    assert_eq!(
        namespace(run.pid(), "cgroup"),
        namespace(pod.pause(), "cgroup")
    );
    assert_ne!(namespace(run.pid(), "ipc"), namespace(pod.pause(), "ipc"));
    assert!(uptime(&run.sh("cat /proc/uptime")) > host_uptime() + 80_000.0);
    run.sh("hostname other; hostname | grep other");
}

#[test]
fn a_container_with_host_name_and_ipc_of_its_own() {
    let daemon = Daemon::with(options());
    let mut asked = config(
        &daemon,
        "shares",
        &[("namespaces.lonely", "uts=own ipc=own")],
    );
    asked
        .linux()
        .sysctls
        .insert("kernel.msgmax".into(), "4096".into());
    let pod = daemon.run(asked);
    let [plain, lonely, other] = ["plain", "lonely", "other"].map(|name| pod.start(idle(name)));
    let pause = pod.pause();
    let same = |container: &Container<'_>, kind: &str| {
        namespace(container.pid(), kind) == namespace(pause, kind)
    };
    for kind in ["uts", "ipc"] {
        assert!(same(&plain, kind) && same(&other, kind), "{kind}");
        assert!(!same(&lonely, kind), "{kind}");
        assert_ne!(namespace(lonely.pid(), kind), host(kind), "{kind}");
    }
    assert!(same(&lonely, "net") && !same(&lonely, "cgroup"));
    // A host name of its own, which begins as the pod's.
    assert_eq!(lonely.sh("hostname"), "shares\n");
    // Shared memory of its own, and without the pod's kernel parameters.
    plain.sh("echo kept > /dev/shm/note");
    assert_eq!(other.sh("cat /dev/shm/note"), "kept\n");
    assert_eq!(lonely.sh("ls /dev/shm; echo mine > /dev/shm/note"), "");
    assert_eq!(plain.sh("cat /dev/shm/note"), "kept\n");
    assert_eq!(plain.sh("cat /proc/sys/kernel/msgmax"), "4096\n");
    assert_ne!(lonely.sh("cat /proc/sys/kernel/msgmax"), "4096\n");
    assert!(lonely.sh("mount").contains("mqueue on /dev/mqueue"));
    assert_eq!(
        lonely.info()["experiments"]["namespaces"],
        json!({ "uts": "own", "ipc": "own" })
    );
    assert_eq!(plain.info()["experiments"], Value::Null);
}

#[test]
fn containers_in_the_cgroup_namespace_of_the_pause_or_of_the_host() {
    let daemon = Daemon::with(options());
    let experiments = [
        ("namespaces.guest", "cgroup=pod"),
        ("namespaces.outside", "cgroup=host uts=pod"),
    ];
    let pod = daemon.run(config(&daemon, "shares", &experiments));
    let created = pod.create(idle("outside"));
    // Started by another daemon than it was created by.
    daemon.kill9();
    daemon.restart();
    created.start();
    let (plain, guest, outside) = (pod.start(idle("plain")), pod.start(idle("guest")), created);
    let own = namespace(pod.pause(), "cgroup");
    assert_eq!(namespace(guest.pid(), "cgroup"), own);
    assert_ne!(namespace(plain.pid(), "cgroup"), own);
    assert_eq!(namespace(outside.pid(), "cgroup"), host("cgroup"));
    assert_ne!(own, host("cgroup"));
    assert_eq!(
        namespace(outside.pid(), "uts"),
        namespace(pod.pause(), "uts")
    );

    // Whose cgroup is the root: of the unified tree, and of that with the memory controller.
    let paths = |container: &Container<'_>| -> Vec<String> {
        let script = "sed -n 's/^0:://p;/:memory:/s/.*://p' /proc/1/cgroup";
        let text = container.sh(script);
        text.lines().map(str::to_owned).collect()
    };
    let all = |container: &Container<'_>, wanted: &str| {
        let paths = paths(container);
        let fits = |path: &String| path == wanted;
        assert!(!paths.is_empty() && paths.iter().all(fits), "{paths:?}");
    };
    all(&guest, &format!("/../{}", guest.id));
    all(&plain, "/");
    let below = daemon.place.cgroup();
    all(&outside, &format!("{below}/{}/{}", pod.id, outside.id));

    let shown = |container: &Container<'_>| {
        let tree =
            format!("cd /sys/fs/cgroup; if [ -d memory ]; then cd memory; fi; [ -d .{below} ]");
        container.exec(&["sh", "-c", &tree]).code == 0
    };
    assert!(shown(&outside) && !shown(&plain) && !shown(&guest));
    let written = outside.exec(&["sh", "-c", "mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x"]);
    assert_ne!(written.code, 0);
}
