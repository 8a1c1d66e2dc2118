//! What could not be released: listed, shown in the status, tried again by itself, gone with its cause.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use cri_api::holdfast::v1::{Debt, DebtsRequest};
use cri_api::runtime::v1::{RuntimeCondition, StatusRequest};
use e2e::call::{call, until};
use e2e::daemon::Options;
use e2e::program::sh;
use e2e::request::idle;
use e2e::{Daemon, cni, must};

const LIST: &str = r#"{ "cniVersion": "1.0.0", "name": "spied", "plugins": [{ "type": "spy" }] }"#;

fn debts(daemon: &Daemon) -> Vec<Debt> {
    let answer = call(daemon.clients().holdfast.debts(DebtsRequest {}));
    must("Debts", answer).debts
}

fn condition(daemon: &Daemon) -> RuntimeCondition {
    let answer = call(
        daemon
            .clients()
            .runtime
            .status(StatusRequest { verbose: false }),
    );
    let conditions = must("Status", answer).status.unwrap().conditions;
    let mut found = conditions.into_iter();
    found
        .find(|condition| condition.r#type == "HoldfastHasNoDebts")
        .expect("no condition on debts")
}

/// A daemon with a plugin whose DEL fails.
fn failing() -> (Daemon, cni::Plugins) {
    let (daemon, plugins) = cni::start(Options::default());
    plugins.spy("spy");
    plugins.configure("10-spied.conflist", LIST);
    plugins.act("spy", "DEL", "echo no way >&2; exit 1");
    (daemon, plugins)
}

fn await_paid(daemon: &Daemon, patience: Duration) {
    until("all debts are paid", patience, || {
        debts(daemon).is_empty().then_some(())
    });
    assert!(condition(daemon).status);
}

#[test]
fn a_debt_is_shown_with_its_kind_and_reason_and_goes_with_its_cause() {
    let (daemon, plugins) = failing();
    assert!(condition(&daemon).status);
    let pod = daemon.run_named("p");
    pod.remove();
    let owed = debts(&daemon);
    assert_eq!(owed.len(), 1, "{owed:?}");
    assert_eq!(
        (owed[0].object.as_str(), owed[0].kind.as_str()),
        (pod.id.as_str(), "network")
    );
    assert!(owed[0].reason.contains("no way"), "{owed:?}");
    assert!(owed[0].next_attempt_unix_nanos > owed[0].since_unix_nanos);
    let shown = condition(&daemon);
    assert!(!shown.status && shown.reason == "DebtsOwed", "{shown:?}");
    assert!(shown.message.contains(&pod.id[..13]) && shown.message.contains("no way"));
    let table = daemon.holdfast(&["debts"]).ok();
    assert!(
        table.contains("network") && table.contains("NEXT"),
        "{table}"
    );
    plugins.act("spy", "DEL", "");
    // It was owed a moment ago: the first attempts follow soon.
    await_paid(&daemon, Duration::from_secs(15));
    assert_eq!(daemon.holdfast(&["debts"]).ok().lines().count(), 1);
}

#[test]
fn a_new_daemon_tries_at_once() {
    let (daemon, plugins) = failing();
    daemon.run_named("p").remove();
    until("some attempts", Duration::from_secs(30), || {
        (debts(&daemon)[0].attempts >= 3).then_some(())
    });
    // The next one of this daemon would be 16 seconds away.
    daemon.kill9();
    plugins.act("spy", "DEL", "");
    daemon.restart();
    await_paid(&daemon, Duration::from_secs(3));
}

#[test]
fn one_debt_does_not_wait_for_another_that_hangs_or_is_old() {
    let (daemon, plugins) = failing();
    let (old, new) = (daemon.run_named("old"), daemon.run_named("new"));
    // Which pod it is called for is in the plugin's environment.
    let hangs = format!(
        "case $CNI_CONTAINERID in {}) sleep 1000;; esac; exit 1",
        old.id
    );
    old.remove();
    until("some attempts", Duration::from_secs(30), || {
        (debts(&daemon)[0].attempts >= 2).then_some(())
    });
    plugins.act("spy", "DEL", &hangs);
    until("the old one hangs", Duration::from_secs(20), || {
        let called = plugins.order().into_iter().filter(|call| call == "spy.DEL");
        (called.count() >= 4).then_some(())
    });
    new.remove();
    plugins.act("spy", "DEL", &hangs.replace("esac; exit 1", "esac"));
    until("the new one is paid", Duration::from_secs(10), || {
        let owed = debts(&daemon);
        (owed.len() == 1 && owed[0].object == old.id).then_some(())
    });
    // What hangs is ended by the next daemon, and by nobody before.
    plugins.act("spy", "DEL", "");
    daemon.kill9();
    daemon.restart();
    await_paid(&daemon, Duration::from_secs(20));
}

/// What a server of metrics answers.
fn scrape(address: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_count_pods_and_debts_by_kind() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let daemon = Daemon::with(Options::default().set("metrics.address", address.as_str()));
    let has = |line: &str| {
        let answer = scrape(&address, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.lines().any(|found| found == line),
            "{line}\n{answer}"
        );
    };
    has("holdfast_pods{state=\"ready\"} 0");
    has("holdfast_debts{kind=\"mount\"} 0");
    let pod = daemon.run_named("p");
    let run = pod.start(idle("c"));
    has("holdfast_pods{state=\"ready\"} 1");
    has("holdfast_containers{state=\"running\"} 1");
    has("holdfast_images 1");
    let upper = daemon
        .place
        .root()
        .join(format!("containers/{}/upper", run.id));
    let inside = upper.join("mounted");
    std::fs::create_dir(&inside).unwrap();
    sh(&format!("mount -t tmpfs none {}", inside.display()));
    pod.remove();
    has("holdfast_debts{kind=\"mount\"} 1");
    until("an attempt", Duration::from_secs(10), || {
        let answer = scrape(&address, "/metrics");
        let line = answer
            .lines()
            .find(|line| line.starts_with("holdfast_debt_attempts_total"));
        (line? != "holdfast_debt_attempts_total 0").then_some(())
    });
    sh(&format!("umount {}", inside.display()));
    await_paid(&daemon, Duration::from_secs(15));
    has("holdfast_debts{kind=\"mount\"} 0");
    assert!(scrape(&address, "/").starts_with("HTTP/1.1 404 "));
    // Clients that send nothing take no place from the others for long, and those that leave none.
    let _idle: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    has("holdfast_images 1");
}

#[test]
fn what_is_mounted_over_files_is_a_debt_until_it_is_gone() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("p");
    let run = pod.start(idle("c"));
    let dir = daemon
        .place
        .root()
        .join(format!("containers/{}/upper", run.id));
    let inside = dir.join("mounted");
    std::fs::create_dir(&inside).unwrap();
    sh(&format!("mount -t tmpfs none {}", inside.display()));
    pod.remove();
    let owed = debts(&daemon);
    assert_eq!(owed.len(), 1, "{owed:?}");
    assert_eq!(owed[0].kind, "mount", "{owed:?}");
    assert!(!condition(&daemon).status);
    sh(&format!("umount {}", inside.display()));
    await_paid(&daemon, Duration::from_secs(15));
    assert!(!dir.exists());
}

/// The pod's record said that it is stopped, the debt was in the daemon's memory only, and nobody gave back the
/// addresses when that daemon died.
#[test]
fn a_debt_that_the_disk_refuses_outlives_the_daemon() {
    for removed in [false, true] {
        let daemon = Daemon::start();
        let pod = daemon.run_named("p");
        let leases = daemon.place.run().join("network");
        let lease = leases.join(pod.ip());
        assert!(lease.exists());
        // What is mounted on is not deleted, and no file replaces a directory.
        sh(&format!("mount --bind {0} {0}", lease.display()));
        let refused = daemon.place.root().join("debts").join(&pod.id);
        std::fs::create_dir(&refused).unwrap();
        pod.stop();
        if removed {
            pod.remove();
        }
        assert_eq!(debts(&daemon)[0].kind, "network");
        // Time to write what may be written: the disk is asked again after a second.
        std::thread::sleep(Duration::from_millis(1500));
        daemon.kill9();
        sh(&format!("umount {}", lease.display()));
        std::fs::remove_dir(&refused).unwrap();
        daemon.restart();
        until("the address is free", Duration::from_secs(5), || {
            (!lease.exists()).then_some(())
        });
        await_paid(&daemon, Duration::from_secs(5));
    }
}
