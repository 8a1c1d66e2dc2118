//! Devices: by path, by directory, and by the Container Device Interface.

use std::fs;
use std::path::Path;

use cri_api::runtime::v1::{CdiDevice, ContainerConfig, Device};
use e2e::place::Place;
use e2e::request::{idle, variable};
use e2e::{Daemon, Options, evidence, fails};
use tonic::Code;

const DESCRIPTION: &str = r#"{
  "cdiVersion": "0.6.0",
  "kind": "acme.com/gpu",
  "containerEdits": { "env": ["ACME=all"], "additionalGids": [4444] },
  "devices": [
    { "name": "0", "containerEdits": {
        "env": ["OWN=device"],
        "deviceNodes": [ { "path": "/dev/acme/zero", "hostPath": "/dev/zero", "uid": 7, "fileMode": 432 } ],
        "mounts": [ { "hostPath": "/etc/hostname", "containerPath": "/acme/file", "options": ["ro", "bind"] } ] } },
    { "name": "1", "containerEdits": { "deviceNodes": [ { "path": "/dev/acme1", "type": "c", "major": 1, "minor": 7 } ] } },
    { "name": "hooked", "containerEdits": { "hooks": [ { "hookName": "createContainer", "path": "/bin/acme-hook" } ] } }
  ]
}"#;

/// A daemon that looks for descriptions in a directory of its own.
fn daemon() -> Daemon {
    let place = Place::new();
    let dirs = ["cdi-a", "cdi-b"].map(|name| place.dir.join(name));
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
    }
    fs::write(dirs[0].join("acme.json"), DESCRIPTION).unwrap();
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    Options::default().set("cdi.dirs", dirs).write(&place);
    Daemon::at(place)
}

fn named(config: ContainerConfig, names: &[&str]) -> ContainerConfig {
    let device = |name: &&str| CdiDevice {
        name: (*name).to_owned(),
    };
    ContainerConfig {
        cdi_devices: names.iter().map(device).collect(),
        ..config
    }
}

#[test]
fn a_cdi_device_brings_nodes_mounts_variables_and_groups() {
    let daemon = daemon();
    let pod = daemon.run_named("cdi");
    let mut config = named(idle("c"), &["acme.com/gpu=0"]);
    config.envs = vec![variable("OWN", "request")];
    let container = pod.start(config);
    assert_eq!(container.sh("echo $ACME $OWN"), "all device\n");
    let node = container.sh("stat -c %t:%T:%u:%a /dev/acme/zero; head -c 3 /dev/acme/zero | wc -c");
    assert_eq!(node, "1:5:7:660\n3\n");
    let hosts = fs::read_to_string("/etc/hostname").unwrap();
    assert_eq!(container.sh("cat /acme/file"), hosts);
    assert_ne!(container.exec(&["sh", "-c", "echo x > /acme/file"]).code, 0);
    let groups = evidence::status(container.pid(), "Groups");
    assert!(
        groups.split_whitespace().any(|group| group == "4444"),
        "{groups}"
    );
    assert!(container.sh("id -G").contains("4444"));
}

#[test]
fn annotations_name_devices_as_well_and_each_counts_once() {
    let daemon = daemon();
    let pod = daemon.run_named("cdi");
    let mut config = named(idle("c"), &["acme.com/gpu=1"]);
    let value = "acme.com/gpu=0,acme.com/gpu=1".to_owned();
    config
        .annotations
        .insert("cdi.k8s.io/acme".to_owned(), value);
    let container = pod.start(config);
    container.sh("test -c /dev/acme1 && test -c /dev/acme/zero");
    // What an image or a pod says is no request.
    let plain = pod.start(idle("plain"));
    assert_ne!(plain.exec(&["test", "-e", "/dev/acme1"]).code, 0);
}

#[test]
fn devices_stay_when_their_descriptions_go() {
    let daemon = daemon();
    let pod = daemon.run_named("cdi");
    let container = pod.create(named(idle("c"), &["acme.com/gpu=1"]));
    fs::remove_file(daemon.place.dir.join("cdi-a/acme.json")).unwrap();
    daemon.kill9();
    daemon.restart();
    container.start();
    container.sh("test -c /dev/acme1");
}

#[test]
fn a_later_directory_wins() {
    let daemon = daemon();
    let other = DESCRIPTION.replace("ACME=all", "ACME=later");
    fs::write(daemon.place.dir.join("cdi-b/other.json"), other).unwrap();
    let pod = daemon.run_named("cdi");
    let container = pod.start(named(idle("c"), &["acme.com/gpu=1"]));
    assert_eq!(container.sh("echo $ACME"), "later\n");
}

#[test]
fn cdi_devices_that_cannot_be_are_named() {
    let daemon = daemon();
    let pod = daemon.run_named("cdi");
    daemon.provide(e2e::BUSYBOX);
    let create = |name: &str| {
        let config = named(idle("bad"), &[name]);
        daemon.try_create(&pod.id, &pod.config, &config)
    };
    let unknown = "acme.com/gpu=7";
    fails(create(unknown), Code::InvalidArgument, &[unknown, "cdi-a"]);
    fails(create("gpu"), Code::InvalidArgument, &["gpu", "vendor"]);
    let hooked = ["acme.com/gpu=hooked", "createContainer", "/bin/acme-hook"];
    fails(create(hooked[0]), Code::FailedPrecondition, &hooked);
}

#[test]
fn a_directory_of_devices_expands() {
    let daemon = Daemon::start();
    let dir = daemon.place.dir.join("nodes");
    fs::create_dir_all(dir.join("sub")).unwrap();
    let path = dir.display();
    e2e::program::sh(&format!(
        "mknod -m 640 {path}/one c 1 3; mknod -m 666 {path}/sub/two c 1 5; touch {path}/file"
    ));
    let device = |host: &Path, inside: &str| Device {
        container_path: inside.to_owned(),
        host_path: host.display().to_string(),
        permissions: "rw".to_owned(),
    };
    let pod = daemon.run_named("devices");
    let mut config = idle("c");
    config.devices = vec![
        device(&dir, "/dev/nodes"),
        device(&dir.join("one"), "/dev/alone"),
    ];
    let container = pod.start(config);
    let found =
        container.sh("cd /dev && stat -c %t:%T:%a alone nodes/one nodes/sub/two && ls nodes");
    assert_eq!(found, "1:3:640\n1:3:640\n1:5:666\none\nsub\n");
    let mut config = idle("bad");
    config.devices = vec![device(&dir.join("file"), "/dev/file")];
    let refused = daemon.try_create(&pod.id, &pod.config, &config);
    fails(refused, Code::InvalidArgument, &["devices", "file"]);
}
