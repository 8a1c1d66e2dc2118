//! Limits, read back from the kernel's own cgroup files, and what happens at them.

use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{
    Device, LinuxContainerResources, UpdateContainerResourcesRequest,
    UpdatePodSandboxResourcesRequest,
};
use e2e::evidence::{self, cgroup};
use e2e::request::{self, ContainerParts, container, idle, shell};
use e2e::{Container, Daemon, call, fails, must, skip};
use tonic::{Code, Status};

const MIB: i64 = 1 << 20;

/// Quota and period of the cpu controller.
fn cpu(pid: i32) -> (String, String) {
    let group = cgroup(pid, "cpu");
    if group.v2 {
        let text = group.read("", "cpu.max");
        let (quota, period) = text.split_once(' ').unwrap();
        return (quota.replace("max", "-1"), period.to_owned());
    }
    (
        group.read("cpu.cfs_quota_us", ""),
        group.read("cpu.cfs_period_us", ""),
    )
}

fn update(container: &Container<'_>, resources: LinuxContainerResources) -> Result<(), Status> {
    let request = UpdateContainerResourcesRequest {
        container_id: container.id.clone(),
        linux: Some(resources),
        ..UpdateContainerResourcesRequest::default()
    };
    let mut client = container.daemon.clients().runtime;
    call(client.update_container_resources(request)).map(|_| ())
}

#[test]
fn limits_are_in_the_kernels_files() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("limits");
    let mut config = idle("c");
    let resources = config.resources();
    resources.cpu_quota = 25_000;
    resources.cpu_period = 50_000;
    resources.cpu_shares = 512;
    resources.memory_limit_in_bytes = 64 * MIB;
    resources.cpuset_cpus = "0".into();
    resources.oom_score_adj = 500;
    resources.unified.insert("pids.max".into(), "77".into());
    let container = pod.start(config.clone());
    let pid = container.pid();
    assert_eq!(cpu(pid), ("25000".into(), "50000".into()));
    let memory = cgroup(pid, "memory");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (64 * MIB).to_string()
    );
    assert_eq!(cgroup(pid, "pids").read("pids.max", "pids.max"), "77");
    assert_eq!(
        cgroup(pid, "cpuset").read("cpuset.cpus", "cpuset.cpus"),
        "0"
    );
    let shares = cgroup(pid, "cpu");
    if !shares.v2 {
        assert_eq!(shares.read("cpu.shares", ""), "512");
    }
    assert_eq!(
        evidence::read(format!("/proc/{pid}/oom_score_adj").as_ref()),
        "500"
    );
    assert_eq!(evidence::status(pid, "Cpus_allowed_list"), "0");

    let reported = container
        .status()
        .resources
        .and_then(|of| of.linux)
        .unwrap();
    assert_eq!(reported.memory_limit_in_bytes, 64 * MIB);
    assert_eq!((reported.cpu_quota, reported.cpu_period), (25_000, 50_000));
    assert_eq!(
        (reported.cpu_shares, reported.cpuset_cpus.as_str()),
        (512, "0")
    );
}

#[test]
fn every_process_of_a_container_is_in_its_cgroups() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("members");
    let container = pod.start(shell("c", "sleep 1000 & sleep 1000 & wait"));
    let pid = container.pid();
    let hierarchies = e2e::machine::cgroup_roots();
    for controller in [
        "cpu", "memory", "pids", "devices", "freezer", "cpuset", "blkio",
    ] {
        let here = hierarchies
            .iter()
            .any(|(_, names)| names.iter().any(|name| name == controller));
        if !here && !hierarchies.iter().any(|(_, names)| names.is_empty()) {
            continue;
        }
        let group = cgroup(pid, controller);
        assert!(
            group.dir.display().to_string().contains(&daemon.place.tag),
            "{controller}: {group:?}"
        );
        e2e::call::until(
            "three processes in the cgroup",
            Duration::from_secs(5),
            || (group.processes().len() == 3).then_some(()),
        );
    }
    // What is executed in it is as well.
    let groups = |pid: &str| container.sh(&format!("grep -v ^0:: /proc/{pid}/cgroup || true"));
    assert_eq!(groups("self"), groups("1"));
}

