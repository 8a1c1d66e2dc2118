//! Files and directories of the host beside a container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use cri_api::runtime::v1::ReopenContainerLogRequest;
use e2e::call::call;
use e2e::program::sh;
use e2e::request::{idle, mount, shell};
use e2e::{BUSYBOX, Daemon};

use super::{is_empty, outside};

/// A container's files have owners that are users of the host too, and programs among them run as these.
#[test]
fn nobody_else_enters_the_state() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("state");
    let run = pod.start(idle("c"));
    let (root, state) = (daemon.place.root(), daemon.place.run());
    let secrets = [
        root.join("containers").join(&run.id).join("upper"),
        state.join("pods").join(&pod.id).join("pod.json"),
    ];
    for secret in secrets {
        let barred = secret.ancestors().any(|above| {
            above.starts_with(&daemon.place.dir)
                && fs::metadata(above).is_ok_and(|found| found.permissions().mode() & 0o007 == 0)
        });
        assert!(barred, "{} is for everybody", secret.display());
        let script = format!(
            "setpriv --reuid 65534 --regid 65534 --clear-groups stat {} 2>&1 || true",
            secret.display()
        );
        assert!(
            sh(&script).contains("Permission denied"),
            "{}",
            secret.display()
        );
    }
}

/// A label is set on what a descriptor of the volume names, and on nothing where there is no SELinux.
#[test]
fn only_what_a_volume_is_gets_a_label() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("label");
    let outside = outside(&daemon);
    let volume = daemon.place.dir.join("volume");
    fs::create_dir_all(&volume).unwrap();
    symlink(&outside, volume.join("link")).unwrap();
    let labels = || {
        sh(&format!(
            "getfattr -n security.selinux -h {} 2>/dev/null || true",
            outside.display()
        ))
    };
    let before = labels();
    daemon.provide(BUSYBOX);
    let mut config = idle("c");
    let mut relabelled = mount(&volume, "/data");
    relabelled.selinux_relabel = true;
    config.mounts = vec![relabelled];
    let _ = pod.attempt(config);
    assert_eq!(labels(), before);
}

/// Whoever can write to a pod's log directory decides what lies there, but not which file the runtime writes to.
#[test]
fn a_log_is_no_link() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let other = outside(&daemon).join("other");
    fs::write(&other, "untouched").unwrap();
    let run = pod.start(shell("c", "while sleep 0.1; do echo line; done"));
    run.wait_for("line");
    fs::remove_file(run.log_path()).unwrap();
    symlink(&other, run.log_path()).unwrap();
    let mut clients = daemon.clients();
    let request = ReopenContainerLogRequest {
        container_id: run.id.clone(),
    };
    let reopened = call(async move { clients.runtime.reopen_container_log(request).await });
    assert!(reopened.is_err(), "a link was opened");
    symlink(&other, format!("{}/c2.log", pod.config.log_directory)).unwrap();
    assert!(
        pod.attempt(shell("c2", "echo line")).is_err(),
        "a link was opened"
    );
    assert_eq!(fs::read_to_string(&other).unwrap(), "untouched");
    assert_eq!(fs::metadata(&other).unwrap().nlink(), 1);
}

/// Annotations that the runtime does not know are kept and change nothing, whatever paths they have.
#[test]
fn an_annotation_makes_no_file() {
    let daemon = Daemon::start();
    let outside = outside(&daemon);
    let mut config = daemon.pod("annotated");
    let path = outside.join("made").display().to_string();
    for key in ["logs.example.com/link", "example.com/directory", "volume"] {
        config.annotations.insert(key.to_owned(), path.clone());
    }
    let pod = daemon.run(config);
    let mut config = shell("c", "echo logged");
    config.annotations.insert("log".to_owned(), path);
    let (_, status) = pod.finish(config);
    assert_eq!(status.exit_code, 0);
    assert!(is_empty(&outside));
}
