//! Devices: by path, by directory, and by the Container Device Interface.

use std::fs;
use std::path::Path;

use cri_api::runtime::v1::{CdiDevice, ContainerConfig, Device};
use e2e::place::Place;
use e2e::request::{idle, variable};
use e2e::{Daemon, Options, evidence, fails};
use tonic::Code;

const DESCRIPTION: &str = r#"{
  "cdiVersion": "0.7.0",
  "kind": "acme.com/gpu",
  "containerEdits": { "env": ["ACME=all"], "additionalGids": [4444] },
  "devices": [
    { "name": "0", "containerEdits": {
        "env": ["OWN=device"],
        "deviceNodes": [ { "path": "/dev/acme/zero", "hostPath": "/dev/zero", "uid": 7, "fileMode": 432 } ],
        "mounts": [ { "hostPath": "/etc/hostname", "containerPath": "/acme/file", "options": ["ro", "bind"] } ] } },
    { "name": "1", "containerEdits": { "deviceNodes": [ { "path": "/dev/acme1", "type": "c", "major": 1, "minor": 7 } ] } },
    { "name": "hooked", "containerEdits": { "hooks": [ { "hookName": "createContainer", "path": "bin/acme-hook" } ] } }
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
    let hooked = [
        "acme.com/gpu=hooked",
        "createContainer",
        "bin/acme-hook",
        "absolute",
    ];
    fails(create(hooked[0]), Code::InvalidArgument, &hooked);
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

/// Edits of a device.
const EDITS: &[&str] = &[
    "{deviceNodes: [{path: /dev/null, fileMode: 0640}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 0o640}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 0x1a0}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 0b110100000}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 4_16}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 416.0}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 0888}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: '0640'}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: !!int '0640'}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: 6:40}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: yes}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: ~}]}",
    "{deviceNodes: [{path: /dev/null, fileMode: -1}]}",
    "{deviceNodes: [{path: /dev/null, permissions: none}]}",
    "{deviceNodes: [{path: /dev/null, permissions: ''}]}",
    "{deviceNodes: [{path: /dev/null, permissions: rwx}]}",
    "{deviceNodes: [{path: /dev/null, type: c, major: 01, minor: 07}]}",
    "{deviceNodes: [{path: /dev/none, type: c, major: 240}]}",
    "{deviceNodes: [{path: /dev/none, type: c}]}",
    "{env: [A=1, ~, B=yes]}",
    "{env: [A=0640, 'B=~', \"C=\\u00e9\"]}",
    "{env: [A]}",
    "{env: A=1}",
    "{env: [A=1], extra: 1}",
    "{env: [A=1], env: [B=1]}",
    "{env: [A=1], hooks: [{hookName: onstart, path: /x}]}",
    "{env: [!vendor A=1]}",
    "{env: [2024-01-02=1]}",
    "{}",
    "~",
];

/// Files without their version and kind.
const BODIES: &[(&str, &str)] = &[
    ("merge", "base: &b {env: [A=1]}"),
    (
        "merged",
        "containerEdits: &b {env: [A=1]}\ndevices: [{name: d, containerEdits: {<<: *b}}]",
    ),
    (
        "anchor",
        "containerEdits: &b {env: [A=1]}\ndevices: [{name: d, containerEdits: *b}]",
    ),
    (
        "documents",
        "devices: [{name: d, containerEdits: {env: [A=1]}}]\n---\n- [}",
    ),
    (
        "end",
        "devices: [{name: d, containerEdits: {env: [A=1]}}]\n...\n",
    ),
    (
        "twice",
        "devices: [{name: d, containerEdits: {env: [A=1]}}, {name: d, containerEdits: {env: [A=1]}}]",
    ),
    ("null", "devices: ~"),
    (
        "null-device",
        "devices: [~, {name: d, containerEdits: {env: [A=1]}}]",
    ),
    (
        "number-name",
        "devices: [{name: d, containerEdits: {env: [A=1]}}, {name: 007, containerEdits: {env: [A=1]}}]",
    ),
    (
        "annotations",
        "annotations: {a: 1, b: yes}\ndevices: [{name: d, containerEdits: {env: [A=1]}}]",
    ),
];

/// Texts of description files of the kind `acme.com/x`, each with a name.
fn texts() -> Vec<(&'static str, String)> {
    let edits = EDITS.iter().map(|edits| {
        let text = format!(
            "cdiVersion: 1.1.0\nkind: acme.com/x\ndevices:\n- name: d\n  containerEdits: {edits}\n"
        );
        (*edits, text)
    });
    let whole = BODIES.iter().map(|(name, text)| {
        (
            *name,
            format!("cdiVersion: 1.1.0\nkind: acme.com/x\n{text}\n"),
        )
    });
    let json = |name, version: &str, text: &str| {
        let text =
            format!("{{\"cdiVersion\": \"{version}\",\n\t\"kind\": \"acme.com/x\", {text}}}\n");
        (name, text)
    };
    let device = r#""devices": [{"name": "d", "containerEdits": {"env": ["A=\u0062"]}}]"#;
    let others = [
        json("json", "0.3.0", device),
        json("json-v", "v1.0.0", device),
        json("json-later", "1.2.0", device),
        json(
            "json-null",
            "1.0.0",
            &format!("\"containerEdits\": {{\"mounts\": null}}, {device}"),
        ),
        json("json-twice", "1.0.0", &format!("{device}, {device}")),
        ("empty", String::new()),
        ("only a word", "word\n".to_owned()),
    ];
    edits.chain(whole).chain(others).collect()
}

/// What of a Spec is compared: environment, nodes and the rules for them.
fn facts(spec: &serde_json::Value, path: &[&str]) -> Vec<String> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let mut out = Vec::new();
    for entry in list(&spec["process"]["env"]) {
        let text = entry.as_str().unwrap_or_default().to_owned();
        let own = !["PATH=", "HOSTNAME=", "TERM=", "HOME="]
            .iter()
            .any(|name| text.starts_with(name));
        out.extend(own.then_some(text));
    }
    for node in list(&spec["linux"]["devices"]) {
        if path.contains(&node["path"].as_str().unwrap_or_default()) {
            let mode = node["fileMode"].as_u64().unwrap_or(0o666);
            let minor = node["minor"].as_i64().unwrap_or(0);
            out.push(format!(
                "{} {} {}:{minor} {mode:o}",
                node["path"], node["type"], node["major"]
            ));
        }
    }
    out
}

