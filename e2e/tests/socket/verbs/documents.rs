//! Documents in JSON and YAML, as docs/json.md describes them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use e2e::Daemon;
use e2e::program::source;
use e2e::request::{idle, shell};
use serde_json::Value;

use super::{Ended, command};

/// What docs/json.md says of a verb.
#[track_caller]
fn section(verb: &str) -> String {
    let text = fs::read_to_string(source("docs/json.md")).unwrap();
    let heading = format!("\n## `{verb}`\n");
    let (_, rest) = text
        .split_once(&heading)
        .unwrap_or_else(|| panic!("no section of {verb}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// Fails unless each field stands in the section. Maps of other people's keys are passed over.
#[track_caller]
fn documented(verb: &str, section: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(
                    section.contains(&format!("`{name}`")),
                    "{verb}: {name} is not documented"
                );
                if !matches!(name.as_str(), "labels" | "annotations" | "info") {
                    documented(verb, section, value);
                }
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| documented(verb, section, item)),
        _ => {}
    }
}

#[track_caller]
fn document(daemon: &Daemon, verb: &str, args: &[&str]) -> Value {
    let all = [&[verb], args].concat();
    let text = daemon.holdfast(&[&all[..], &["-o", "json"]].concat()).ok();
    let value = serde_json::from_str(&text);
    let value: Value = value.unwrap_or_else(|error| panic!("{all:?}: {error}: {text}"));
    let mut section = section(verb);
    if verb == "top" {
        section.push_str(&self::section("stats"));
    }
    documented(verb, &section, &value);
    let yaml = daemon.holdfast(&[&all[..], &["-o", "yaml"]].concat()).ok();
    assert!(
        !yaml.starts_with(['{', '[']) && yaml.contains("id: "),
        "{verb}: {yaml}"
    );
    value
}

#[test]
fn every_verb_has_a_document_that_is_described() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("documents");
    config.labels.insert("a".to_owned(), "b".to_owned());
    let pod = daemon.run(config);
    let mut busy = shell("busy", "while :; do :; done");
    let linux = busy.linux.as_mut().unwrap();
    let resources = linux.resources.get_or_insert_default();
    (resources.cpu_period, resources.cpu_quota) = (100_000, 20_000);
    let busy = pod.start(busy);
    let (ended, _) = pod.finish(shell("ended", "exit 3"));

    let ps = document(&daemon, "ps", &["-a"]);
    assert_eq!(ps[0]["id"], *ended.id);
    assert_eq!(
        (&ps[0]["state"], &ps[1]["state"]),
        (&"exited".into(), &"running".into())
    );
    assert_eq!(ps[0]["pod"], "documents");
    assert!(ps[0]["createdAt"].as_i64() > ps[1]["createdAt"].as_i64());
    let pods = document(&daemon, "pods", &[]);
    assert_eq!(
        (&pods[0]["id"], &pods[0]["state"]),
        (&pod.id.as_str().into(), &"ready".into())
    );
    assert_eq!(pods[0]["labels"]["a"], "b");
    let images = document(&daemon, "images", &[]);
    assert!(images[0]["size"].as_u64() > Some(1000), "{images}");
    assert_eq!(images[0]["id"], ps[0]["imageId"]);
    let inspected = document(&daemon, "inspect", &["documents/ended"]);
    assert_eq!(
        (&inspected["exitCode"], &inspected["podId"]),
        (&3.into(), &pods[0]["id"])
    );
    let inspected = document(&daemon, "inspect", &["documents/busy"]);
    assert_eq!(inspected["exitCode"], Value::Null);
    assert_eq!(inspected["info"]["pid"], busy.pid());
    let inspected = document(&daemon, "inspect", &["documents"]);
    assert_eq!(inspected["ips"][0], pod.ip());
    let stats = document(&daemon, "stats", &[]);
    assert_eq!(stats.as_array().unwrap().len(), 1, "{stats}");
    let cpu = stats[0]["cpuPercent"].as_f64().unwrap();
    assert!(cpu > 5.0 && cpu < 40.0, "{stats}");
    assert!(
        stats[0]["throttledPercent"].as_f64() > Some(20.0),
        "{stats}"
    );
    assert_eq!(stats[0]["processes"], 1, "{stats}");
    assert_eq!(
        document(&daemon, "stats", &["-a"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let top = document(&daemon, "top", &["-i", "1"]);
    assert_eq!(top[0]["name"], "documents");
    assert_eq!(top[0]["containers"][0]["name"], "busy");
}

#[test]
fn figures_are_shown_in_tables() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("figures");
    let container = pod.start(shell("busy", "while :; do :; done"));
    let idle = pod.start(idle("idle"));
    let table = daemon.holdfast(&["stats"]).ok();
    for word in [
        "CONTAINER",
        "NAME",
        "CPU %",
        "MEM",
        "DISK",
        "INODES",
        "SWAP",
        "PIDS",
        "busy",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(table.contains(&container.id[..13]) && table.contains(&idle.id[..13]));
    let one = daemon.holdfast(&["stats", "figures/idle"]).ok();
    assert!(one.contains("idle") && !one.contains("busy"), "{one}");
    let top = daemon.holdfast(&["top", "-i", "1"]).ok();
    let place = |word: &str| top.find(word).unwrap_or_else(|| panic!("{word}: {top}"));
    assert!(
        place("figures") < place("busy") && place("busy") < place("idle"),
        "{top}"
    );
}

#[test]
fn a_watch_is_a_document_a_line_and_top_redraws() {
    let daemon = Daemon::start();
    daemon.run_named("watched").start(idle("c"));
    let args = ["stats", "--watch", "-o", "json"];
    let mut child = command(&daemon, &args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _child = Ended(child);
    for line in lines.take(2) {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(value[0]["name"], "c");
    }
    let script = "\"$HOLDFAST\" top -i 1 & pid=$!; sleep 4; kill $pid; wait $pid; true";
    let mut terminal = super::on_terminal(&daemon, script);
    terminal.env("HOLDFAST", e2e::program::built("holdfast"));
    let text = e2e::program::finish(terminal).stdout;
    assert!(text.matches("POD / CONTAINER").count() >= 2, "{text:?}");
    // Three lines up: the heading, the pod and its container.
    assert!(text.contains("\x1b[3A\x1b[J"), "{text:?}");
}

#[test]
fn events_are_told_as_they_happen() {
    let daemon = Daemon::start();
    let section = section("events");
    let listen = |args: &[&str]| {
        let mut child = command(&daemon, args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (lines, Ended(child))
    };
    let (mut json, _json) = listen(&["events", "-o", "json"]);
    let (mut table, _table) = listen(&["events"]);
    // A listener hears what happens from its call on: one that is heard shows that it listens.
    let pods: Vec<_> = thread::scope(|scope| {
        let heard = scope.spawn(|| (json.next(), table.next()));
        let mut pods = Vec::new();
        while !heard.is_finished() {
            assert!(pods.len() < 50, "nothing is told");
            pods.push(daemon.run_named(&format!("sign-{}", pods.len())));
            thread::sleep(Duration::from_millis(200));
        }
        pods
    });
    drop(pods);
    let pod = daemon.run_named("told");
    let (container, _) = pod.finish(shell("c", "exit 7"));
    container.remove();
    let told = json.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let of_container = told.filter(|event| event["containerId"] == *container.id);
    let events: Vec<_> = of_container.take(4).collect();
    for event in &events {
        documented("events", &section, event);
        assert_eq!(
            (&event["pod"], &event["container"]),
            (&"told".into(), &"c".into())
        );
    }
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["created", "started", "stopped", "deleted"]);
    let codes: Vec<_> = events.iter().map(|event| &event["exitCode"]).collect();
    assert_eq!(codes, [&Value::Null, &Value::Null, &7.into(), &Value::Null]);
    let mut lines = table
        .map(Result::unwrap)
        .filter(|line| line.contains("told/c"));
    let line = lines.find(|line| line.contains("stopped")).unwrap();
    assert!(line.contains("exit code 7"), "{line}");
}
