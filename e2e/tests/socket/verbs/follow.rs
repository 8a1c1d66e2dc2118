//! Logs: of one container and of a whole pod, and followed whatever happens to their files.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use cri_api::runtime::v1::ReopenContainerLogRequest;
use e2e::request::{BUSYBOX, shell};
use e2e::{Daemon, call, must};

use super::{Ended, command};

#[test]
fn a_log_is_cut_to_what_was_asked_for() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("cut");
    let script = "echo one; sleep 2; echo two; echo err >&2; printf three; exit 0";
    let (container, _) = pod.finish(shell("c", script));
    let logs = |args: &[&str]| {
        let ran = daemon.holdfast(&[&["logs"], args].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        (ran.stdout, ran.stderr)
    };
    let text = |text: &str| text.to_owned();
    assert_eq!(logs(&["cut/c"]), (text("one\ntwo\nthree"), text("err\n")));
    assert_eq!(logs(&[&container.id[..20]]).0, "one\ntwo\nthree");
    assert_eq!(logs(&["--tail", "0", "cut/c"]).0, "");
    assert_eq!(logs(&["--tail", "1", "cut/c"]), (text("three"), text("")));
    assert_eq!(logs(&["--limit-bytes", "5", "cut/c"]).0, "one\nt");
    assert_eq!(
        logs(&["--stream", "stderr", "cut/c"]),
        (text(""), text("err\n"))
    );
    let stamped = logs(&["-t", "cut/c"]).0;
    let second = stamped.lines().nth(1).unwrap();
    let (time, rest) = second.split_once(' ').unwrap();
    assert_eq!(rest, "two");
    assert_eq!(logs(&["--since", time, "cut/c"]).0, "two\nthree");
    assert_eq!(logs(&["--since", "1h", "cut/c"]).0, "one\ntwo\nthree");
    assert_eq!(logs(&["--since", "2099-01-01T00:00:00Z", "cut/c"]).0, "");
    daemon
        .holdfast(&["logs", "--since", "yesterday", "cut/c"])
        .fails(2);
    daemon.holdfast(&["logs", "nobody"]).fails(1);
    let previous = daemon.holdfast(&["logs", "-p", "cut/c"]).fails(1);
    assert!(previous.contains("restarted"), "{previous}");
}

#[test]
fn a_pods_logs_are_merged_by_time_under_names() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("merged");
    let turns = |first: &str, offset: &str| {
        format!("sleep {offset}; for n in 1 2 3; do echo {first} $n; sleep 1; done")
    };
    let a = pod.start(shell("a", &turns("ping", "0.2")));
    let b = pod.start(shell("longer", &turns("pong", "0.7")));
    a.wait();
    b.wait();
    let expected = "a      | ping 1\nlonger | pong 1\na      | ping 2\nlonger | pong 2\n\
        a      | ping 3\nlonger | pong 3\n";
    assert_eq!(daemon.holdfast(&["logs", "merged"]).ok(), expected);
    assert_eq!(daemon.holdfast(&["logs", "-f", "merged"]).ok(), expected);
    let coloured = super::run_on_terminal(&daemon, "holdfast logs merged").ok();
    assert!(
        coloured.contains("\x1b[36ma      |\x1b[0m ping 1"),
        "{coloured:?}"
    );
}

#[test]
fn what_a_container_wrote_is_not_changed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("raw");
    let script = r"printf '\033[31mred\033[0m \377\n'; head -c 40000 /dev/zero | tr '\0' x; echo";
    pod.finish(shell("c", script));
    let output = command(&daemon, &["logs", "raw/c"]).output().unwrap();
    let expected = [
        b"\x1b[31mred\x1b[0m \xff\n".to_vec(),
        vec![b'x'; 40_000],
        b"\n".to_vec(),
    ];
    assert!(
        output.stdout == expected.concat(),
        "{}",
        output.stdout.len()
    );
}

