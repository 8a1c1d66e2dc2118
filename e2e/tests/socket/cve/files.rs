//! Files and directories of the host beside a container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use cri_api::runtime::v1::ReopenContainerLogRequest;
use e2e::call::call;
use e2e::program::sh;
use e2e::request::{idle, mount, shell};
use e2e::{BUSYBOX, Daemon};

use super::{is_empty, trap};

/// CVE-2024-25621: directories of the runtime's state that everybody could enter, with programs in them that run
/// as another user on the host.
#[test]
fn cve_2024_25621_nobody_else_enters_the_state() {
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

/// CVE-2021-43816: a volume was relabelled through a path that the pod could exchange. A label is only ever set on
/// what a descriptor names, and on nothing where there is no SELinux.
#[test]
fn cve_2021_43816_no_file_of_the_runtime_is_relabelled() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("label");
    let volume = daemon.place.dir.join("volume");
    fs::create_dir_all(&volume).unwrap();
    symlink("/etc", volume.join("etc")).unwrap();
    let state = daemon.place.run().join("pods").join(&pod.id);
    let labels = || {
        sh(&format!(
            "getfattr -n security.selinux -h /etc {} {} 2>/dev/null || true",
            state.display(),
            volume.display()
        ))
    };
    let before = labels();
    daemon.provide(BUSYBOX);
    for (number, source) in [volume.join("etc"), state.join("hosts"), volume.clone()]
        .iter()
        .enumerate()
    {
        let mut config = idle(&format!("c{number}"));
        let mut relabelled = mount(source, "/data");
        relabelled.selinux_relabel = true;
        config.mounts = vec![relabelled];
        let _ = pod.attempt(config);
    }
    assert_eq!(labels(), before);
}

/// CVE-2026-53489: a pod that can write to its log directory put a link where the log was to be: the runtime
/// appended to any file of the host.
#[test]
fn cve_2026_53489_a_log_is_no_link() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let victim = trap(&daemon).join("victim");
    fs::write(&victim, "untouched").unwrap();
    let run = pod.start(shell("c", "while sleep 0.1; do echo evil; done"));
    run.wait_for("evil");
    fs::remove_file(run.log_path()).unwrap();
    symlink(&victim, run.log_path()).unwrap();
    let mut clients = daemon.clients();
    let request = ReopenContainerLogRequest {
        container_id: run.id.clone(),
    };
    let reopened = call(async move { clients.runtime.reopen_container_log(request).await });
    assert!(reopened.is_err(), "a link was opened");
    let again = pod.attempt(shell("c2", "echo evil"));
    drop(again);
    symlink(&victim, format!("{}/c3.log", pod.config.log_directory)).unwrap();
    assert!(
        pod.attempt(shell("c3", "echo evil")).is_err(),
        "a link was opened"
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
}

/// CVE-2025-0750: an annotation made links to logs at a path of the pod's choice. There is no such annotation.
#[test]
fn cve_2025_0750_no_annotation_makes_links_to_logs() {
    let daemon = Daemon::start();
    let trap = trap(&daemon);
    let mut config = daemon.pod("link-logs");
    let up = format!("{}{}", "../".repeat(20), &trap.display().to_string()[1..]);
    for key in [
        "io.kubernetes.cri-o.LinkLogs",
        "link-logs.crio.io",
        "io.kubernetes.cri-o.LinkLogs.crio.io",
    ] {
        config.annotations.insert(key.to_owned(), up.clone());
    }
    let pod = daemon.run(config);
    let (_, status) = pod.finish(shell("c", "echo logged"));
    assert_eq!(status.exit_code, 0);
    assert!(is_empty(&trap));
}
