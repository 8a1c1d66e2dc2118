//! What of the host a container's processes can reach through themselves: programs, descriptors, sockets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use cri_api::runtime::v1::{NamespaceMode, NamespaceOption};
use e2e::evidence::status;
use e2e::program::{built, sh};
use e2e::request::{ContainerParts, PodParts, container, idle, shell};
use e2e::{BUSYBOX, Daemon};

use super::image;

/// CVE-2019-5736: a program whose interpreter is /proc/self/exe makes the runtime run itself inside, where its
/// file is opened for writing. Here what enters is a sealed copy in memory.
#[test]
fn cve_2019_5736_the_runtimes_program_cannot_be_overwritten() {
    let daemon = Daemon::start();
    let reference = image(&daemon, "self-exe", |tree| {
        fs::write(tree.join("evil"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(tree.join("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    let digest = || sh(&format!("sha256sum <{}", built("holdfast-shim").display()));
    let before = digest();
    let pod = daemon.run_named("self-exe");
    // Overwrites whatever runs beside it.
    let script = "while :; do for exe in /proc/[0-9]*/exe; do echo '#!/bin/sh' 2>/dev/null >$exe; done 2>/dev/null; done";
    let mut attacker = container("attacker", &reference, &["sh", "-c", script]);
    attacker.working_dir = "/".to_owned();
    let attacker = pod.start(attacker);
    for _ in 0..10 {
        // It may fail as it likes.
        let _ = daemon.try_exec(&attacker.id, &["/evil"], 5);
    }
    let _ = pod.attempt(container("evil", &reference, &["/evil"]));
    let own = attacker.exec(&["sh", "-c", "echo x >/proc/self/exe"]);
    assert_ne!(own.code, 0, "a program that runs was written");
    assert_eq!(digest(), before);
    attacker.stop(0);
    daemon.run_named("after").start(idle("c"));
}

/// CVE-2024-21626: a working directory of /proc/self/fd/N was a directory of the host that the runtime had open.
#[test]
fn cve_2024_21626_the_working_directory_cannot_be_a_descriptor_of_the_host() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("leak");
    daemon.provide(BUSYBOX);
    for number in 3..16 {
        let mut config = idle(&format!("c{number}"));
        config.working_dir = format!("/proc/self/fd/{number}");
        let outcome = pod.attempt(config);
        assert!(
            outcome.is_err(),
            "{number} is an open directory of the host"
        );
    }
    // Neither do a command of its own or one run later find any.
    let run = pod.start(shell("own", "ls -l /proc/self/fd; exec sleep 1000"));
    run.wait_for("total");
    let listed = [run.stdout(), run.sh("ls -l /proc/self/fd")].concat();
    for line in listed.lines().filter_map(|line| line.split_once(" -> ")) {
        let harmless = ["pipe:", "/dev/null", "/proc/"]
            .iter()
            .any(|start| line.1.starts_with(start));
        assert!(harmless, "{listed}");
    }
}

/// CVE-2020-15257: a pod of the host's network reached the runtime through abstract sockets, which have no
/// permissions. Here sockets are files that only root can open, below directories that only root can enter.
#[test]
fn cve_2020_15257_no_socket_is_abstract() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("host");
    let security = config.security();
    security.namespace_options = Some(NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    });
    let pod = daemon.run(config);
    let mut config = idle("c");
    let security = config.security();
    security.namespace_options = Some(NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    });
    let run = pod.start(config);
    let seen = run.sh("cat /proc/net/unix");
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    let mut checked = 0;
    for pid in [i64::from(daemon.pid()), shim] {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let text = target.display().to_string();
            let Some(inode) = text
                .strip_prefix("socket:[")
                .and_then(|text| text.strip_suffix(']'))
            else {
                continue;
            };
            let line = seen
                .lines()
                .find(|line| line.split_whitespace().nth(6) == Some(inode));
            checked += usize::from(line.is_some());
            let path = line
                .and_then(|line| line.split_whitespace().nth(7))
                .unwrap_or_default();
            assert!(!path.starts_with('@'), "{line:?} of {pid} is abstract");
        }
    }
    assert!(checked > 0, "no socket was looked at");
    for socket in [
        daemon.place.socket(),
        daemon
            .place
            .run()
            .join("pods")
            .join(&pod.id)
            .join("shim.sock"),
    ] {
        let metadata = fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        let open = metadata.permissions().mode() & 0o007 == 0 || {
            let above = fs::metadata(socket.parent().unwrap()).unwrap();
            above.permissions().mode() & 0o007 == 0
        };
        assert!(open, "{} is for everybody", socket.display());
    }
}

/// CVE-2022-24769, CVE-2022-27652, CVE-2022-29162: inheritable capabilities let a program with capabilities in its
/// file have more than its user should.
#[test]
fn cve_2022_29162_nothing_is_inheritable() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("inheritable");
    let run = pod.start(idle("c"));
    let said = run.sh("grep CapInh /proc/self/status");
    assert_eq!(said.trim(), "CapInh:\t0000000000000000");
    assert_eq!(status(run.pid(), "CapInh"), "0000000000000000");
    let mut config = idle("user");
    let security = config.security();
    security.run_as_user = Some(cri_api::runtime::v1::Int64Value { value: 1000 });
    security.capabilities = Some(cri_api::runtime::v1::Capability {
        add_capabilities: vec!["NET_ADMIN".to_owned()],
        ..cri_api::runtime::v1::Capability::default()
    });
    let run = pod.start(config);
    assert_eq!(status(run.pid(), "CapInh"), "0000000000000000");
}
