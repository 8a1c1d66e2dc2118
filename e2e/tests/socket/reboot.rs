//! The machine is started anew: what has ended stays readable, and what outlived the boot is released first.

use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{
    ContainerState, ContainerStatus, PodSandboxState, RuntimeCondition, StatusRequest,
};
use e2e::call::{call, until};
use e2e::daemon::Options;
use e2e::reboot::RunDir;
use e2e::request::{BUSYBOX, idle, shell};
use e2e::{Daemon, cni, must};

const LIST: &str = r#"{ "cniVersion": "1.0.0", "name": "spied", "plugins": [{ "type": "spy" }] }"#;

fn conditions(daemon: &Daemon) -> Vec<RuntimeCondition> {
    let answer = call(
        daemon
            .clients()
            .runtime
            .status(StatusRequest { verbose: false }),
    );
    must("Status", answer).status.unwrap().conditions
}

fn condition(daemon: &Daemon, wanted: &str) -> RuntimeCondition {
    let mut all = conditions(daemon).into_iter();
    all.find(|condition| condition.r#type == wanted)
        .unwrap_or_else(|| panic!("no condition {wanted}"))
}

fn await_ready(daemon: &Daemon) {
    until("RuntimeReady", Duration::from_secs(20), || {
        condition(daemon, "RuntimeReady").status.then_some(())
    });
}

/// Longer than the daemon gathers what it keeps for the next boot.
fn settle() {
    thread::sleep(Duration::from_millis(2500));
}

fn reason(status: &ContainerStatus) -> (ContainerState, &str, i32) {
    (status.state(), status.reason.as_str(), status.exit_code)
}

#[test]
fn statuses_and_logs_of_what_had_ended_survive() {
    for run_dir in [RunDir::Emptied, RunDir::Kept] {
        let daemon = Daemon::start();
        let mut config = daemon.pod("before");
        config.labels.insert("app".to_owned(), "db".to_owned());
        config
            .annotations
            .insert("note".to_owned(), "kept".to_owned());
        let pod = daemon.run(config);
        let (ended, before) = pod.finish(shell("ended", "echo last words; exit 7"));
        let running = pod.start(idle("running"));
        let stopped = daemon.run_named("stopped");
        stopped.stop();
        let pod_before = pod.status();
        let log = ended.stdout();
        assert_eq!(log, "last words\n");
        settle();

        daemon.kill9();
        e2e::reboot::reboot(&daemon, run_dir);
        await_ready(&daemon);

        let after = ended.status();
        assert_eq!(after, before, "{run_dir:?}");
        assert_eq!(ended.stdout(), log);
        let lost = running.status();
        assert_eq!(
            reason(&lost),
            (ContainerState::ContainerExited, "NodeRebooted", 255),
            "{run_dir:?}"
        );
        assert!(lost.finished_at >= lost.started_at && lost.started_at > 0);
        until("NOTREADY", Duration::from_secs(5), || {
            (pod.status().state() == PodSandboxState::SandboxNotready).then_some(())
        });
        let status = pod.status();
        assert_eq!(status.labels, pod_before.labels);
        assert_eq!(status.annotations, pod_before.annotations);
        assert_eq!(status.created_at, pod_before.created_at);
        assert_eq!(stopped.status().state(), PodSandboxState::SandboxNotready);
        assert_eq!(daemon.pods().len(), 2);
        assert_eq!(daemon.containers().len(), 2);
        // What the kubelet does then: a new attempt, and the old one is removed.
        let mut again = pod.config.clone();
        again.metadata.as_mut().unwrap().attempt = 1;
        let id = must("the next attempt", daemon.try_run(&again));
        must("stop", daemon.try_stop_pod(&id));
        running.remove();
        pod.remove();
        assert!(daemon.try_pod_status(&pod.id).is_err());
        // Neither a new daemon nor another boot finds it again.
        settle();
        daemon.kill9();
        e2e::reboot::reboot(&daemon, run_dir);
        assert!(daemon.try_pod_status(&pod.id).is_err());
        assert_eq!(daemon.pods().len(), 2);
    }
}

#[test]
fn what_was_removed_stays_removed_when_the_daemon_dies_at_once() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("gone");
    pod.start(idle("c"));
    settle();
    pod.remove();
    daemon.kill9();
    daemon.restart();
    assert!(daemon.pods().is_empty());
    daemon.kill9();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    assert!(daemon.pods().is_empty());
}

#[test]
fn what_the_daemon_knew_at_its_end_is_kept_at_once() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("orderly");
    let (ended, before) = pod.finish(shell("c", "exit 3"));
    // As at a shutdown of the machine: no time to gather anything.
    assert_eq!(daemon.terminate(), 0);
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    assert_eq!(ended.status(), before);
    assert_eq!(pod.status().state(), PodSandboxState::SandboxNotready);
}