#[test]
fn a_followed_log_survives_rotations() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("rotated");
    let script = "n=0; while [ $n -lt 3000 ]; do echo line $n; n=$((n + 1)); done; sleep 1; \
        while [ $n -lt 6000 ]; do echo line $n; n=$((n + 1)); [ $((n % 200)) = 0 ] && sleep 0.1; done";
    let container = pod.start(shell("c", script));
    let child = command(&daemon, &["logs", "-f", "rotated/c"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let log = container.log_path();
    for number in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        fs::rename(&log, log.with_extension(format!("log.{number}"))).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let request = ReopenContainerLogRequest {
            container_id: container.id.clone(),
        };
        // It may have ended.
        let _ = call(daemon.clients().runtime.reopen_container_log(request));
    }
    let mut text = String::new();
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.0.wait().unwrap().success());
    let expected: String = (0..6000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text.lines().count(), 6000);
    assert!(text == expected);
}

#[test]
fn following_by_name_goes_on_with_the_next_attempt() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("again");
    let attempt = |number: u32| {
        let mut config = shell("c", &format!("echo attempt {number}; sleep 1; exit 1"));
        config.metadata.as_mut().unwrap().attempt = number;
        config.log_path = format!("c/{number}.log");
        config
    };
    fs::create_dir_all(daemon.place.logs().join("again/c")).unwrap();
    let first = pod.start(attempt(0));
    let child = command(&daemon, &["logs", "-f", "again/c"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "attempt 0");
    first.wait();
    let second = pod.start(attempt(1));
    assert_eq!(lines.next().unwrap().unwrap(), "attempt 1");
    second.wait();
    assert!(lines.next().is_none());
    assert!(child.0.wait().unwrap().success());
    // The one before, also when the daemon knows it no more.
    assert_eq!(daemon.holdfast(&["logs", "again/c"]).ok(), "attempt 1\n");
    assert_eq!(
        daemon.holdfast(&["logs", "-p", "again/c"]).ok(),
        "attempt 0\n"
    );
    must("RemoveContainer", daemon.try_remove(&first.id));
    assert_eq!(
        daemon.holdfast(&["logs", "-p", "again/c"]).ok(),
        "attempt 0\n"
    );
}

#[test]
fn following_a_pod_that_is_restarted_waits_for_the_next_attempt() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let manifest = daemon.place.dir.join("pod.yaml");
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: failing\nspec:\n  restartPolicy: OnFailure\n  \
         containers:\n  - name: c\n    image: {BUSYBOX}\n    command: [sh, -c, echo again; exit 3]\n"
    );
    fs::write(&manifest, text).unwrap();
    let root = |name: &str| daemon.place.dir.join(name).display().to_string();
    let roots = [root("pod-logs"), root("volumes"), root("memory")];
    let (logs, volumes, memory) = (&roots[0], &roots[1], &roots[2]);
    let manifest = manifest.display().to_string();
    let run = [
        "run",
        &manifest,
        "--log-root",
        logs,
        "--volume-root",
        volumes,
    ];
    daemon
        .holdfast(&[&run[..], &["--memory-volume-root", memory]].concat())
        .ok();
    let child = command(&daemon, &["logs", "-f", "failing/c"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap().unwrap(), "again");
    }
    daemon.holdfast(&["rm", "failing"]).ok();
    lines.for_each(drop);
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn following_survives_a_daemon_that_is_restarted() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("survives");
    let container = pod.start(shell(
        "c",
        "for n in 1 2 3 4 5 6; do echo $n; sleep 1; done",
    ));
    let child = command(&daemon, &["logs", "-f", "survives"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "c | 1");
    daemon.kill9();
    assert_eq!(lines.next().unwrap().unwrap(), "c | 2");
    daemon.restart();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(rest, ["c | 3", "c | 4", "c | 5", "c | 6"]);
    assert!(child.0.wait().unwrap().success());
    container.wait();
}
