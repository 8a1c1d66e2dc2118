//! Where mounts and the files of the runtime come to lie.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::request::{ContainerParts, container, idle, mount};
use e2e::{Daemon, evidence, machine};

use super::{image, is_empty, link, outside};

/// Links in a volume are followed inside the container, so that what a link names on the host stays as it is: no
/// directory is made there, and nothing is mounted.
#[test]
fn the_target_of_a_mount_never_leaves_the_root() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("targets");
    let volumes = daemon.place.dir.join("volumes");
    let (shared, data) = (volumes.join("shared"), volumes.join("data"));
    fs::create_dir_all(&shared).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("mark"), "data").unwrap();
    let outside = outside(&daemon);
    symlink(&outside, shared.join("link")).unwrap();
    daemon.provide(e2e::BUSYBOX);
    for (number, target) in ["/shared/link", "/shared/link/sub", "/shared/link/sub/deep"]
        .into_iter()
        .enumerate()
    {
        let mut config = idle(&format!("c{number}"));
        config.mounts = vec![mount(&shared, "/shared"), mount(&data, target)];
        let run = pod.start(config);
        let inside = target.replace("/shared/link", &outside.display().to_string());
        assert_eq!(run.sh(&format!("cat {inside}/mark")), "data", "{target}");
        assert!(is_empty(&outside), "{target} led to the host");
        let mounts = evidence::mounts(1);
        assert!(
            mounts
                .iter()
                .all(|mount| !mount.point.starts_with(&volumes)),
            "{mounts:?}"
        );
    }
}

/// An image in which such a place is a link gives a container whose place is right, or none.
#[test]
fn the_places_that_every_container_has_are_its_own() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("places");
    let outside = outside(&daemon);
    let before: Vec<_> = evidence::mounts(1).into_iter().map(|m| m.point).collect();
    let places = [
        "dev",
        "proc",
        "sys",
        "dev/shm",
        "dev/null",
        "dev/console",
        "sys/fs/cgroup",
        "etc/hosts",
        "etc/resolv.conf",
        "run",
    ];
    for (number, place) in places.into_iter().enumerate() {
        let name = format!("link{number}");
        let reference = image(&daemon, &name, |tree| link(tree, place, &outside));
        let mut config = container(&name, &reference, &["sleep", "1000"]);
        config.tty = number % 2 == 0;
        if let Ok(run) = pod.attempt(config) {
            let script = "echo x >/dev/null && test -c /dev/null -a ! -s /dev/null";
            let null = run.exec(&["sh", "-c", script]);
            assert_eq!(null.code, 0, "/{place}: {null:?}");
            run.remove();
        }
        assert!(is_empty(&outside), "/{place} led to the host");
    }
    let after = evidence::mounts(1).into_iter().map(|mount| mount.point);
    let ours: Vec<_> = after
        .filter(|point| point.starts_with(&daemon.place.dir))
        .collect();
    assert!(ours.iter().all(|point| before.contains(point)), "{ours:?}");
}

/// An image whose /proc is a link, and one that has files there: what a container sees is the kernel's.
#[test]
fn proc_is_procfs_or_there_is_no_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("proc");
    let linked = image(&daemon, "proc-link", |tree| {
        fs::create_dir_all(tree.join("other")).unwrap();
        link(tree, "proc", "/other");
    });
    let filled = image(&daemon, "proc-files", |tree| {
        fs::create_dir_all(tree.join("proc/self")).unwrap();
        fs::write(tree.join("proc/self/status"), "from the image").unwrap();
    });
    for (name, reference) in [("linked", linked), ("filled", filled)] {
        let Ok(run) = pod.attempt(container(name, &reference, &["sleep", "1000"])) else {
            continue;
        };
        let mounts = evidence::mounts(run.pid());
        let on_proc = |point: &std::path::Path| point.to_str() == Some("/proc");
        let procfs = mounts.iter().any(|m| m.kind == "proc" && on_proc(&m.point));
        assert!(procfs, "{name}: {mounts:?}");
        assert_eq!(run.sh("stat -f -c %T /proc/self/status"), "proc\n");
    }
}

/// A volume reaches no part of procfs, neither by name nor through a link of the image.
#[test]
fn no_volume_lies_on_procfs() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("on-proc");
    let volume = daemon.place.dir.join("volume");
    fs::create_dir_all(&volume).unwrap();
    let reference = image(&daemon, "shortcut", |tree| {
        link(tree, "shortcut", "/proc/tty")
    });
    let targets = [
        "/proc/tty",
        "/shortcut",
        "/shortcut/driver",
        "/tmp/../proc/tty",
    ];
    for (number, target) in targets.into_iter().enumerate() {
        let mut config = container(&format!("c{number}"), &reference, &["sleep", "1000"]);
        config.mounts = vec![mount(&volume, target)];
        if let Ok(run) = pod.attempt(config) {
            let mounts = evidence::mounts(run.pid());
            let strange = |mount: &&machine::Mount| {
                let own = mount.kind == "proc" || mount.kind == "tmpfs";
                mount.point.starts_with("/proc") && !own
            };
            let inside: Vec<_> = mounts.iter().filter(strange).collect();
            assert!(inside.is_empty(), "{target}: {inside:?}");
        }
    }
}

/// What masks a path is the kernel's null device, whatever the image calls so.
#[test]
fn paths_are_masked_by_the_real_null() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("masked");
    let reference = image(&daemon, "null", |tree| {
        fs::write(tree.join("etc/mark"), "mark").unwrap();
        link(tree, "dev/null", "/etc/mark");
    });
    let mut config = container("c", &reference, &["sleep", "1000"]);
    let masked = ["/proc/timer_list", "/proc/keys"];
    config.security().masked_paths = masked.map(str::to_owned).to_vec();
    let run = pod.attempt(config).unwrap();
    for path in masked {
        let script = format!("echo x >{path}; cat {path}; stat -L -c %t:%T {path}");
        assert_eq!(run.sh(&script), "1:3\n", "{path}");
    }
    assert_eq!(run.sh("cat /etc/mark"), "mark");
}

/// What lies on /dev/console is the container's terminal, and what the image has there stays as it is.
#[test]
fn the_console_is_the_terminal_and_nothing_else() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("console");
    let outside = outside(&daemon);
    let absent = outside.join("absent");
    for (number, target) in ["/etc/mark", "mark", absent.to_str().unwrap()]
        .into_iter()
        .enumerate()
    {
        let name = format!("console{number}");
        let reference = image(&daemon, &name, |tree| {
            fs::write(tree.join("etc/mark"), "mark").unwrap();
            link(tree, "dev/console", target);
        });
        let mut config = container(&name, &reference, &["sh", "-c", "sleep 1000"]);
        config.tty = true;
        let run = pod.attempt(config).unwrap();
        let said = run.sh("stat -c %F /dev/console; cat /proc/self/mountinfo");
        assert!(said.starts_with("character special file\n"), "{said}");
        let bound = said.lines().find(|line| line.contains(" /dev/console "));
        assert!(
            bound.is_some_and(|line| line.contains(" - devpts ")),
            "{said}"
        );
        assert_eq!(run.sh("cat /etc/mark"), "mark");
    }
    assert!(is_empty(&outside));
}
