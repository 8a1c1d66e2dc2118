//! What of the host a container's processes can reach through themselves: programs, descriptors, sockets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use cri_api::runtime::v1::{NamespaceMode, NamespaceOption};
use e2e::evidence::status;
use e2e::request::{ContainerParts, PodParts, container, idle, shell};
use e2e::{BUSYBOX, Daemon};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use super::{image, is_empty, link, outside};

/// What enters a pod is a copy in memory that nobody can write any more, and not the file on the disk.
#[test]
fn the_program_that_enters_a_pod_is_sealed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("sealed");
    pod.start(idle("c"));
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    let exe = format!("/proc/{shim}/exe");
    let path = fs::read_link(&exe).unwrap();
    let name = path.to_string_lossy();
    assert!(name.starts_with("/memfd:"), "{name}");
    let program = fs::File::open(&exe).unwrap();
    let seals = SealFlag::from_bits_retain(fcntl(&program, FcntlArg::F_GET_SEALS).unwrap());
    let wanted = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    assert!(seals.contains(wanted | SealFlag::F_SEAL_SEAL), "{seals:?}");
}

/// Processes of a container, and commands that run in it later, have their standard streams and nothing else.
#[test]
fn every_descriptor_is_closed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("closed");
    daemon.provide(BUSYBOX);
    let run = pod.start(shell("own", "ls -l /proc/self/fd; exec sleep 1000"));
    run.wait_for("total");
    let listed = [run.stdout(), run.sh("ls -l /proc/self/fd")].concat();
    for line in listed.lines().filter_map(|line| line.split_once(" -> ")) {
        let harmless = ["pipe:", "/dev/null", "/proc/"]
            .iter()
            .any(|start| line.1.starts_with(start));
        assert!(harmless, "{listed}");
    }
    for entry in fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap() {
        let number: i32 = entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(number <= 2, "descriptor {number} is open");
    }
}

/// Wherever a request or a link of the image wants a process to begin, that is in its root, or it does not begin.
#[test]
fn the_working_directory_lies_in_the_root() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("directory");
    let outside = outside(&daemon);
    let reference = image(&daemon, "directory", |tree| link(tree, "away", &outside));
    for (number, directory) in [
        "/tmp",
        "/away",
        "/away/sub",
        "/tmp/../new/sub",
        "/proc/self",
    ]
    .into_iter()
    .enumerate()
    {
        let mut config = container(&format!("c{number}"), &reference, &["sleep", "1000"]);
        config.working_dir = directory.to_owned();
        if let Ok(run) = pod.attempt(config) {
            let (cwd, root) = (format!("/proc/{}/cwd", run.pid()), run.sh("pwd"));
            // Seen from the host, a directory of the container is the one of that name in its root.
            let inside = format!("/proc/{}/root{}", run.pid(), root.trim());
            let same = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino()));
            if directory != "/proc/self" {
                assert_eq!(same(&cwd).unwrap(), same(&inside).unwrap(), "{directory}");
            }
        }
        assert!(is_empty(&outside), "{directory} led to the host");
    }
}

/// A pod of the host's network sees abstract sockets, which have no permissions. Those of the daemon and of the
/// shims are files that only root can open, below directories that only root can enter.
#[test]
fn no_socket_is_abstract() {
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

/// With inheritable capabilities a program that has capabilities in its file has more than its user should.
#[test]
fn nothing_is_inheritable() {
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
