//! Containers that cannot be started because of what was asked for: whose fault it is, and what stays.

use std::path::Path;

use cri_api::runtime::v1::{ContainerConfig, ContainerState};
use e2e::request::{BUSYBOX, container, idle, mount};
use e2e::{Daemon, fails};
use tonic::Code;

#[test]
fn a_launch_that_the_request_spoils_is_not_an_internal_error() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("failures");
    let script = daemon.place.dir.join("script");
    std::fs::write(&script, "no program\n").unwrap();
    let with_script = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    with_script(0o644);
    for (config, word) in spoiled(&script) {
        let name = config.metadata.clone().unwrap().name;
        let container = pod.create(config);
        let answer = daemon.try_start(&container.id);
        fails(answer, Code::InvalidArgument, &[word]);
        let status = container.status();
        assert_eq!(status.state(), ContainerState::ContainerExited, "{name}");
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (128, "StartError")
        );
        assert!(status.message.contains(word), "{}", status.message);
        assert!(status.finished_at > 0);
    }
    with_script(0o755);
    let mut config = container("format", BUSYBOX, &["/script"]);
    config.mounts = vec![mount(&script, "/script")];
    let format = pod.create(config);
    fails(
        daemon.try_start(&format.id),
        Code::InvalidArgument,
        &["/script", "format"],
    );
    let running = pod.start(idle("running"));
    let answer = daemon.try_exec(&running.id, &["/no/such/program"], 5);
    fails(answer, Code::InvalidArgument, &["/no/such/program"]);
}

/// Containers that cannot be started, each with what the answer has to name.
fn spoiled(script: &Path) -> Vec<(ContainerConfig, &'static str)> {
    let below_a_file = script.join("below");
    let command = |name: &str, command: &[&str]| container(name, BUSYBOX, command);
    vec![
        (
            command("missing", &["/no/such/program"]),
            "/no/such/program",
        ),
        (command("unfound", &["no-such-program"]), "no-such-program"),
        (command("directory", &["/etc"]), "/etc"),
        (
            ContainerConfig {
                mounts: vec![mount(script, "/script")],
                ..command("forbidden", &["/script"])
            },
            "/script",
        ),
        (
            ContainerConfig {
                working_dir: "/etc/passwd/x".to_owned(),
                ..idle("cwd")
            },
            "/etc/passwd/x",
        ),
        (
            ContainerConfig {
                mounts: vec![mount(&below_a_file, "/x")],
                ..idle("path")
            },
            "script/below",
        ),
        (
            ContainerConfig {
                mounts: vec![mount(script, "/etc")],
                ..idle("target")
            },
            "/etc",
        ),
    ]
}
