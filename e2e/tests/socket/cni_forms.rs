//! Network configurations and results in the forms that people and plugins really write. How each form is read is
//! compared with libcni in src/network/cni/tests; here is what plugins and pods see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::Daemon;
use e2e::call::until;
use e2e::cni::{Plugins, network_ready, start};
use e2e::daemon::Options;
use serde_json::{Value, json};

/// How long things in the background may take.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(15);

fn spied() -> (Daemon, Plugins) {
    let (daemon, plugins) = start(Options::default().set("cni.timeout", "10s"));
    plugins.spy("spy-a");
    plugins.spy("spy-b");
    (daemon, plugins)
}

/// The standard input of the only call with this name.
#[track_caller]
fn told(plugins: &Plugins, what: &str) -> Value {
    let mut calls = plugins.calls();
    calls.retain(|call| call.what == what);
    assert_eq!(calls.len(), 1, "{what} in {:?}", plugins.order());
    calls.remove(0).stdin
}

/// A pod joins and leaves a network of spy-a and spy-b, where spy-b gives on what it got.
fn join_and_leave(
    daemon: &Daemon,
    plugins: &Plugins,
    version: Option<&str>,
    wrote: &str,
) -> String {
    let version = version.map_or(String::new(), |version| {
        format!(r#""cniVersion":"{version}","#)
    });
    let list =
        format!(r#"{{{version}"name":"forms","plugins":[{{"type":"spy-a"}},{{"type":"spy-b"}}]}}"#);
    plugins.configure("10-forms.conflist", &list);
    plugins.clear();
    for name in ["spy-a", "spy-b"] {
        plugins.act(name, "ADD", &format!("cat <<'END'\n{wrote}\nEND\nexit 0"));
    }
    let ready = network_ready(daemon);
    assert!(ready.status, "{list}: {ready:?}");
    let pod = daemon.run_named("forms");
    let ip = pod.ip();
    pod.remove();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{list} {wrote}: {debts}");
    assert_eq!(
        plugins.order(),
        ["spy-a.ADD", "spy-b.ADD", "spy-b.DEL", "spy-a.DEL"]
    );
    ip
}

/// A plugin that answered in another version than its list's made a pod that could never be released: DEL was given
/// its words as they were. Right is the list's version, as libcni's GetAsVersion makes it, for every plugin that
/// reads them; before 0.4.0 DEL gets none.
#[test]
fn results_of_any_version_come_to_plugins_in_that_of_the_list() {
    let (daemon, plugins) = spied();
    let old = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24","routes":[{"dst":"0.0.0.0/0"}]}}"#;
    let middle = r#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.3/24"}]}"#;
    let new = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mtu":1400}],
        "ips":[{"address":"10.1.2.3/24","interface":0}],"routes":null,"dns":null}"#;
    let v1 = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.2.3/24" }] });
    let v2 = json!({ "cniVersion": "0.2.0", "dns": {}, "ip4": { "ip": "10.1.2.3/24" } });
    let v4 = json!({ "cniVersion": "0.4.0", "dns": {}, "ips": [{ "version": "4", "address": "10.1.2.3/24" }] });
    let mut routed = v1.clone();
    routed["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
    let mut named = v4.clone();
    named["interfaces"] = json!([{ "name": "eth0" }]);
    named["ips"][0]["interface"] = json!(0);
    let unsaid = r#"{"ips":[{"address":"10.1.2.3/24"}]}"#;
    let first = |value: &Value| {
        let mut value = value.clone();
        value["cniVersion"] = json!("0.1.0");
        value
    };
    for (version, wrote, wanted) in [
        (Some("1.0.0"), middle, v1.clone()),
        (Some("1.0.0"), old, routed),
        (Some("1.0.0"), unsaid, v1),
        (Some("0.4.0"), new, named),
        (Some("0.4.0"), unsaid, v4.clone()),
        (
            Some("0.3.1"),
            middle,
            json!({ "cniVersion": "0.3.1", "dns": {}, "ips": v4["ips"] }),
        ),
        (Some("0.2.0"), new, v2.clone()),
        (Some("0.1.0"), middle, first(&v2)),
        (None, middle, first(&v2)),
        (Some(""), new, first(&v2)),
    ] {
        let ip = join_and_leave(&daemon, &plugins, version, wrote);
        assert_eq!(ip, "10.1.2.3", "{version:?} {wrote}");
        let case = format!("{version:?} {wrote}");
        let next = told(&plugins, "spy-b.ADD");
        assert_eq!(next["prevResult"], wanted, "{case}");
        assert_eq!(next["cniVersion"], version.unwrap_or(""), "{case}");
        let last = told(&plugins, "spy-a.DEL");
        let kept = version >= Some("0.4.0");
        assert_eq!(last.get("prevResult"), kept.then_some(&wanted), "{case}");
    }
}

/// libcni 1.3.0 and later: others add plugins to a network by files in the directory of its name.
#[test]
fn plugins_in_the_directory_of_a_network_are_chained() {
    let (daemon, plugins) = spied();
    plugins.configure("10-net.conflist", r#"{"cniVersion":"1.0.0","name":"mesh"}"#);
    let ready = network_ready(&daemon);
    assert!(
        !ready.status
            && ready
                .message
                .contains("mesh has no file that ends in .conf"),
        "{ready:?}"
    );
    plugins.configure("mesh/20-late.conf", r#"{"type":"spy-b"}"#);
    plugins.configure(
        "mesh/10-early.conf",
        r#"{"type":"spy-a","cniVersion":"0.3.1","name":"x","kept":1}"#,
    );
    plugins.configure("mesh/readme", "not a plugin");
    assert!(network_ready(&daemon).status);
    let pod = daemon.run_named("chained");
    assert_eq!(plugins.order(), ["spy-a.ADD", "spy-b.ADD"]);
    let early = told(&plugins, "spy-a.ADD");
    assert_eq!(
        (&early["name"], &early["cniVersion"], &early["kept"]),
        (&json!("mesh"), &json!("1.0.0"), &json!(1))
    );
    // A pod leaves the network that it joined, whatever has become of the directory.
    plugins.forget("mesh/20-late.conf");
    plugins.configure("mesh/05-broken.conf", "{");
    let ready = network_ready(&daemon);
    assert!(
        !ready.status && ready.message.contains("mesh/05-broken.conf"),
        "{ready:?}"
    );
    pod.remove();
    assert_eq!(
        plugins.order(),
        ["spy-a.ADD", "spy-b.ADD", "spy-b.DEL", "spy-a.DEL"]
    );
    // A list may say that it is complete.
    plugins.clear();
    plugins.configure(
        "10-net.conflist",
        r#"{"cniVersion":"1.0.0","name":"mesh","loadOnlyInlinedPlugins":true,"plugins":[{"type":"spy-b"}]}"#,
    );
    assert!(network_ready(&daemon).status);
    daemon.run_named("alone").remove();
    assert_eq!(plugins.order(), ["spy-b.ADD", "spy-b.DEL"]);
}

/// What was recorded of a pod can be lost with a disk. libcni 1.3.1 calls DEL without it.
#[test]
fn a_pod_whose_record_is_damaged_leaves_the_network_of_today() {
    let (daemon, plugins) = spied();
    plugins.configure(
        "10-net.conflist",
        r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"spy-a"}]}"#,
    );
    let pod = daemon.run_named("damaged");
    let record = daemon.place.root().join(format!("cni/{}.json", pod.id));
    for damaged in [
        &b"{\"version\":1,\"data\":{\"netns\":"[..],
        b"",
        b"\0\0\0\0",
    ] {
        fs::write(&record, damaged).unwrap();
    }
    pod.remove();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{debts}");
    let del = told(&plugins, "spy-a.DEL");
    assert!(del.get("prevResult").is_none(), "{del}");
    let calls = plugins.calls();
    let last = calls.last().unwrap();
    assert!(last.has(&format!("CNI_CONTAINERID={}", pod.id)), "{last:?}");
    // The pod's namespace is still there for its plugins.
    let netns = daemon.place.netns().display().to_string();
    let pinned = |line: &String| line.starts_with(&format!("CNI_NETNS={netns}/"));
    assert!(last.environment.iter().any(pinned), "{last:?}");
    assert!(!record.exists());
}

/// Plugins that are scripts often know ADD and DEL alone; containerd never asks for more before 1.1.0.
#[test]
fn a_plugin_that_does_not_know_version_is_called() {
    let (daemon, plugins) = spied();
    let list = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"spy-a"}]}"#;
    plugins.configure("10-net.conflist", list);
    for (number, answer) in [
        "echo '{\"code\":4,\"msg\":\"unknown command\"}'; exit 1",
        "echo usage >&2; exit 2",
        "exit 0",
        "echo yes; exit 0",
        "echo '{\"cniVersion\":\"1.0.0\"}'; exit 0",
    ]
    .iter()
    .enumerate()
    {
        plugins.act("spy-a", "VERSION", answer);
        // Another file, so that nothing is remembered of the last one.
        plugins.spy("spy-a");
        plugins.configure(
            "10-net.conflist",
            &list.replace("net", &format!("net{number}")),
        );
        let ready = network_ready(&daemon);
        assert!(ready.status, "{answer}: {ready:?}");
        daemon.run_named("called").remove();
    }
    // One that says what it speaks is believed.
    plugins.act(
        "spy-a",
        "VERSION",
        "echo '{\"cniVersion\":\"0.2.0\"}'; exit 0",
    );
    plugins.spy("spy-a");
    plugins.configure("10-net.conflist", &list.replace("net", "old"));
    let ready = network_ready(&daemon);
    assert!(
        ready
            .message
            .contains("does not speak CNI 1.0.0 but 0.1.0, 0.2.0"),
        "{ready:?}"
    );
}

/// Installers copy plugins over those that are in use. libcni waits for the end of the copy.
#[test]
fn a_plugin_that_is_being_written_is_waited_for() {
    let (daemon, plugins) = spied();
    plugins.configure(
        "10-net.conflist",
        r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"spy-a"}]}"#,
    );
    assert!(network_ready(&daemon).status);
    let program = daemon.place.dir.join("cni/bin/spy-a");
    let writing = fs::OpenOptions::new().append(true).open(&program).unwrap();
    assert_eq!(
        writing.metadata().unwrap().permissions().mode() & 0o111,
        0o111
    );
    let config = daemon.pod("patient");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| daemon.try_run(&config));
        std::thread::sleep(Duration::from_millis(300));
        drop(writing);
        asked.join().unwrap().unwrap();
    });
    until("ADD", BACKGROUND_DEADLINE, || {
        (plugins.order() == ["spy-a.ADD"]).then_some(())
    });
}