#[test]
fn the_requests_cgroup_parent_is_the_parent() {
    let daemon = Daemon::start();
    let parent = format!("/{}/kubepods/burstable/pod-x", daemon.place.tag);
    let mut config = daemon.pod("parent");
    config
        .linux
        .as_mut()
        .unwrap()
        .cgroup_parent
        .clone_from(&parent);
    let pod = daemon.run(config);
    let container = pod.start(idle("c"));
    let dir = cgroup(container.pid(), "memory").dir.display().to_string();
    assert!(dir.contains(&parent), "{dir}");
    pod.remove();
    // The directory itself is the kubelet's, which makes and removes it.
    for (root, _) in e2e::machine::cgroup_roots() {
        let mut dir = root.join(parent.trim_start_matches('/'));
        while !dir.ends_with(&daemon.place.tag) {
            let _ = std::fs::remove_dir(&dir);
            dir.pop();
        }
    }
}

#[test]
fn too_much_memory_is_oomkilled_with_137() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("oom");
    let mut config = container("hog", request::BUSYBOX, &["probe", "hog", "200"]);
    config.resources().memory_limit_in_bytes = 32 * MIB;
    let (_, status) = pod.finish(config);
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled")
    );
    // containerd 2.4.2 and CRI-O 1.37 go by the kernel's count of kills alone: "Even if the container's main process
    // is not OOM-killed, an OOM kill of a child can still update status.Reason" (containerd, events.go).
    for (name, script, code, reason) in [
        ("child", "probe hog 200; exit 3", 3, "OOMKilled"),
        ("child-zero", "probe hog 200; exit 0", 0, "OOMKilled"),
        ("term", "probe hog 200; kill -15 $$", 143, "OOMKilled"),
        ("kill", "probe hog 200; kill -9 $$", 137, "OOMKilled"),
        ("plain", "exit 3", 3, "Error"),
        ("plain-zero", "exit 0", 0, "Completed"),
    ] {
        let mut config = shell(name, script);
        // Process 1 of a namespace ignores the signals that it sends itself.
        config.namespaces().pid = cri_api::runtime::v1::NamespaceMode::Node.into();
        config.resources().memory_limit_in_bytes = 32 * MIB;
        let (_, status) = pod.finish(config);
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (code, reason),
            "{name}"
        );
    }
    // What a stop ended was ended by the stop.
    for (name, grace, code, reason) in
        [("stop", 10, 0, "Completed"), ("stop-kill", 0, 137, "Error")]
    {
        let mut config = shell(
            name,
            "trap 'exit 0' TERM; probe hog 200; echo went on; while :; do sleep 0.1; done",
        );
        config.resources().memory_limit_in_bytes = 32 * MIB;
        let container = pod.start(config);
        container.wait_for("went on");
        container.stop(grace);
        let status = container.status();
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (code, reason),
            "{name}"
        );
    }
    let mut config = shell("killed", "kill -9 $$ || sleep 1000");
    config.namespaces().pid = cri_api::runtime::v1::NamespaceMode::Container.into();
    config.resources().memory_limit_in_bytes = 32 * MIB;
    let container = pod.start(config);
    container.stop(0);
    assert_ne!(container.status().reason, "OOMKilled");
}

#[test]
fn a_limit_of_tasks_holds() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config
        .resources()
        .unified
        .insert("pids.max".into(), "20".into());
    let container = daemon.run_named("pids").start(config);
    let out = container.exec(&["probe", "fork", "100"]).stdout;
    let made: u32 = out.split(' ').next().unwrap().parse().unwrap();
    assert!((15..20).contains(&made), "{out}");
    assert!(out.contains("temporarily unavailable"), "{out}");
}