/// container-device-interface 1.1.2 is asked about each file, and so are we.
#[test]
fn description_files_are_read_as_the_reference_reads_them() {
    let daemon = daemon();
    let pod = daemon.run_named("cdi");
    daemon.provide(e2e::BUSYBOX);
    let directory = daemon.place.dir.join("reference");
    fs::create_dir_all(&directory).unwrap();
    let texts = texts();
    let files: Vec<String> = (0..texts.len())
        .map(|number| {
            directory
                .join(format!("{number}.yaml"))
                .display()
                .to_string()
        })
        .collect();
    for (file, (_, text)) in files.iter().zip(&texts) {
        fs::write(file, text).unwrap();
    }
    let answers = e2e::reference::ask("oci-reference/cdi", &files);
    let mut wrong = Vec::new();
    for (number, ((name, text), answer)) in texts.iter().zip(answers.lines()).enumerate() {
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        let place = daemon.place.dir.join("cdi-b/tried.yaml");
        fs::write(&place, text).unwrap();
        let config = named(idle(&format!("c{number}")), &["acme.com/x=d"]);
        let created = daemon.try_create(&pod.id, &pod.config, &config);
        match (&answer["error"], created) {
            (serde_json::Value::Null, Ok(id)) => {
                let status = daemon.try_status(&id).unwrap();
                let info: serde_json::Value = serde_json::from_str(&status.info["info"]).unwrap();
                let nodes = ["/dev/null", "/dev/none"];
                let ours = facts(&info["runtimeSpec"], &nodes);
                let theirs = facts(&answer["spec"], &nodes);
                if ours != theirs {
                    wrong.push(format!("{name}: ours {ours:?}, theirs {theirs:?}"));
                }
                daemon.try_remove(&id).unwrap();
            }
            (serde_json::Value::Null, Err(status)) => {
                wrong.push(format!("{name}: refused: {status}"))
            }
            (why, Ok(id)) => {
                wrong.push(format!("{name}: taken; the reference says {why}"));
                daemon.try_remove(&id).unwrap();
            }
            (_, Err(status)) => {
                if !status.message().contains("tried.yaml") {
                    wrong.push(format!("{name}: {status}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(answers.lines().count(), texts.len());
}

#[test]
fn a_node_without_permissions_is_there_and_cannot_be_opened() {
    let daemon = daemon();
    let text = "cdiVersion: 1.1.0\nkind: acme.com/x\ndevices:\n- name: d\n  containerEdits:\n    deviceNodes:\n    \
                - {path: /dev/loner, hostPath: /dev/kmsg, permissions: none, fileMode: 0640}\n";
    fs::write(daemon.place.dir.join("cdi-a/none.yaml"), text).unwrap();
    let pod = daemon.run_named("cdi");
    let container = pod.start(named(idle("c"), &["acme.com/x=d"]));
    assert_eq!(container.sh("stat -c %t:%T:%a /dev/loner"), "1:b:640\n");
    let opened = container.exec(&["sh", "-c", "head -c 0 </dev/loner"]);
    assert!(opened.stderr.contains("not permitted"), "{opened:?}");
}
