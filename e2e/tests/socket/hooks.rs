//! Hooks of CDI devices, with real programs, as the OCI runtime specification 1.3.0 has them ("POSIX-platform Hooks",
//! "Lifecycle").

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cri_api::runtime::v1::{CdiDevice, ContainerConfig, ContainerState};
use e2e::call::until;
use e2e::place::Place;
use e2e::request::{ContainerParts, idle, mount, shell};
use e2e::{Daemon, Options, evidence, fails};
use serde_json::{Value, json};
use tonic::Code;

const MOMENTS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// A daemon whose device `acme.com/x=d` has these hooks.
fn daemon(hooks: &dyn Fn(&str) -> Value) -> Daemon {
    let place = Place::new();
    let dir = place.dir.join("cdi");
    fs::create_dir_all(&dir).unwrap();
    let hooks = hooks(&place.dir.display().to_string());
    let text = json!({
        "cdiVersion": "1.1.0",
        "kind": "acme.com/x",
        "devices": [{ "name": "d", "containerEdits": { "hooks": hooks } }],
    });
    fs::write(dir.join("acme.json"), text.to_string()).unwrap();
    let dirs = vec![dir.display().to_string()];
    Options::default().set("cdi.dirs", dirs).write(&place);
    Daemon::at(place)
}

fn with_hooks(config: ContainerConfig) -> ContainerConfig {
    let name = "acme.com/x=d".to_owned();
    ContainerConfig {
        cdi_devices: vec![CdiDevice { name }],
        ..config
    }
}