#[test]
fn a_limit_of_cpu_holds() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.resources().cpu_quota = 10_000;
    config.resources().cpu_period = 100_000;
    let container = daemon.run_named("cpu").start(config);
    container.sh("probe cpu 0.1");
    let stat = cgroup(container.pid(), "cpu").read("cpu.stat", "cpu.stat");
    let throttled = stat
        .lines()
        .find_map(|line| line.strip_prefix("nr_throttled "));
    assert!(throttled.unwrap().parse::<u32>().unwrap() >= 1, "{stat}");
}

#[test]
fn resources_are_updated_while_it_runs() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.resources().memory_limit_in_bytes = 64 * MIB;
    config.resources().cpu_shares = 512;
    let container = daemon.run_named("update").start(config);
    let pid = container.pid();
    let resources = LinuxContainerResources {
        cpu_quota: 30_000,
        cpu_period: 100_000,
        memory_limit_in_bytes: 128 * MIB,
        ..LinuxContainerResources::default()
    };
    must("update", update(&container, resources));
    assert_eq!(cpu(pid), ("30000".into(), "100000".into()));
    let memory = cgroup(pid, "memory");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (128 * MIB).to_string()
    );
    let reported = container
        .status()
        .resources
        .and_then(|of| of.linux)
        .unwrap();
    assert_eq!(reported.memory_limit_in_bytes, 128 * MIB);
    assert_eq!(
        (reported.cpu_quota, reported.cpu_shares),
        (30_000, 512),
        "what was not named stays"
    );
    // Down again, and the quota away.
    let resources = LinuxContainerResources {
        cpu_quota: -1,
        memory_limit_in_bytes: 32 * MIB,
        ..LinuxContainerResources::default()
    };
    must("update", update(&container, resources));
    assert_eq!(cpu(pid).0, "-1");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (32 * MIB).to_string()
    );
    daemon.kill9();
    daemon.restart();
    let reported = container
        .status()
        .resources
        .and_then(|of| of.linux)
        .unwrap();
    assert_eq!(
        reported.memory_limit_in_bytes,
        32 * MIB,
        "the update was forgotten"
    );
}

#[test]
fn a_limit_below_what_is_used_is_refused_and_changes_nothing() {
    let daemon = Daemon::start();
    let mut config = container("c", request::BUSYBOX, &["probe", "hog", "64"]);
    config.resources().memory_limit_in_bytes = 128 * MIB;
    config.resources().cpu_shares = 512;
    let container = daemon.run_named("below").start(config);
    container.wait_for("holding");
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 16 * MIB,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        ..LinuxContainerResources::default()
    };
    fails(
        update(&container, resources),
        Code::FailedPrecondition,
        &["memory", "uses"],
    );
    let pid = container.pid();
    let memory = cgroup(pid, "memory");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (128 * MIB).to_string()
    );
    assert_eq!(cpu(pid).0, "-1", "all or nothing");
    let reported = container
        .status()
        .resources
        .and_then(|of| of.linux)
        .unwrap();
    assert_eq!(
        (reported.memory_limit_in_bytes, reported.cpu_quota),
        (128 * MIB, 0)
    );
}

#[test]
fn a_pods_resources_are_kept_and_its_cgroup_is_left_to_the_kubelet() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("pod-resources");
    let container = pod.start(idle("c"));
    let group = cgroup(container.pid(), "memory");
    let before = group.read("memory.limit_in_bytes", "memory.max");
    let request = |id: &str| UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: id.to_owned(),
        resources: Some(LinuxContainerResources {
            memory_limit_in_bytes: 64 * MIB,
            cpu_shares: 256,
            ..Default::default()
        }),
        overhead: Some(LinuxContainerResources {
            cpu_shares: 10,
            ..Default::default()
        }),
    };
    let mut client = daemon.clients().runtime;
    let answer = call(client.update_pod_sandbox_resources(request(&pod.id)));
    must("UpdatePodSandboxResources", answer);
    let shown = |pod: &e2e::Pod<'_>| {
        let info = pod.info();
        (
            info["resources"]["memory_limit"].as_i64(),
            info["overhead"]["cpu_shares"].as_i64(),
        )
    };
    assert_eq!(shown(&pod), (Some(64 * MIB), Some(10)));
    let after = group.read("memory.limit_in_bytes", "memory.max");
    assert_eq!(before, after, "a container's own limit is another thing");
    daemon.kill9();
    daemon.restart();
    assert_eq!(shown(&pod), (Some(64 * MIB), Some(10)), "forgotten");
    let mut negative = request(&pod.id);
    negative.resources.as_mut().unwrap().cpu_shares = -5;
    let refused = call(client.update_pod_sandbox_resources(negative));
    fails(refused, Code::InvalidArgument, &["resources.cpu_shares"]);
    let unknown = call(client.update_pod_sandbox_resources(request("0123456789abcdef")));
    fails(unknown, Code::NotFound, &["0123456789abcdef"]);
}

