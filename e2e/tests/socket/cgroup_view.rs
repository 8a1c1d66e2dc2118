//! What containers see of their cgroups: the namespace, and whether they may write.

use std::path::Path;

use cri_api::runtime::v1::{
    CgroupMountMode, CgroupNamespace, NamespaceMode, StatusRequest, StatusResponse,
};
use e2e::evidence::namespace;
use e2e::request::{ContainerParts, PodParts, idle};
use e2e::{Daemon, call, fails, must};
use tonic::Code;

fn status(daemon: &Daemon) -> StatusResponse {
    let mut client = daemon.clients().runtime;
    must(
        "Status",
        call(client.status(StatusRequest { verbose: false })),
    )
}

/// Whether this machine has the one tree, mounted with nsdelegate.
fn delegates() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let v1 = mounts.lines().any(|line| line.contains(" - cgroup "));
    !v1 && mounts
        .lines()
        .any(|line| line.contains(" - cgroup2 ") && line.contains("nsdelegate"))
}

fn mode(mode: NamespaceMode) -> Option<CgroupNamespace> {
    Some(CgroupNamespace { mode: mode.into() })
}

#[test]
fn the_cgroup_namespace_is_the_containers_or_the_nodes() {
    let daemon = Daemon::start();
    let handlers = status(&daemon).runtime_handlers;
    assert!(
        handlers
            .iter()
            .all(|one| one.features.unwrap().cgroup_namespaces)
    );
    let mut config = daemon.pod("view");
    config.security().privileged = true;
    let pod = daemon.run(config);
    let node = namespace(i32::try_from(std::process::id()).unwrap(), "cgroup");
    for (name, privileged, asked, own) in [
        ("usual", false, None, true),
        ("own", false, mode(NamespaceMode::Container), true),
        ("node", false, mode(NamespaceMode::Node), false),
        ("privileged", true, None, false),
        ("privileged-own", true, mode(NamespaceMode::Container), true),
        ("privileged-node", true, mode(NamespaceMode::Node), false),
    ] {
        let mut config = idle(name);
        config.security().privileged = privileged;
        config.namespaces().cgroupns_options = asked;
        let container = pod.start(config);
        let differs = namespace(container.pid(), "cgroup") != node;
        assert_eq!(differs, own, "{name}");
    }
    for (name, asked) in [
        ("pod", NamespaceMode::Pod),
        ("target", NamespaceMode::Target),
    ] {
        let mut config = idle(name);
        config.namespaces().cgroupns_options = mode(asked);
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        fails(refused, Code::InvalidArgument, &["cgroupns_options.mode"]);
    }
    let mut config = daemon.pod("sandbox");
    config.namespaces().cgroupns_options = mode(NamespaceMode::Container);
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["cgroupns_options"],
    );
}

#[test]
fn the_cgroup_mount_is_as_asked_for_or_refused() {
    let daemon = Daemon::start();
    let features = status(&daemon).features.unwrap();
    assert_eq!(features.cgroup_mount_mode, delegates());
    assert!(features.mount_options && features.seccomp_profile_oci);
    let mut config = daemon.pod("mode");
    config.security().privileged = true;
    let pod = daemon.run(config);
    let mut config = idle("ro");
    config.security().cgroup_mount_mode = CgroupMountMode::ReadOnly.into();
    let out = pod
        .start(config.clone())
        .exec(&["mkdir", "/sys/fs/cgroup/x"]);
    assert_ne!(out.code, 0, "{out:?}");
    config.metadata.as_mut().unwrap().name = "privileged".into();
    config.security().privileged = true;
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    fails(refused, Code::InvalidArgument, &["cgroup_mount_mode"]);
    let mut config = idle("node");
    config.security().cgroup_mount_mode = CgroupMountMode::ReadWrite.into();
    config.namespaces().cgroupns_options = mode(NamespaceMode::Node);
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    fails(
        refused,
        Code::InvalidArgument,
        &["cgroup_mount_mode", "CONTAINER"],
    );

    let mut config = idle("rw");
    config.security().cgroup_mount_mode = CgroupMountMode::ReadWrite.into();
    config.security().run_as_user = Some(cri_api::runtime::v1::Int64Value { value: 1000 });
    if !delegates() {
        let refused = daemon.try_create(&pod.id, &pod.config, &config);
        fails(
            refused,
            Code::FailedPrecondition,
            &["cgroup_mount_mode", "nsdelegate"],
        );
        return;
    }
    let container = pod.start(config);
    container.sh("mkdir /sys/fs/cgroup/sub && echo $$ > /sys/fs/cgroup/sub/cgroup.procs");
    let limits = container.exec(&["sh", "-c", "echo max > /sys/fs/cgroup/memory.max"]);
    assert_ne!(limits.code, 0, "a container changed its own limit");
    // As an init of a container does: it leaves the top, which then has controllers for its groups and may hold no
    // process any more. Further processes come nevertheless.
    container.sh("echo 1 > /sys/fs/cgroup/sub/cgroup.procs && echo +pids > /sys/fs/cgroup/cgroup.subtree_control");
    assert_eq!(container.sh("cat /sys/fs/cgroup/sub/pids.current"), "1\n");
    assert_eq!(container.sh("cat /proc/1/cgroup"), "0::/sub\n");
    assert!(Path::new("/sys/kernel/cgroup/delegate").exists());
}