#[test]
fn torn_files_are_as_good_as_absent() {
    let daemon = Daemon::start();
    let (empty, half, whole) = (
        daemon.run_named("empty"),
        daemon.run_named("half"),
        daemon.run_named("whole"),
    );
    whole.start(idle("c"));
    settle();
    daemon.kill9();
    let file = |id: &str| daemon.place.root().join(format!("pods/{id}.json"));
    std::fs::write(file(&empty.id), "").unwrap();
    let text = std::fs::read(file(&half.id)).unwrap();
    std::fs::write(file(&half.id), &text[..text.len() / 2]).unwrap();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    let left: Vec<_> = daemon.pods().into_iter().map(|pod| pod.id).collect();
    assert_eq!(left.as_slice(), std::slice::from_ref(&whole.id));
    assert!(!file(&empty.id).exists() && !file(&half.id).exists());
    assert!(
        daemon
            .log()
            .contains("cannot read the archived record of a pod"),
        "{}",
        daemon.log_tail()
    );
    await_ready(&daemon);
}

#[test]
fn torn_records_in_a_run_directory_on_a_disk_come_from_the_copy() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("p");
    let (ended, before) = pod.finish(shell("ended", "exit 4"));
    let other = daemon.run_named("never-kept");
    settle();
    daemon.kill9();
    let dir = daemon.place.run().join("pods").join(&pod.id);
    std::fs::write(dir.join("pod.json"), "").unwrap();
    let dir = daemon.place.run().join("pods").join(&other.id);
    std::fs::write(dir.join("pod.json"), "{\"version\":1,").unwrap();
    std::fs::remove_file(daemon.place.root().join(format!("pods/{}.json", other.id))).unwrap();
    e2e::reboot::reboot(&daemon, RunDir::Kept);
    assert_eq!(ended.status(), before);
    assert!(daemon.try_pod_status(&other.id).is_err());
    await_ready(&daemon);
}

#[test]
fn plugins_release_the_pods_before_the_runtime_is_ready() {
    let (daemon, plugins) = cni::start(Options::default().set("cni.timeout", "8s"));
    plugins.spy("spy");
    let list = LIST.replace("1.0.0", "1.1.0");
    plugins.configure("10-spied.conflist", &list);
    let pod = daemon.run_named("p");
    let run = pod.start(idle("c"));
    settle();
    daemon.kill9();
    // Slow, so that the test can look in between.
    plugins.act("spy", "DEL", "sleep 2");
    plugins.clear();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);

    let ready = condition(&daemon, "RuntimeReady");
    assert!(!ready.status);
    assert_eq!(ready.reason, "ReleasingEarlierBoot");
    assert!(ready.message.contains(&pod.id[..13]), "{}", ready.message);
    // Reads are answered meanwhile.
    assert_eq!(run.status().reason, "NodeRebooted");
    await_ready(&daemon);
    let calls = plugins.calls();
    let del = calls
        .iter()
        .find(|call| call.what == "spy.DEL")
        .expect("no DEL");
    assert!(del.has(&format!("CNI_CONTAINERID={}", pod.id)));
    // The namespace is gone, and the plugin is told so.
    assert!(del.has("CNI_NETNS="), "{:?}", del.environment);
    let order = plugins.order();
    let of = |what: &str| order.iter().position(|call| call == what);
    assert!(of("spy.DEL") < of("spy.GC"), "{order:?}");
    assert!(
        !daemon
            .place
            .root()
            .join(format!("cni/{}.json", pod.id))
            .exists()
    );
    pod.remove();
}

#[test]
fn a_plugin_that_hangs_becomes_a_debt_and_the_runtime_ready() {
    let (daemon, plugins) = cni::start(Options::default().set("cni.timeout", "1s"));
    plugins.spy("spy");
    plugins.configure("10-spied.conflist", LIST);
    let pod = daemon.run_named("p");
    settle();
    daemon.kill9();
    plugins.act("spy", "DEL", "sleep 1000");
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    assert!(!condition(&daemon, "RuntimeReady").status);
    await_ready(&daemon);
    let debts = condition(&daemon, "HoldfastHasNoDebts");
    assert!(
        !debts.status && debts.message.contains("network"),
        "{debts:?}"
    );
    // Neither a new daemon nor another boot forgets it, and it does not keep a ready node from being so.
    daemon.kill9();
    daemon.restart();
    assert!(!condition(&daemon, "HoldfastHasNoDebts").status);
    assert!(condition(&daemon, "RuntimeReady").status);
    daemon.kill9();
    plugins.act("spy", "DEL", "");
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    until("the debt is paid", Duration::from_secs(10), || {
        condition(&daemon, "HoldfastHasNoDebts")
            .status
            .then_some(())
    });
    assert!(
        !daemon
            .place
            .root()
            .join(format!("cni/{}.json", pod.id))
            .exists()
    );
}

#[test]
fn leases_of_the_bridge_are_free_again() {
    for run_dir in [RunDir::Emptied, RunDir::Kept] {
        // Two addresses in all beside the bridge's own.
        let daemon = Daemon::start();
        let pods = [daemon.run_named("a"), daemon.run_named("b")];
        let leases = || {
            let dir = daemon.place.run().join("network");
            e2e::reboot::files_below(&dir)
                .into_iter()
                .filter(|path| {
                    let name = path.file_name().and_then(|name| name.to_str());
                    name.is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok())
                })
                .count()
        };
        assert_eq!(leases(), 4, "two addresses for each of two pods");
        settle();
        daemon.kill9();
        e2e::reboot::reboot(&daemon, run_dir);
        await_ready(&daemon);
        assert_eq!(leases(), 0, "{run_dir:?}");
        for pod in pods {
            pod.remove();
        }
    }
}

