//! Tests of the object that a failure names for each step.

use super::world::*;
use crate::report::{Position, describe_container, describe_exec, describe_pause};
use holdfast_wire::plan::*;
use holdfast_wire::{MountedObject, Object, Step};

fn at(step: Step, index: u16) -> Position {
    Position { step, index }
}

fn path(path: &str) -> Object {
    Object::Path(path.to_owned())
}

fn said(words: &str) -> Object {
    Object::Text(words.to_owned())
}

fn mounted(target: &str, source: MountedObject) -> Object {
    let target = target.to_owned();
    Object::Mount { target, source }
}

fn plan() -> ContainerPlan {
    let volume = Mount {
        propagation: Propagation::Slave,
        ..tree_mount("/data", TreeOrigin::Host, "/srv/data")
    };
    let image = Mount {
        source: MountSource::Image {
            lower: Vec::new(),
            sub_path: text("etc"),
        },
        ..new_mount("/image", "", &[])
    };
    let private = tree_mount("/etc/hosts", TreeOrigin::Host, "/run/hosts");
    ContainerPlan {
        mounts: vec![new_mount("/proc", "proc", &[]), volume, image, private],
        devices: vec![device("/dev/null", 1, 3)],
        symlinks: vec![(text("/dev/fd"), text("/proc/self/fd"))],
        masked_paths: vec![text("/proc/kcore")],
        readonly_paths: vec![text("/proc/sys")],
        ..container()
    }
}

/// The daemon finds the mount of the request by its target, so every step about a mount names it whole.
#[test]
fn a_step_of_a_mount_names_the_mount() {
    let tree = |path: &str, spreads| MountedObject::Tree {
        path: path.to_owned(),
        spreads,
    };
    let wanted = [
        mounted("/proc", MountedObject::New("proc".to_owned())),
        mounted("/data", tree("/srv/data", true)),
        mounted("/image", MountedObject::Image("etc".to_owned())),
        mounted("/etc/hosts", tree("/run/hosts", false)),
        Object::none(),
    ];
    for step in [Step::HostPath, Step::MountTarget, Step::Mount] {
        for (index, wanted) in (0..).zip(&wanted) {
            let found = describe_container(&plan(), at(step, index));
            assert_eq!(found, *wanted, "{step:?} {index}");
        }
    }
}

#[test]
fn owners_are_mapped_of_a_volume_or_of_the_images() {
    let volume = mounted(
        "/data",
        MountedObject::Tree {
            path: "/srv/data".to_owned(),
            spreads: true,
        },
    );
    let images = said("the directory of the images");
    for (index, wanted) in [(1, &volume), (0, &images), (u16::MAX, &images)] {
        let found = describe_container(&plan(), at(Step::IdMap, index));
        assert_eq!(found, *wanted, "{index}");
    }
}

#[test]
fn a_step_of_a_container_names_its_object() {
    for (step, index, wanted) in [
        (Step::Rootfs, 1, path("/store/layers/1")),
        // Behind the layers comes the whole.
        (Step::Rootfs, 2, path("/store/c/upper")),
        (Step::Device, 0, path("/dev/null")),
        (Step::Device, 1, path("/dev/fd")),
        (Step::Device, 2, Object::none()),
        (Step::MaskedPath, 0, path("/proc/kcore")),
        (Step::MaskedPath, 1, Object::none()),
        (Step::ReadonlyPath, 0, path("/proc/sys")),
        (Step::Join, 0, Object::none()),
        (Step::WorkingDirectory, 0, path("/work")),
    ] {
        let found = describe_container(&plan(), at(step, index));
        assert_eq!(found, wanted, "{step:?} {index}");
    }
}

#[test]
fn a_step_of_a_process_names_its_object() {
    let mut process = process();
    process.selinux = Some(text("a:b:c"));
    for (step, index, wanted) in [
        (Step::Rlimit, 1, said("resource 8 to 30, at most 40")),
        (Step::Rlimit, 2, Object::none()),
        (Step::OomScore, 0, said("500")),
        (Step::WorkingDirectory, 0, path("/work")),
        (Step::User, 0, said("user 1000 group 1001")),
        (Step::Capabilities, 0, said("permitted 0xff")),
        (Step::Label, 0, said("a:b:c")),
        (Step::Terminal, 0, path("/dev/pts/ptmx")),
        (Step::Exec, 0, path("/bin/sh")),
        (Step::Seccomp, 0, Object::none()),
    ] {
        let found = describe_exec(&process, at(step, index));
        assert_eq!(found, wanted, "{step:?} {index}");
    }
    process.apparmor = Some(text("profile"));
    assert_eq!(describe_exec(&process, at(Step::Label, 0)), said("profile"));
}

#[test]
fn a_step_of_the_pause_names_its_object() {
    let sysctl = |path: &str| Sysctl {
        path: text(path),
        value: text("1"),
    };
    let plan = PausePlan {
        new_net: true,
        new_ipc: true,
        new_uts: true,
        new_pid: false,
        user: None,
        hostname: Some(text("web-0")),
        sysctls: vec![sysctl("kernel/sem"), sysctl("net/ipv4/ip_forward")],
        shm_bytes: 0,
        uid: 65_535,
        gid: 65_534,
        groups: Vec::new(),
        seccomp: None,
        oom_score_adj: None,
        join_net: false,
        new_cgroup: false,
        time: None,
    };
    let forward = Object::Sysctl {
        path: "net/ipv4/ip_forward".to_owned(),
        value: "1".to_owned(),
    };
    for (step, index, wanted) in [
        (Step::Hostname, 0, said("web-0")),
        (Step::Sysctl, 1, forward),
        (Step::Sysctl, 2, Object::none()),
        (Step::User, 0, said("user 65535 group 65534")),
        (Step::Mount, 0, path("/shm")),
        (Step::Exec, 0, Object::none()),
    ] {
        let found = describe_pause(&plan, at(step, index));
        assert_eq!(found, wanted, "{step:?} {index}");
    }
}
