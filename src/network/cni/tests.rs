//! Lists, results and arguments; what plugins do is tested over the socket.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{self, CniVersion};
use super::pod::CniPod;
use super::{CniError, outcome};
use crate::disk::{Dir, Durability, FileName};
use crate::network::{Bandwidth, HostPort, Protocol};

fn write(dir: &Path, name: &str, text: &str) {
    let dir = Dir::open_root(dir).unwrap();
    let name = FileName::new(name).unwrap();
    dir.replace(&name, text.as_bytes(), Durability::Volatile)
        .unwrap();
}

fn list(version: Value, plugin: &str) -> Result<config::NetworkList, String> {
    config::parse(json!({ "name": "n", "cniVersion": version, "plugins": [{ "type": plugin }] }))
}

#[test]
fn the_first_file_by_name_is_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let first = || config::first(dir.path());
    assert_eq!(first().unwrap(), None);
    assert_eq!(config::first(Path::new("/no/such/dir")).unwrap(), None);
    write(dir.path(), "00-notes.txt", "not a network");
    write(
        dir.path(),
        "20.conf",
        r#"{"name":"single","cniVersion":"0.4.0","type":"ptp","mtu":9000}"#,
    );
    let single = first().unwrap().unwrap();
    assert_eq!(
        (single.name.as_str(), single.version),
        ("single", CniVersion::V0_4_0)
    );
    assert_eq!(single.plugins[0].config["mtu"], 9000);
    write(
        dir.path(),
        "10.conflist",
        r#"{"name":"list","cniVersion":"1.0.0","plugins":[{"type":"a"},{"type":"b"}]}"#,
    );
    let list = first().unwrap().unwrap();
    assert_eq!((list.name.as_str(), list.plugins.len()), ("list", 2));
    // A broken first file is told, not passed over.
    write(dir.path(), "00.json", "{");
    let error = first().unwrap_err();
    assert!(
        matches!(&error, CniError::Config { path, .. } if path.ends_with("00.json")),
        "{error}"
    );
    write(dir.path(), "00.json", &" ".repeat(1 << 21));
    assert!(first().unwrap_err().to_string().contains("more than"));
}

#[test]
fn lists_that_cannot_be_used_say_why() {
    for (source, word) in [
        (json!([]), "name"),
        (json!({ "name": "../x", "plugins": [] }), "no network name"),
        (json!({ "name": "n" }), "plugins"),
        (json!({ "name": "n", "plugins": [] }), "1 to 64"),
        (
            json!({ "name": "n", "cniVersion": "1.0.0", "plugins": ["a"] }),
            "no JSON object",
        ),
        (
            json!({ "name": "n", "cniVersion": "1.0.0", "plugins": [{}] }),
            "plugin type",
        ),
        (
            json!({ "name": "n", "plugins": [{ "type": "a" }] }),
            "cniVersion",
        ),
    ] {
        let error = config::parse(source).unwrap_err();
        assert!(error.contains(word), "{word} is not in: {error}");
    }
    for leaving in ["../sh", "/bin/sh", "..", ".hidden", "a\0b"] {
        assert!(list(json!("1.0.0"), leaving).is_err(), "{leaving:?}");
    }
    for version in ["", "0.2.0", "2.0.0", "1.0"] {
        let error = list(json!(version), "a").unwrap_err();
        assert!(error.contains("1.1.0"), "{error}");
    }
}

#[test]
fn the_newest_of_several_versions_is_spoken() {
    let source = json!({
        "name": "n", "cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.1.0", "9.0.0"],
        "plugins": [{ "type": "a" }], "disableCheck": "true", "disableGC": true,
    });
    let list = config::parse(source).unwrap();
    assert_eq!(list.version, CniVersion::V1_1_0);
    assert!(list.disable_check && list.disable_gc);
}

#[test]
fn addresses_are_those_of_the_pods_interface_ipv4_first() {
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            { "name": "eth0" },
            { "name": "eth0", "sandbox": "/run/netns/x" },
            { "name": "net1", "sandbox": "/run/netns/x" },
        ],
        "ips": [
            { "address": "fd00::5/64", "interface": 1 },
            { "address": "10.0.0.1/24", "interface": 0 },
            { "address": "10.0.0.5/24", "interface": 1 },
            { "version": "4", "address": "10.0.0.6/24" },
            { "address": "10.0.0.7/24", "interface": 2 },
            { "address": "10.0.0.8/24", "interface": 9 },
        ],
    });
    let found = outcome::addresses(&result, "eth0").unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.5", "10.0.0.6", "fd00::5"]);
    assert!(outcome::addresses(&json!({}), "eth0").unwrap().is_empty());
    for wrong in [
        json!({ "ips": [{ "address": "x" }] }),
        json!({ "ips": [{}] }),
        json!({ "ips": "no" }),
        json!({ "interfaces": [{ "sandbox": "x" }] }),
    ] {
        assert!(outcome::addresses(&wrong, "eth0").is_err(), "{wrong}");
    }
}

#[test]
fn arguments_of_pods_cannot_add_others() {
    let pod = CniPod {
        id: "abc".to_owned(),
        namespace: "ns".to_owned(),
        name: "a;K8S_POD_NAMESPACE=kube-system".to_owned(),
        uid: "u=1".to_owned(),
        ..CniPod::default()
    };
    assert_eq!(
        pod.arguments(),
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=aK8S_POD_NAMESPACEkube-system;\
         K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u1"
    );
}

#[test]
fn runtime_arguments_are_there_when_asked_for() {
    assert!(CniPod::default().runtime_arguments(&[]).is_empty());
    let pod = CniPod {
        ports: vec![HostPort {
            protocol: Protocol::Sctp,
            host_ip: None,
            host_port: 1,
            pod_port: 2,
        }],
        bandwidth: Bandwidth {
            ingress: None,
            egress: Some(5000),
        },
        ..CniPod::default()
    };
    let all = pod.runtime_arguments(&["10.0.0.0/24".parse().unwrap()]);
    assert_eq!(
        Value::Object(all),
        json!({
            "portMappings": [{ "hostPort": 1, "containerPort": 2, "protocol": "sctp", "hostIP": "" }],
            "bandwidth": { "egressRate": 5000, "egressBurst": u32::MAX },
            "ipRanges": [[{ "subnet": "10.0.0.0/24" }]],
        })
    );
}