#[test]
fn a_containers_score_of_a_running_process_is_not_pretended_to_change() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.resources().oom_score_adj = 300;
    let pod = daemon.run_named("score");
    let running = pod.start(config.clone());
    config.metadata.as_mut().unwrap().name = "created".into();
    let created = pod.create(config);
    for container in [&running, &created] {
        let resources = LinuxContainerResources {
            oom_score_adj: 700,
            memory_limit_in_bytes: 64 * MIB,
            ..Default::default()
        };
        must("update", update(container, resources));
    }
    let score = |container: &Container<'_>| {
        let resources = container.status().resources.and_then(|of| of.linux);
        resources.unwrap().oom_score_adj
    };
    assert_eq!((score(&running), score(&created)), (300, 700));
    created.start();
    for (container, wanted) in [(&running, "300"), (&created, "700")] {
        let file = format!("/proc/{}/oom_score_adj", container.pid());
        assert_eq!(evidence::read(file.as_ref()), wanted);
    }
}

#[test]
fn the_status_after_an_update_is_what_the_kernel_has() {
    let daemon = Daemon::start();
    let container = daemon.run_named("rounded").start(idle("c"));
    let resources = LinuxContainerResources {
        // The kernel counts whole pages.
        memory_limit_in_bytes: 64 * MIB + 1000,
        ..Default::default()
    };
    must("update", update(&container, resources));
    let kernel = cgroup(container.pid(), "memory").read("memory.limit_in_bytes", "memory.max");
    let reported = container.status().resources.and_then(|of| of.linux);
    assert_eq!(reported.unwrap().memory_limit_in_bytes.to_string(), kernel);
}

#[test]
fn nonsense_limits_are_refused_by_name() {
    let daemon = Daemon::start();
    let container = daemon.run_named("nonsense").start(idle("c"));
    let cpuset = LinuxContainerResources {
        cpuset_cpus: "0-9999".into(),
        ..Default::default()
    };
    let status = update(&container, cpuset).unwrap_err();
    assert!(status.message().contains("cpuset"), "{status}");
    let path = [("../../x".to_owned(), "1".to_owned())];
    let unified = LinuxContainerResources {
        unified: path.into_iter().collect(),
        ..Default::default()
    };
    fails(
        update(&container, unified),
        Code::InvalidArgument,
        &["../../x"],
    );
    let text = LinuxContainerResources {
        cpuset_cpus: "0\n1".into(),
        ..Default::default()
    };
    assert!(update(&container, text).is_err());
    let tiny = LinuxContainerResources {
        cpu_quota: 1,
        cpu_period: 100_000,
        ..Default::default()
    };
    assert!(update(&container, tiny).is_err());
    assert_eq!(container.sh("echo alive"), "alive\n");
}

#[test]
fn an_update_before_the_start_holds_at_the_start() {
    let daemon = Daemon::start();
    let container = daemon.run_named("early").create(idle("c"));
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 48 * MIB,
        oom_score_adj: 900,
        ..Default::default()
    };
    must("update", update(&container, resources));
    container.start();
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", container.pid()));
    assert_eq!(score.unwrap().trim(), "900");
    let memory = cgroup(container.pid(), "memory");
    assert_eq!(
        memory.read("memory.limit_in_bytes", "memory.max"),
        (48 * MIB).to_string()
    );
}