#[test]
fn writable_layers_stay_until_their_container_is_removed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("p");
    let (ended, _) = pod.finish(shell("ended", "echo written >/kept"));
    settle();
    let upper = |id: &str| daemon.place.root().join(format!("containers/{id}/upper"));
    // One that was made in the last moment of the machine: nobody knows it any more.
    let late = pod.create(idle("late"));
    assert!(upper(&late.id).exists());
    daemon.kill9();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    assert!(!upper(&late.id).exists());
    let kept = std::fs::read_to_string(upper(&ended.id).join("kept"));
    assert_eq!(kept.unwrap(), "written\n");
    ended.remove();
    assert!(!upper(&ended.id).exists());
    // The node goes on.
    let run = daemon.run_named("new").start(idle("c"));
    assert_eq!(run.sh("echo alive"), "alive\n");
    assert!(daemon.image(BUSYBOX).is_some());
}

/// What a power failure does to a layer that was not on the disk yet.
const TEARS: [&str; 4] = [
    // Delayed allocation: the name is there, the content is not.
    "f=$(find $L -type f -size +1k | head -1); test -n \"$f\" && truncate -s 0 $f",
    "f=$(find $L -type f -size +1k | head -1); test -n \"$f\" && rm $f",
    "rm -r $L",
    "rm -r $L/*",
];

fn tear(daemon: &Daemon, how: &str) {
    let layers = daemon.place.root().join("images/layers");
    let all: Vec<_> = std::fs::read_dir(&layers).unwrap().flatten().collect();
    assert_eq!(all.len(), 1, "{}", layers.display());
    let diff = all[0].path().join("diff");
    e2e::program::sh(&format!("L={}; {how}", diff.display()));
}

#[test]
fn a_torn_layer_is_absent_at_its_first_use_and_pulled_anew() {
    for how in TEARS {
        let daemon = Daemon::start();
        daemon.provide(BUSYBOX);
        assert_eq!(daemon.terminate(), 0);
        e2e::reboot::down(&daemon, RunDir::Emptied);
        tear(&daemon, how);
        daemon.restart();
        let config = daemon.pod("p");
        let id = must("RunPodSandbox", daemon.try_run(&config));
        let refused = daemon.try_create(&id, &config, &idle("c"));
        let status = refused.expect_err("the image is torn");
        assert_eq!(status.code(), tonic::Code::NotFound, "{how}: {status}");
        // What the kubelet does then.
        assert!(daemon.image(BUSYBOX).is_none(), "{how}");
        daemon.pull(BUSYBOX);
        let created = must(
            "CreateContainer",
            daemon.try_create(&id, &config, &idle("c")),
        );
        must("StartContainer", daemon.try_start(&created));
        let ran = must(
            "ExecSync",
            daemon.try_exec(&created, &["echo", "alive"], 10),
        );
        assert_eq!(ran.stdout, b"alive\n");
    }
}

#[test]
fn a_pull_of_a_torn_image_fetches_it_anew() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    daemon.kill9();
    e2e::reboot::down(&daemon, RunDir::Emptied);
    tear(&daemon, TEARS[0]);
    daemon.restart();
    daemon.pull(BUSYBOX);
    let run = daemon.run_named("p").start(idle("c"));
    assert_eq!(run.sh("echo alive"), "alive\n");
}

#[test]
fn a_sound_image_is_used_without_a_pull_and_looked_at_once() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    daemon.kill9();
    e2e::reboot::reboot(&daemon, RunDir::Emptied);
    let before = daemon.image(BUSYBOX).unwrap();
    let run = daemon.run_named("p").start(idle("c"));
    assert_eq!(run.sh("echo alive"), "alive\n");
    assert_eq!(daemon.image(BUSYBOX).unwrap(), before);
    assert!(!daemon.log().contains("torn"), "{}", daemon.log_tail());
    // In the same boot a new daemon does not look again: what runs is not taken away.
    daemon.kill9();
    daemon.restart();
    let verified = daemon.place.root().join("images/verified.json");
    let verified = std::fs::read_to_string(verified).unwrap();
    let boot_id = std::fs::read_to_string(daemon.place.boot_id()).unwrap();
    assert!(verified.contains(boot_id.trim()), "{verified}");
    assert_eq!(run.sh("echo alive"), "alive\n");
}

#[test]
fn an_index_of_images_that_is_torn_does_not_stop_the_start() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    daemon.kill9();
    e2e::reboot::down(&daemon, RunDir::Emptied);
    std::fs::write(daemon.place.root().join("images/index.json"), "").unwrap();
    daemon.restart();
    assert!(daemon.image(BUSYBOX).is_none());
    daemon.pull(BUSYBOX);
    let run = daemon.run_named("p").start(idle("c"));
    assert_eq!(run.sh("echo alive"), "alive\n");
}
