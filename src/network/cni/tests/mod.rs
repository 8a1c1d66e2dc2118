//! Lists, results and arguments; what plugins do is tested over the socket.

mod reference;

use holdfast_kernel::error_chain;
use std::path::Path;

use serde_json::{Value, json};

use super::pod::CniPod;
use super::{CniError, CniVersion, config, outcome};
use crate::{Bandwidth, HostPort, Protocol};
use holdfast_disk::{Dir, Durability, FileName};

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let dir = Dir::open_root(dir).unwrap();
    let name = FileName::new(name).unwrap();
    dir.replace(&name, text.as_ref(), Durability::Volatile)
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
    write(dir.path(), "00.json", " ".repeat(1 << 21));
    assert!(first().unwrap_err().to_string().contains("more than"));
}

/// Each error names the field, the value and what is allowed.
/// A FIFO without a writer once kept the reader, and with it the daemon. The next file is not taken instead: it would
/// be another network.
#[test]
fn a_first_file_that_is_no_regular_one_is_refused() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let place = |make: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "10.conf",
            r#"{"cniVersion":"1.0.0","name":"b","type":"x"}"#,
        );
        make(&dir.path().join("05.conf"));
        let error = config::first(dir.path()).unwrap_err();
        assert!(error.to_string().contains("05.conf"), "{error}");
        error_chain(&error)
    };
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let beside = |path: &Path| path.with_extension("other");
    for (wanted, error) in [
        ("a FIFO", place(&fifo)),
        (
            "a socket",
            place(&|path| drop(UnixListener::bind(path).unwrap())),
        ),
        (
            "a device",
            place(&|path| symlink("/dev/zero", path).unwrap()),
        ),
        ("a directory", place(&|path| symlink("/etc", path).unwrap())),
        (
            "No such file",
            place(&|path| symlink("nowhere", path).unwrap()),
        ),
        ("EOF", place(&|path| symlink("/dev/null", path).unwrap())),
        (
            "a FIFO",
            place(&|path| {
                fifo(&beside(path));
                symlink(beside(path), path).unwrap();
            }),
        ),
    ] {
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn lists_that_cannot_be_used_say_why() {
    let with = |key: &str, value: Value| {
        let mut list = json!({ "name": "n", "cniVersion": "1.0.0", "plugins": [{ "type": "a" }] });
        list[key] = value;
        list
    };
    for (source, words) in [
        (json!([]), "no JSON object"),
        (
            with("name", json!("../x")),
            "name: invalid value \"../x\": letters",
        ),
        (with("name", json!(7)), "name: invalid value 7: letters"),
        (
            json!({ "name": "n" }),
            "plugins: it is missing; name at least one plugin",
        ),
        (
            with("plugins", json!([])),
            "plugins: invalid value []: a list of at least one plugin",
        ),
        (
            with("plugins", json!(["a"])),
            "plugins[0]: invalid value \"a\": an object is expected",
        ),
        (
            with("plugins", json!([{ "type": "a" }, { "name": "b" }])),
            "plugins[1].type: invalid value \"\": the file name of a plugin's program",
        ),
        (
            with(
                "plugins",
                json!([{ "type": "a", "capabilities": { "dns": "yes" } }]),
            ),
            "plugins[0].capabilities.dns: invalid value \"yes\": true or false is expected",
        ),
        (
            with("plugins", json!([{ "type": "a", "ipam": "host-local" }])),
            "plugins[0].ipam: invalid value \"host-local\": an object is expected",
        ),
        (
            with(
                "plugins",
                json!([{ "type": "a", "dns": { "search": ["x", 5] } }]),
            ),
            "plugins[0].dns.search[1]: invalid value 5: a text is expected",
        ),
        (
            with("plugins", Value::Array(vec![json!({ "type": "a" }); 65])),
            "plugins: there are 65, and at most 64 are allowed",
        ),
        (
            with("cniVersion", json!("0.3")),
            "cniVersion: invalid value \"0.3\": 0.1.0, 0.2.0",
        ),
        (
            with("cniVersions", json!(["1.0.0", 3])),
            "cniVersions[1]: invalid value 3: a text",
        ),
        (
            with("disableGC", json!("no")),
            "disableGC: invalid value \"no\": true or false",
        ),
    ] {
        let error = config::parse(source).unwrap_err();
        assert!(error.contains(words), "{words} is not in: {error}");
    }
    for leaving in ["../sh", "/bin/sh", "..", ".hidden", "a\0b"] {
        assert!(list(json!("1.0.0"), leaving).is_err(), "{leaving:?}");
    }
}

/// A mistake in a file of the network's own directory is told with that file, not with the list's.
#[test]
fn a_mistake_is_told_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("n")).unwrap();
    write(dir.path(), "10.conflist", r#"{"name":"n"}"#);
    let told = || config::first(dir.path()).unwrap_err().to_string();
    assert!(
        told().contains("10.conflist: plugins: it is missing, and ")
            && told().contains("/n has no file that ends in .conf"),
        "{}",
        told()
    );
    write(
        &dir.path().join("n"),
        "20-mine.conf",
        r#"{"type":"a","dns":{"domain":1}}"#,
    );
    assert!(
        told().contains("/n/20-mine.conf: dns.domain: invalid value 1: a text is expected"),
        "{}",
        told()
    );
    write(
        dir.path(),
        "05.conf",
        r#"{"name":"n","plugins":[{"type":"a"}]}"#,
    );
    assert!(
        told().contains(
            "05.conf: type: it is missing; a file with a list of plugins has to end in .conflist"
        ),
        "{}",
        told()
    );
}