#[test]
fn a_container_may_use_all_cpus_whatever_the_daemon_may() {
    if thread::available_parallelism().map_or(1, |count| count.get()) < 2 {
        skip!("this machine has one CPU only");
    }
    let daemon = Daemon::start();
    let all = evidence::status(1, "Cpus_allowed_list");
    for entry in std::fs::read_dir(format!("/proc/{}/task", daemon.pid()))
        .unwrap()
        .flatten()
    {
        let thread = entry.file_name().to_string_lossy().into_owned();
        // A thread of the daemon that ends meanwhile starts nothing.
        let _ = e2e::program::run("taskset", ["-cp", "0", thread.as_str()]);
    }
    let bound = evidence::status(daemon.pid(), "Cpus_allowed_list");
    assert_eq!(bound, "0", "the daemon is bound to one CPU");
    let container = daemon.run_named("affinity").start(idle("c"));
    assert_eq!(evidence::status(container.pid(), "Cpus_allowed_list"), all);
}

/// A request whose one limit is changed by a case.
type Change = fn(&mut LinuxContainerResources);

/// Words that the error has to have, and the limit that cannot be.
const IMPOSSIBLE: [(&str, Change); 21] = [
    ("memory_limit_in_bytes 4096 524288", |r| {
        r.memory_limit_in_bytes = 4096
    }),
    ("memory_limit_in_bytes 1 524288", |r| {
        r.memory_limit_in_bytes = 1
    }),
    ("memory_limit_in_bytes 524287", |r| {
        r.memory_limit_in_bytes = 524_287
    }),
    ("memory_limit_in_bytes -2", |r| r.memory_limit_in_bytes = -2),
    ("memory_swap_limit_in_bytes 33554432 67108864", |r| {
        r.memory_limit_in_bytes = 64 * MIB;
        r.memory_swap_limit_in_bytes = 32 * MIB;
    }),
    ("cpuset_cpus 99 0", |r| r.cpuset_cpus = "99".into()),
    ("cpuset_cpus 0-99", |r| r.cpuset_cpus = "0-99".into()),
    ("cpuset_cpus 100000", |r| r.cpuset_cpus = "100000".into()),
    ("cpuset_cpus 1-0", |r| r.cpuset_cpus = "1-0".into()),
    ("cpuset_cpus one", |r| r.cpuset_cpus = "one".into()),
    ("cpuset_mems 77 0", |r| r.cpuset_mems = "77".into()),
    ("cpu_quota 999 1000", |r| r.cpu_quota = 999),
    ("cpu_period 999 1000", |r| r.cpu_period = 999),
    ("cpu_period 1000001 1000000", |r| r.cpu_period = 1_000_001),
    ("cpu_shares -1", |r| r.cpu_shares = -1),
    ("oom_score_adj 1001 1000", |r| r.oom_score_adj = 1001),
    ("unified no.such", |r| {
        drop(r.unified.insert("no.such".into(), "1".into()))
    }),
    ("unified cgroup.procs", |r| {
        drop(r.unified.insert("cgroup.procs".into(), "1".into()))
    }),
    ("unified pids.max many", |r| {
        drop(r.unified.insert("pids.max".into(), "many".into()))
    }),
    ("unified pids.max 0 1", |r| {
        drop(r.unified.insert("pids.max".into(), "0".into()))
    }),
    ("hugepage_limits 3MB=", |r| {
        let page_size = "3MB".to_owned();
        r.hugepage_limits = vec![cri_api::runtime::v1::HugepageLimit {
            page_size,
            limit: 1 << 21,
        }];
    }),
];