fn hook(moment: &str, script: &str) -> Value {
    json!({ "hookName": moment, "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// A hook that writes its state and its mount namespace to the file `MOMENT`, and its name to the file `order`.
fn note(dir: &str, moment: &str) -> Value {
    let dir = if moment == "startContainer" {
        "/notes"
    } else {
        dir
    };
    let script = format!(
        "cat >{dir}/{moment}; readlink /proc/self/ns/mnt >{dir}/{moment}.mnt; pwd >{dir}/{moment}.cwd; echo {moment} >>{dir}/order"
    );
    hook(moment, &script)
}

fn noted(daemon: &Daemon, name: &str) -> String {
    let text = fs::read_to_string(daemon.place.dir.join(name));
    text.unwrap_or_default().trim().to_owned()
}

fn own_mounts() -> String {
    let link = fs::read_link("/proc/self/ns/mnt").unwrap();
    link.display().to_string()
}

/// Takes a copy of each descriptor of the process of a start, as one who looks into /proc/PID/fd has for a moment, and
/// keeps them for some seconds. 438 is pidfd_getfd(2).
const HOLDER: &str = r#"
import ctypes, json, os, sys, time
directory = sys.argv[1]
while not os.path.exists(directory + "/told"):
    time.sleep(0.01)
pid = json.load(open(directory + "/state"))["pid"]
process = os.pidfd_open(pid)
call = ctypes.CDLL(None).syscall
kept = [call(438, process, int(name), 0) for name in os.listdir("/proc/%d/fd" % pid)]
assert min(kept) >= 0, kept
open(directory + "/held", "w").close()
time.sleep(4)
"#;

/// A program that had run and ended was called one that had vanished, while somebody looked at its descriptors: one of
/// them is the socket on which its start is reported, and this one was not seen to close (critest 1.37.0 with four specs
/// at a time, Linux 6.12).
#[test]
fn a_short_program_has_run_whoever_holds_its_descriptors() {
    let wait = |dir: &str| {
        let script = format!(
            "cat >{dir}/state; touch {dir}/told; until [ -e {dir}/held ]; do sleep 0.05; done"
        );
        json!([hook("createRuntime", &script)])
    };
    let daemon = daemon(&wait);
    let pod = daemon.run_named("held");
    let mut holder = Command::new("python3")
        .args(["-c", HOLDER])
        .arg(&daemon.place.dir)
        .spawn()
        .unwrap();
    let (_, status) = pod.finish(with_hooks(shell("c", "exit 3")));
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (3, "Error"),
        "{status:?}"
    );
    assert!(holder.wait().unwrap().success());
}

#[test]
fn hooks_run_in_their_order_and_are_told_the_state() {
    let daemon = daemon(&|dir| MOMENTS.map(|moment| note(dir, moment)).into());
    let pod = daemon.run_named("hooks");
    let mut config = with_hooks(idle("c"));
    let notes: PathBuf = daemon.place.dir.clone();
    config.mounts = vec![mount(&notes, "/notes")];
    let container = pod.start(config);
    assert_eq!(noted(&daemon, "order"), MOMENTS[..5].join("\n"));
    let pid = container.pid();
    container.stop(0);
    assert_eq!(noted(&daemon, "order"), MOMENTS.join("\n"));
    for (moment, status, number) in [
        ("prestart", "creating", Some(pid)),
        ("createRuntime", "creating", Some(pid)),
        ("createContainer", "creating", Some(1)),
        ("startContainer", "created", Some(1)),
        ("poststart", "running", Some(pid)),
        ("poststop", "stopped", None),
    ] {
        let state: Value = serde_json::from_str(&noted(&daemon, moment)).unwrap();
        assert_eq!(state["status"], status, "{moment}");
        assert_eq!(state["id"], container.id.as_str(), "{moment}");
        assert_eq!(state["pid"].as_i64(), number.map(i64::from), "{moment}");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
        let bundle = state["bundle"].as_str().unwrap();
        let config = fs::read_to_string(format!("{bundle}/config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["root"]["path"], "rootfs");
        let annotations = state["annotations"].as_object().unwrap();
        assert_eq!(
            Some(annotations),
            config["annotations"].as_object(),
            "{moment}"
        );
        assert!(!annotations.is_empty());
        let mounts = noted(&daemon, &format!("{moment}.mnt"));
        let inside = matches!(moment, "createContainer" | "startContainer");
        assert_eq!(mounts != own_mounts(), inside, "{moment}: {mounts}");
        let directory = noted(&daemon, &format!("{moment}.cwd"));
        let wanted = if moment == "startContainer" {
            "/"
        } else {
            bundle
        };
        assert_eq!(directory, wanted, "{moment}");
    }
}

/// What vendors' hooks do: look at config.json and change the root that lies in the bundle.
#[test]
fn a_create_container_hook_sees_the_root_and_the_hosts_files() {
    let daemon = daemon(&|dir| {
        let inside = format!(
            "set -e; cat >/dev/null; grep -q rootfs config.json; test -d rootfs/proc/1; test -e {dir}/cdi/acme.json; \
             echo from-a-hook >rootfs/from-hook; ln -s from-hook rootfs/linked; mkdir rootfs/below; mount -t tmpfs none rootfs/below; echo x >rootfs/below/x"
        );
        json!([hook("createContainer", &inside), { "hookName": "startContainer", "path": "/bin/sh",
            "args": ["sh", "-c", "cat >/dev/null; id -u >/tmp/id; echo $OWN >/tmp/own; grep CapEff /proc/self/status >/tmp/caps"],
            "env": ["OWN=of-the-hook", "PATH=/bin"] }])
    });
    let pod = daemon.run_named("hooks");
    let mut config = with_hooks(idle("c"));
    config.security().run_as_user = Some(cri_api::runtime::v1::Int64Value { value: 7 });
    let container = pod.start(config);
    assert_eq!(container.sh("cat /linked /below/x"), "from-a-hook\nx\n");
    assert_eq!(container.sh("cat /tmp/id /tmp/own"), "7\nof-the-hook\n");
    assert!(container.sh("cat /tmp/caps").contains("0000000000000000"));
    assert!(
        !container
            .sh("cat /proc/mounts")
            .contains(&daemon.place.dir.display().to_string())
    );
    let host = evidence::mounts(i32::try_from(std::process::id()).unwrap());
    let mut points = host.iter().map(|mount| mount.point.display().to_string());
    let leaked = points.find(|point| point.contains(&container.id));
    assert_eq!(leaked, None, "a mount has reached the host");
    // A container without the device runs no hook.
    assert_ne!(
        pod.start(idle("plain"))
            .exec(&["test", "-e", "/from-hook"])
            .code,
        0
    );
}

#[test]
fn a_hook_that_fails_ends_the_start() {
    for moment in &MOMENTS[..5] {
        let daemon = daemon(&|dir| {
            let fail = "cat >/dev/null; echo no such card >&2; exit 3";
            json!([
                hook(moment, fail),
                hook(moment, &format!("touch {dir}/next")),
                note(dir, "poststop")
            ])
        });
        let pod = daemon.run_named("hooks");
        let container = pod.create(with_hooks(idle("c")));
        let words = [*moment, "/bin/sh", "exited with 3", "no such card"];
        fails(
            daemon.try_start(&container.id),
            Code::FailedPrecondition,
            &words,
        );
        let status = container.status();
        assert_eq!(status.state(), ContainerState::ContainerExited, "{moment}");
        assert_eq!(status.reason, "StartError", "{moment}");
        assert_eq!(noted(&daemon, "order"), "poststop", "{moment}");
        assert!(!daemon.place.dir.join("next").exists(), "{moment}");
        container.remove();
        pod.start(idle("after")).sh("true");
    }
}

#[test]
fn hooks_that_cannot_run_are_named() {
    for (entry, words) in [
        (
            json!({ "hookName": "createRuntime", "path": "/no/such/hook" }),
            ["/no/such/hook", "No such file"],
        ),
        (
            json!({ "hookName": "startContainer", "path": "/no/such/hook" }),
            ["startContainer", "No such file"],
        ),
        (
            json!({ "hookName": "createContainer", "path": "/etc" }),
            ["/etc", "ermission denied"],
        ),
    ] {
        let daemon = daemon(&|_| json!([entry]));
        let pod = daemon.run_named("hooks");
        let container = pod.create(with_hooks(idle("c")));
        fails(
            daemon.try_start(&container.id),
            Code::FailedPrecondition,
            &words,
        );
    }
    for (entry, words) in [
        (
            json!({ "hookName": "createRuntime", "path": "bin/hook" }),
            ["bin/hook", "absolute"],
        ),
        (
            json!({ "hookName": "createRuntime", "path": "/x", "timeout": 0 }),
            ["timeout", "0"],
        ),
        (
            json!({ "hookName": "createRuntime", "path": "/x", "timeout": -1 }),
            ["timeout", "-1"],
        ),
    ] {
        let daemon = daemon(&|_| json!([entry]));
        daemon.provide(e2e::BUSYBOX);
        let pod = daemon.run_named("hooks");
        let refused = daemon.try_create(&pod.id, &pod.config, &with_hooks(idle("c")));
        fails(refused, Code::InvalidArgument, &words);
    }
}

#[test]
fn a_hook_that_hangs_costs_its_timeout() {
    for moment in &MOMENTS[..5] {
        let daemon = daemon(&|_| {
            let mut hang = hook(moment, "cat >/dev/null; sleep 1000 & sleep 1000");
            hang["timeout"] = json!(1);
            json!([hang])
        });
        let pod = daemon.run_named("hooks");
        let container = pod.create(with_hooks(idle("c")));
        let words = [*moment, "did not end within 1 s"];
        fails(
            daemon.try_start(&container.id),
            Code::FailedPrecondition,
            &words,
        );
        pod.start(idle("after")).sh("true");
    }
}

/// Nothing else waits for a hook, and the end of the pod ends it.
#[test]
fn a_pod_goes_on_and_ends_while_a_hook_hangs() {
    let daemon = daemon(&|dir| {
        json!([hook(
            "createRuntime",
            &format!("touch {dir}/begun; exec sleep 900")
        )])
    });
    let pod = daemon.run_named("hooks");
    let container = pod.create(with_hooks(idle("c")));
    let id = container.id.clone();
    std::thread::scope(|scope| {
        let start = scope.spawn(|| daemon.try_start(&id));
        until("the hook runs", Duration::from_secs(10), || {
            daemon.place.dir.join("begun").exists().then_some(())
        });
        pod.start(idle("other")).sh("true");
        pod.remove();
        assert!(start.join().unwrap().is_err());
    });
}

#[test]
fn hooks_of_the_end_are_run_and_their_failures_change_nothing() {
    let daemon = daemon(&|dir| {
        let mut hang = hook("poststop", "sleep 1000");
        hang["timeout"] = json!(1);
        json!([hook("poststop", "exit 4"), hang, note(dir, "poststop")])
    });
    let pod = daemon.run_named("hooks");
    let (_, status) = pod.finish(with_hooks(shell("c", "exit 5")));
    assert_eq!((status.exit_code, status.reason.as_str()), (5, "Error"));
    assert_eq!(noted(&daemon, "order"), "poststop");
}

#[test]
fn a_start_with_hooks_outlives_the_daemon() {
    let daemon = daemon(&|dir| {
        json!([
            hook("createRuntime", &format!("touch {dir}/begun; sleep 3")),
            note(dir, "poststart"),
            note(dir, "poststop")
        ])
    });
    let pod = daemon.run_named("hooks");
    let container = pod.create(with_hooks(idle("c")));
    let id = container.id.clone();
    std::thread::scope(|scope| {
        let start = scope.spawn(|| daemon.try_start(&id));
        until("the hook runs", Duration::from_secs(10), || {
            daemon.place.dir.join("begun").exists().then_some(())
        });
        daemon.kill9();
        assert!(start.join().unwrap().is_err());
    });
    daemon.restart();
    until("the container runs", Duration::from_secs(20), || {
        (container.status().state() == ContainerState::ContainerRunning).then_some(())
    });
    assert_eq!(noted(&daemon, "order"), "poststart");
    container.stop(0);
    assert_eq!(noted(&daemon, "order"), "poststart\npoststop");
}