/// libcni 1.3.1 reads with encoding/json (Go 1.26), which takes U+FFFD for bytes and escapes that are no Unicode, and
/// hands that on. A description in Latin-1 made a node NotReady.
#[test]
fn what_is_no_unicode_is_read_as_go_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    for (given, read) in [
        (&b"r\xe9seau"[..], "r\u{fffd}seau"),
        (br"\ud800", "\u{fffd}"),
        (br"\udc80.example", "\u{fffd}.example"),
        (br"\ud83d\ude00", "\u{1f600}"),
        (b"\xe2\x82", "\u{fffd}\u{fffd}"),
    ] {
        let around =
            |before: &str, after: &str| [before.as_bytes(), given, after.as_bytes()].concat();
        write(
            dir.path(),
            "10.conflist",
            around(r#"{"name":"n","plugins":[{"type":"a","desc":""#, r#""}]}"#),
        );
        let list = config::first(dir.path()).unwrap().unwrap();
        assert_eq!(list.plugins[0].config["desc"], read, "{given:?}");
        let wrote = around(
            r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24"}],"dns":{"domain":""#,
            r#""}}"#,
        );
        let result = outcome::parse(&wrote, CniVersion::V1_0_0).unwrap();
        assert_eq!(result.whole()["dns"]["domain"], read, "{given:?}");
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
fn addresses_are_those_of_the_pods_interface_an_ipv4_one_first() {
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
            { "address": "fd00::6/64", "interface": 1 },
            { "version": "4", "address": "10.0.0.6/24" },
            { "address": "10.0.0.7/24", "interface": 2 },
        ],
    });
    let found = |result: &Value| {
        let outcome = outcome::read(result, CniVersion::V1_0_0)?;
        let found = outcome.addresses("eth0")?;
        Ok::<_, String>(found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(
        found(&result).unwrap(),
        ["10.0.0.5", "fd00::5", "fd00::6", "10.0.0.6"]
    );
    assert_eq!(found(&json!({})), Ok(vec![]));
    for (wrong, words) in [
        (
            json!({ "ips": [{ "address": "x" }] }),
            "ips[0].address: invalid value \"x\"",
        ),
        (json!({ "ips": [{}] }), "ips[0].address: it is missing"),
        (json!({ "ips": "no" }), "ips: invalid value \"no\": a list"),
        (
            json!({ "interfaces": [{ "name": {} }] }),
            "interfaces[0].name: invalid value {}: a text",
        ),
        (
            json!({ "interfaces": [{ "name": "eth0" }], "ips": [{ "address": "10.0.0.5/8", "interface": 9 }] }),
            "ips[0].interface: invalid value 9: there are 1 interfaces",
        ),
        (
            json!({ "routes": [{ "dst": "10.0.0.0/8" }, { "dst": "default" }] }),
            "routes[1].dst: invalid value \"default\": an address with a prefix length",
        ),
        (
            json!({ "cniVersion": "4.0.0" }),
            "cniVersion: invalid value \"4.0.0\": 0.1.0",
        ),
    ] {
        let error = found(&wrong).unwrap_err();
        assert!(error.contains(words), "{words} is not in: {error}");
    }
}

/// A plugin that answered in 0.3.1 under a list of 1.0.0 made a pod that DEL could never release: the next call of
/// any plugin refuses a result in another version than its configuration's.
#[test]
fn a_result_is_brought_to_the_version_of_the_list() {
    let wrote = br#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.3/24"}]}"#;
    let outcome = outcome::parse(wrote, CniVersion::V1_0_0).unwrap();
    assert_eq!(outcome.version(), CniVersion::V0_3_1);
    assert_eq!(
        outcome.in_version(CniVersion::V1_0_0).unwrap(),
        json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.2.3/24" }] })
    );
    // A record of an earlier release has the plugin's own words, which may name no version.
    let recorded = json!({ "ips": [{ "version": "4", "address": "10.1.2.3/24" }] });
    let read = outcome::read(&recorded, CniVersion::V0_4_0).unwrap();
    assert_eq!(read.whole()["cniVersion"], "0.4.0");
    // Which version of the Internet Protocol an address is of is said by it, whether the plugin says so or not.
    let unsaid = json!({ "cniVersion": "0.4.0", "ips": [{ "address": "fd00::5/64" }] });
    let read = outcome::read(&unsaid, CniVersion::V0_4_0).unwrap();
    assert_eq!(read.whole()["ips"][0]["version"], "6");
    // A route that says nothing is left out.
    let vague = json!({ "routes": [{ "gw": "10.0.0.1" }, { "dst": null }, { "dst": "::/0" }] });
    let read = outcome::read(&vague, CniVersion::V1_0_0).unwrap();
    assert_eq!(read.whole()["routes"], json!([{ "dst": "::/0" }]));
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

/// A first file that leads nowhere was an error of the machine, INTERNAL. As one that is broken, it puts no pod on the
/// network of the next file: go-cni 1.1.13 fails to load it too, and takes a link to a good file.
#[test]
fn a_first_file_that_cannot_be_read_is_told() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    write(
        outside.path(),
        "good",
        r#"{"name":"linked","cniVersion":"1.0.0","type":"a"}"#,
    );
    for (target, name) in [
        (outside.path().join("none"), "10.conf"),
        (outside.path().to_owned(), "10.conflist"),
        ("10.json".into(), "10.json"),
        (outside.path().join("good/x"), "10.conf"),
        (outside.path().join("good"), "10.conf"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let next = r#"{"name":"next","cniVersion":"1.0.0","type":"a"}"#;
        write(dir.path(), "20.conf", next);
        symlink(&target, dir.path().join(name)).unwrap();
        let found = config::first(dir.path());
        if target.ends_with("good") {
            assert_eq!(found.unwrap().unwrap().name, "linked");
            continue;
        }
        let error = found.unwrap_err();
        assert!(
            matches!(&error, CniError::Read { path, .. } if path.ends_with(name)),
            "{target:?}: {error}"
        );
        assert!(
            error.to_string().contains("correct or remove it"),
            "{error}"
        );
    }
}