/// What the kernel refuses, or with which nothing can start, is refused at the creation and at an update, by the
/// field's name, with the value and what would do. Ranges: Documentation/scheduler/sched-bwc.rst for the CPU time,
/// proc_pid_oom_score_adj(5), cgroup-v1/cpusets.rst; the least memory is ours (`spec::resources::LEAST_MEMORY`).
#[test]
fn limits_that_cannot_be_are_refused_by_name() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("limits");
    let running = pod.start(idle("running"));
    let hugepages = std::path::Path::new("/sys/kernel/mm/hugepages").is_dir();
    let mut wrong = Vec::new();
    for (number, (words, change)) in IMPOSSIBLE.iter().enumerate() {
        if words.starts_with("hugepage") && !hugepages {
            continue;
        }
        let mut config = idle(&format!("bad{number}"));
        change(config.resources());
        let mut resources = LinuxContainerResources::default();
        change(&mut resources);
        let created = daemon.try_create(&pod.id, &pod.config, &config).map(drop);
        for (what, outcome) in [("create", created), ("update", update(&running, resources))] {
            let said = outcome.err().is_some_and(|status| {
                let right = matches!(
                    status.code(),
                    Code::InvalidArgument | Code::FailedPrecondition
                );
                right && words.split(' ').all(|word| status.message().contains(word))
            });
            if !said {
                wrong.push(format!("{what} {words}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(daemon.containers().len(), 1, "something is left");
    running.sh("true");
}

#[test]
fn the_least_limits_start() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("least");
    // The least starts, and so does a value that the kernel rounds.
    for (name, change) in [
        ("least", (|r| r.memory_limit_in_bytes = 524_288) as Change),
        ("odd", |r| r.memory_limit_in_bytes = 8 * MIB + 1),
        ("quota", |r| r.cpu_quota = 1000),
        ("period", |r| {
            (r.cpu_quota, r.cpu_period) = (1_000_000, 1_000_000)
        }),
        ("shares", |r| r.cpu_shares = 1_000_000),
        ("tasks", |r| {
            drop(r.unified.insert("pids.max".into(), "1".into()))
        }),
        ("no-limit", |r| r.memory_limit_in_bytes = -1),
    ] {
        let mut config = container(name, request::BUSYBOX, &["probe", "exit", "7"]);
        change(config.resources());
        assert_eq!(pod.finish(config).1.exit_code, 7, "{name}");
    }
}

/// A device of a USB port was unplugged: no command ran in the container that had it, its limits could not be changed
/// and `crictl inspect` had no Spec. One that was created before has the device as well, as with containerd, which has it
/// in the Spec that it writes at the creation. A new one is refused.
#[test]
fn a_container_outlives_its_device() {
    let daemon = Daemon::start();
    let node = daemon.place.dir.join("device");
    e2e::program::sh(&format!("mknod -m 666 {} c 1 3", node.display()));
    let pod = daemon.run_named("usb");
    let mut config = idle("c");
    config.devices = vec![Device {
        host_path: node.display().to_string(),
        container_path: "/dev/usb".into(),
        permissions: "rw".into(),
    }];
    let container = pod.start(config.clone());
    config.metadata.as_mut().unwrap().name = "created".into();
    let created = pod.create(config.clone());
    let devices = |info: &serde_json::Value| info["runtimeSpec"]["linux"]["devices"].clone();
    assert_eq!(devices(&container.info())[0]["path"], "/dev/usb");
    std::fs::remove_file(&node).unwrap();
    created.start();
    assert_eq!(created.sh("echo x >/dev/usb && echo here").trim(), "here");
    assert_eq!(container.sh("echo x >/dev/usb && echo here").trim(), "here");
    let resources = LinuxContainerResources {
        cpu_shares: 512,
        ..LinuxContainerResources::default()
    };
    update(&container, resources).unwrap();
    let info = container.info();
    assert_eq!(devices(&info)[0]["path"], "/dev/usb", "{info}");
    config.metadata.as_mut().unwrap().name = "late".into();
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    fails(
        refused,
        Code::InvalidArgument,
        &["config.devices.host_path"],
    );
}
