//! Children, trees of other mount namespaces and cgroups.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::world::*;
use crate::cgroup::{Birth, CgroupDirectories};
use crate::process::{Streams, give_streams};
use crate::report::{Message, Stage};
use crate::shim_namespaces::ShimNamespaces;
use crate::start::{Launch, Start};
use crate::tree::Origins;
use holdfast_kernel::sys::namespace::CloneFlags;
use holdfast_kernel::sys::process::wait;
use holdfast_wire::plan::*;
use holdfast_wire::{CgroupSlot, Step};

/// The next message of a child.
fn next(launch: &Launch) -> Message {
    for _ in 0..1000 {
        if let Some(message) = launch.receive().unwrap() {
            return message;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the child says nothing");
}

/// A start without namespaces and cgroups of its own.
fn plain_start<'a>(
    shim_namespaces: &'a ShimNamespaces,
    cgroup: &'a CgroupDirectories,
) -> Start<'a> {
    Start {
        namespaces: CloneFlags::empty(),
        pid_namespace: None,
        cgroup,
        unified: None,
        shim_namespaces,
    }
}

#[test]
fn a_child_tells_where_it_waits_and_where_it_failed() {
    let (shim_namespaces, cgroup) = (
        ShimNamespaces::open().unwrap(),
        CgroupDirectories::default(),
    );
    let launch = plain_start(&shim_namespaces, &cgroup)
        .run(|reporter| {
            reporter.at(Step::Rlimit, 3);
            reporter.degraded(Errno::EPERM);
            reporter.await_hooks(Stage::BeforeRoot)?;
            reporter.await_hooks(Stage::BeforeProgram)?;
            reporter.at(Step::Mount, 7);
            Err(Errno::ENODEV)
        })
        .unwrap();
    let Message::Degraded { position, errno } = next(&launch) else {
        panic!("no word of what was left out");
    };
    assert_eq!(
        (position.step, position.index, errno),
        (Step::Rlimit, 3, Errno::EPERM)
    );
    for stage in [Stage::BeforeRoot, Stage::BeforeProgram] {
        let Message::Waiting(waits) = next(&launch) else {
            panic!("it does not wait");
        };
        assert_eq!((waits, launch.position().step), (stage, Step::Hook));
        launch.release().unwrap();
    }
    let Message::Failed { position, errno } = next(&launch) else {
        panic!("no failure");
    };
    assert_eq!(
        (position.step, position.index, errno),
        (Step::Mount, 7, Errno::ENODEV)
    );
    assert!(matches!(next(&launch), Message::End));
    wait(launch.child.pid).unwrap();
}

/// A shim that is gone ends the children that wait for it.
#[test]
fn a_child_whose_shim_is_gone_does_not_wait_for_ever() {
    let (shim_namespaces, cgroup) = (
        ShimNamespaces::open().unwrap(),
        CgroupDirectories::default(),
    );
    let launch = plain_start(&shim_namespaces, &cgroup)
        .run(|reporter| reporter.await_release().and(Err(Errno::EALREADY)))
        .unwrap();
    let pid = launch.child.pid;
    drop(launch);
    wait(pid).unwrap();
}

/// Directories that stand for cgroups.
fn groups(world: &World, slots: &[CgroupSlot]) -> CgroupDirectories {
    let open = |index: usize| -> OwnedFd {
        for file in ["tasks", "cgroup.procs"] {
            world.write(&format!("{index}/{file}"), "");
        }
        File::open(world.path(&index.to_string())).unwrap().into()
    };
    let directories: Vec<OwnedFd> = (0..slots.len()).map(open).collect();
    CgroupDirectories::new(slots.iter().copied(), directories)
}

#[test]
fn a_process_enters_each_hierarchy_by_its_own_file() {
    use CgroupSlot::{Unified, V1, V1Memory};
    for (birth, unified) in [(Birth::InsideCgroup, ""), (Birth::OutsideCgroup, "0")] {
        let world = World::new();
        let groups = groups(&world, &[V1, Unified, V1Memory]);
        groups.enter(birth).unwrap();
        for (file, wanted) in [
            ("0/tasks", "0"),
            ("0/cgroup.procs", ""),
            ("1/tasks", ""),
            ("1/cgroup.procs", unified),
            ("2/tasks", "0"),
        ] {
            assert_eq!(world.read(file), wanted, "{birth:?} {file}");
        }
    }
}

