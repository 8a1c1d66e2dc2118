//! Links where the runtime mounts and makes files.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use e2e::Daemon;
use e2e::evidence;
use e2e::request::{ContainerParts, container, idle, mount};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{image, is_empty, link, trap};

/// CVE-2021-30465: a container of the pod exchanges a directory of a shared volume for a link to / while another
/// one's volume is mounted there: the mount came to lie on the host.
#[test]
fn cve_2021_30465_a_target_exchanged_for_a_link_stays_inside() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("exchange");
    let volumes = daemon.place.dir.join("volumes");
    let (shared, data) = (volumes.join("shared"), volumes.join("data"));
    fs::create_dir_all(shared.join("target/deep")).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("mark"), "data").unwrap();
    let trap = trap(&daemon);
    symlink(&trap, shared.join("link")).unwrap();
    let before = evidence::mounts(1).len();
    let end = Arc::new(AtomicBool::new(false));
    let attacker = thread::spawn({
        let (end, shared) = (Arc::clone(&end), shared.clone());
        move || {
            while !end.load(Ordering::Relaxed) {
                let (one, two) = (shared.join("target"), shared.join("link"));
                renameat2(AT_FDCWD, &one, AT_FDCWD, &two, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        }
    });
    let mut started = 0;
    for number in 0..20 {
        let mut config = idle(&format!("c{number}"));
        config.mounts = vec![
            mount(&shared, "/shared"),
            mount(&data, "/shared/target/deep"),
        ];
        daemon.provide(e2e::BUSYBOX);
        let Ok(run) = pod.attempt(config) else {
            continue;
        };
        started += 1;
        let points = evidence::mounts(run.pid());
        assert!(
            points.iter().any(|mount| mount.point.ends_with("deep")),
            "{points:?}"
        );
        run.remove();
    }
    end.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert!(
        is_empty(&trap),
        "something was made on the host, in {started} starts"
    );
    let mounts = evidence::mounts(1);
    assert!(
        mounts
            .iter()
            .all(|mount| !mount.point.starts_with(&volumes)),
        "{before}: {mounts:?}"
    );
}

/// CVE-2024-45310: the directories that lead to a mount's target were made through links, and so on the host.
#[test]
fn cve_2024_45310_directories_for_targets_are_made_inside() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("mkdirall");
    let volumes = daemon.place.dir.join("volumes");
    fs::create_dir_all(volumes.join("a")).unwrap();
    let trap = trap(&daemon);
    symlink(&trap, volumes.join("a/link")).unwrap();
    let up = format!("{}{}", "../".repeat(40), &trap.display().to_string()[1..]);
    symlink(up, volumes.join("a/up")).unwrap();
    daemon.provide(e2e::BUSYBOX);
    for target in ["/a/link/made/here", "/a/up/made/here", "/a/link"] {
        let mut config = idle(&format!("c{}", target.len()));
        config.mounts = vec![mount(volumes.join("a"), "/a"), mount(&volumes, target)];
        let _ = pod.attempt(config);
        assert!(is_empty(&trap), "{target} led to the host");
    }
}

/// CVE-2026-41579 (runc), CVE-2026-47766 (crun), CVE-2019-19921, CVE-2023-27561, CVE-2024-5154: an image in which
/// a place that every container has, such as /dev, /proc or /etc/mtab, is a link to a place of the host.
#[test]
fn cve_2026_41579_default_mounts_do_not_follow_links_of_the_image() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("links");
    let trap = trap(&daemon);
    let up = format!("{}{}", "../".repeat(40), &trap.display().to_string()[1..]);
    let places = [
        "dev",
        "proc",
        "sys",
        "dev/shm",
        "dev/pts",
        "dev/mqueue",
        "dev/null",
        "dev/console",
        "dev/ptmx",
        "dev/fd",
        "sys/fs/cgroup",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/mtab",
        "etc",
        "run",
        "tmp",
    ];
    let before = evidence::mounts(1)
        .into_iter()
        .map(|mount| mount.point)
        .collect::<Vec<_>>();
    for (number, place) in places.into_iter().enumerate() {
        for (kind, target) in [
            ("absolute", trap.display().to_string()),
            ("relative", up.clone()),
        ] {
            let name = format!("link{number}{kind}");
            let reference = image(&daemon, &name, |tree| link(tree, place, &target));
            let mut config = container(&name, &reference, &["sleep", "1000"]);
            config.tty = number % 2 == 0;
            if let Ok(run) = pod.attempt(config) {
                let null = run.exec(&[
                    "sh",
                    "-c",
                    "echo x >/dev/null && test -c /dev/null -a ! -s /dev/null",
                ]);
                assert_eq!(null.code, 0, "/{place} {kind}: {null:?}");
                run.remove();
            }
            assert!(is_empty(&trap), "/{place} led to the host");
        }
    }
    let after = evidence::mounts(1).into_iter().map(|mount| mount.point);
    let ours: Vec<_> = after
        .filter(|point| point.starts_with(&daemon.place.dir))
        .collect();
    assert!(ours.iter().all(|point| before.contains(point)), "{ours:?}");
}