#[test]
fn memory_is_counted_by_version_1_where_it_has_the_controller() {
    use CgroupSlot::{Unified, V1, V1Memory};
    let world = World::new();
    for (slots, memory, unified) in [
        (&[Unified, V1Memory][..], Some(V1Memory), true),
        (&[Unified, V1], Some(Unified), true),
        (&[V1], None, false),
        (&[], None, false),
    ] {
        let groups = groups(&world, slots);
        assert_eq!(groups.memory().map(|(slot, _)| slot), memory, "{slots:?}");
        assert_eq!(groups.unified().is_some(), unified, "{slots:?}");
        assert_eq!(groups.any().is_some(), !slots.is_empty(), "{slots:?}");
    }
}

/// What is opened of the host is opened before the child leaves it, and told by the index of its mount.
#[test]
fn trees_of_the_host_are_opened_or_named() {
    in_own_mounts(|world| {
        let shim_namespaces = ShimNamespaces::open().unwrap();
        let pause = File::open("/proc/self").unwrap();
        let origins = Origins {
            shim_namespaces: &shim_namespaces,
            pause: pause.as_fd(),
            user: None,
        };
        let present = tree_mount("/a", TreeOrigin::Host, "/usr");
        let of = |change: &dyn Fn(&mut Mount)| {
            let mut mount = tree_mount("/b", TreeOrigin::Host, "/usr/nowhere/x");
            change(&mut mount);
            let mut trees = [None, None];
            let mounts = [present.clone(), mount];
            let opened = origins.open_all(&mounts, &mut trees, &world.reporter());
            assert!(trees[0].is_some());
            (opened.map(|()| trees[1].is_some()), world.position())
        };
        let (missing, at) = of(&|_| {});
        assert_eq!(
            (missing, at.step, at.index),
            (Err(Errno::ENOENT), Step::HostPath, 1)
        );
        let (below_file, at) =
            of(&|mount| *mount = tree_mount("/b", TreeOrigin::Host, "/bin/sh/x"));
        assert_eq!((below_file, at.index), (Err(Errno::ENOTDIR), 1));
        let (mapped, at) = of(&|mount| {
            *mount = tree_mount("/b", TreeOrigin::Host, "/usr");
            if let MountSource::Tree { id_map, .. } = &mut mount.source {
                *id_map = Some(IdMappings {
                    uids: Vec::new(),
                    gids: Vec::new(),
                });
            }
        });
        assert_eq!((mapped, at.step), (Err(Errno::EINVAL), Step::IdMap));
        let (other, _) = of(&|mount| *mount = new_mount("/b", "tmpfs", &[]));
        assert_eq!(other, Ok(false));
    });
}

#[test]
fn a_missing_directory_of_the_host_is_made_where_that_is_wanted() {
    let outer = tempfile::tempdir().unwrap();
    let wanted = outer.path().join("made/for/it");
    in_own_mounts(|world| {
        let shim_namespaces = ShimNamespaces::open().unwrap();
        let pause = File::open("/proc/self").unwrap();
        let origins = Origins {
            shim_namespaces: &shim_namespaces,
            pause: pause.as_fd(),
            user: None,
        };
        let mut mount = tree_mount("/data", TreeOrigin::Host, wanted.to_str().unwrap());
        if let MountSource::Tree { missing, .. } = &mut mount.source {
            *missing = Missing::MakeDirectory;
        }
        let mut trees = [None];
        origins
            .open_all(&[mount], &mut trees, &world.reporter())
            .unwrap();
        assert!(fs::metadata(&wanted).unwrap().is_dir());
    });
}

/// A program opens /dev/stdout anew, which it may only when the pipe is its user's.
#[test]
fn streams_are_given_to_the_user_but_for_the_null_device() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let null = File::options().write(true).open("/dev/null").unwrap();
    let owner = |file: &dyn AsFd| fstat(file.as_fd()).unwrap().st_uid;
    let before = owner(&null);
    let range = IdRange {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    };
    let user = IdMappings {
        uids: vec![range],
        gids: vec![range],
    };
    for (user, wanted) in [(None, 1000), (Some(&user), 101_000)] {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        let streams = Streams::Files([null.as_fd(), writer.as_fd(), writer.as_fd()]);
        give_streams(&streams, &process(), user);
        assert_eq!((owner(&writer), owner(&null)), (wanted, before));
    }
}