/// CVE-2019-19921, CVE-2023-27561: with /proc a link, procfs lay where the container could write, and what was
/// masked or labelled through it was the container's to choose.
#[test]
fn cve_2023_27561_proc_is_procfs_or_there_is_no_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("proc");
    let volume = daemon.place.dir.join("volume");
    fs::create_dir_all(volume.join("proc/self/attr")).unwrap();
    let reference = image(&daemon, "proc-link", |tree| {
        link(tree, "proc", "/volume/proc")
    });
    let mut config = container("c", &reference, &["sleep", "1000"]);
    config.mounts = vec![mount(&volume, "/volume")];
    if let Ok(run) = pod.attempt(config) {
        let mounts = evidence::mounts(run.pid());
        let procfs: Vec<_> = mounts.iter().filter(|mount| mount.kind == "proc").collect();
        assert!(
            procfs
                .iter()
                .any(|mount| mount.point.to_str() == Some("/proc")),
            "{procfs:?}"
        );
    }
    assert!(is_empty(&volume.join("proc/self/attr")));
}

/// CVE-2025-31133: paths are masked by binding /dev/null over them; an image whose /dev/null is a link had any file
/// of /proc bound there, writable.
#[test]
fn cve_2025_31133_paths_are_masked_by_the_real_null() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("masked");
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = pattern();
    let reference = image(&daemon, "null-link", |tree| {
        link(tree, "dev/null", "/proc/sys/kernel/core_pattern");
    });
    let mut config = container("c", &reference, &["sleep", "1000"]);
    config.security().masked_paths = vec!["/proc/timer_list".to_owned(), "/proc/keys".to_owned()];
    if let Ok(run) = pod.attempt(config) {
        for path in ["/proc/timer_list", "/proc/keys"] {
            let script = format!("echo '|/evil' >{path}; cat {path}; stat -L -c %t:%T {path}");
            assert_eq!(run.sh(&script), "1:3\n", "{path}");
        }
    }
    assert_eq!(pattern(), before);
}

/// CVE-2025-52565: the terminal was bound over /dev/console through a path that the container could make a link.
#[test]
fn cve_2025_52565_the_console_is_the_terminal_and_nothing_else() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("console");
    let trap = trap(&daemon);
    let victim = trap.join("victim");
    for (number, target) in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        victim.to_str().unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("console{number}");
        let reference = image(&daemon, &name, |tree| link(tree, "dev/console", target));
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
    }
    assert!(is_empty(&trap));
}

/// CVE-2025-52881: what the runtime writes to /proc, labels and sysctls, was led elsewhere by mounts in the
/// container's /proc. Nothing can be mounted there, and an image's own /proc is covered.
#[test]
fn cve_2025_52881_nothing_diverts_what_is_written_to_proc() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("divert");
    let volume = daemon.place.dir.join("volume");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    let reference = image(&daemon, "proc-files", |tree| {
        fs::create_dir_all(tree.join("proc/self/attr")).unwrap();
        fs::write(tree.join("proc/self/attr/exec"), "").unwrap();
        link(tree, "proc/sys", "/tmp");
        link(tree, "shortcut", "/proc/self/attr");
    });
    for (number, target) in [
        "/proc/self/attr/exec",
        "/proc/thread-self",
        "/shortcut/exec",
        "/tmp/../proc/self/attr/exec",
    ]
    .into_iter()
    .enumerate()
    {
        let mut config = container(&format!("c{number}"), &reference, &["sleep", "1000"]);
        config.mounts = vec![mount(volume.join("file"), target)];
        let outcome = pod.attempt(config);
        if let Ok(run) = outcome {
            let mounts = evidence::mounts(run.pid());
            let inside: Vec<_> = mounts
                .iter()
                .filter(|mount| {
                    mount.point.starts_with("/proc")
                        && mount.kind != "proc"
                        && mount.kind != "tmpfs"
                })
                .collect();
            assert!(inside.is_empty(), "{target}: {inside:?}");
        }
    }
    let run = pod
        .attempt(container("plain", &reference, &["sleep", "1000"]))
        .unwrap();
    assert_eq!(run.sh("stat -f -c %T /proc/self/attr"), "proc\n");
}
