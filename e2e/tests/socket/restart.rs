//! kill -9 of the daemon at any moment: nothing is lost, and nothing is left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{ContainerState, ContainerStatus, PodSandboxState};
use e2e::call::until;
use e2e::evidence::{is_alive, with_command};
use e2e::log;
use e2e::program::sh;
use e2e::request::{BUSYBOX, container, idle, shell};
use e2e::{Daemon, must};

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn pods_and_containers_are_the_same_after_a_crash() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("same");
    let (running, created) = (pod.start(idle("running")), pod.create(idle("created")));
    let (ended, _) = pod.finish(shell("ended", "exit 3"));
    let stopped = daemon.run_named("stopped");
    stopped.stop();
    let statuses =
        || -> Vec<ContainerStatus> { [&running, &created, &ended].map(|of| of.status()).into() };
    let (before, pid, pause) = (statuses(), running.pid(), pod.pause());
    let (pod_before, stopped_before) = (pod.status(), stopped.status());

    daemon.kill9();
    assert!(is_alive(pid) && is_alive(pause));
    daemon.restart();

    assert_eq!(statuses(), before);
    assert_eq!(
        (pod.status(), stopped.status()),
        (pod_before, stopped_before)
    );
    assert_eq!((running.pid(), pod.pause()), (pid, pause));
    assert_eq!(running.sh("echo $HOSTNAME"), "same\n");
    created.start();
    assert_eq!(created.status().state(), ContainerState::ContainerRunning);
    running.stop(0);
    assert_eq!(running.status().exit_code, 137);
    must("repeat", daemon.try_run(&pod.config));
}

#[test]
fn sigterm_ends_the_daemon_and_leaves_the_pods() {
    let daemon = Daemon::start();
    let run = daemon.run_named("term").start(idle("c"));
    let pid = run.pid();
    assert_eq!(daemon.terminate(), 0);
    assert!(is_alive(pid));
    assert!(
        !daemon.place.socket().exists(),
        "the socket is gone with the daemon"
    );
    daemon.restart();
    assert_eq!(run.pid(), pid);
}

#[test]
fn an_exit_while_nobody_looked_has_its_real_code_and_time() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("exit");
    let run = pod.start(container(
        "c",
        BUSYBOX,
        &["probe", "signals", "SIGUSR1", "77"],
    ));
    run.wait_for("ready");
    let second = pod.start(idle("killed"));
    let (pid, killed) = (run.pid(), second.pid());
    daemon.kill9();
    let before = now();
    sh(&format!("kill -USR1 {pid}; kill -KILL {killed}"));
    until("its end", Duration::from_secs(5), || {
        (!is_alive(pid) && !is_alive(killed)).then_some(())
    });
    let after = now();
    thread::sleep(Duration::from_millis(1500));
    daemon.restart();
    let status = run.wait();
    assert_eq!(status.exit_code, 77);
    // A little leeway: the shim looks at the clock when it reaps.
    let slack = 200_000_000;
    assert!(
        (before - slack..after + slack).contains(&status.finished_at),
        "{} ms off",
        (status.finished_at - after) / 1_000_000
    );
    assert!(run.stdout().contains("got SIGUSR1"), "{}", run.stdout());
    let status = second.wait();
    assert_eq!(status.exit_code, 137);
    assert!((before - slack..after + slack).contains(&status.finished_at));
}

#[test]
fn logs_go_on_without_a_gap() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); echo $i; done";
    let run = pod.start(shell("c", script));
    run.wait_for("\n1000\n");
    for _ in 0..4 {
        daemon.kill9();
        thread::sleep(Duration::from_millis(50));
        daemon.restart();
    }
    run.wait();
    let wanted: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(
        log::written(&run.log(), "stdout") == wanted.as_bytes(),
        "{} lines",
        run.log().len()
    );
}

#[test]
fn a_pod_whose_pause_died_meanwhile_is_not_ready() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("pause");
    let pause = pod.pause();
    daemon.kill9();
    sh(&format!("kill -KILL {pause}"));
    until("its end", Duration::from_secs(5), || {
        (!is_alive(pause)).then_some(())
    });
    daemon.restart();
    until("NOTREADY", Duration::from_secs(5), || {
        (pod.status().state() == PodSandboxState::SandboxNotready).then_some(())
    });
    pod.remove();
}

#[test]
fn a_pod_whose_shim_was_killed_is_not_ready_and_can_be_removed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("shim");
    let run = pod.start(idle("c"));
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    sh(&format!("kill -KILL {shim}"));
    until("NOTREADY", Duration::from_secs(10), || {
        (pod.status().state() == PodSandboxState::SandboxNotready).then_some(())
    });
    assert_ne!(run.status().state(), ContainerState::ContainerRunning);
    pod.remove();
    let pod = daemon.run_named("shim2");
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    daemon.kill9();
    sh(&format!("kill -KILL {shim}"));
    daemon.restart();
    assert_eq!(pod.status().state(), PodSandboxState::SandboxNotready);
    pod.remove();
}

#[test]
fn an_exec_that_lost_its_daemon_ends_or_is_ended() {
    let daemon = Daemon::start();
    let run = daemon.run_named("exec").start(idle("c"));
    thread::scope(|scope| {
        let exec = scope.spawn(|| daemon.try_exec(&run.id, &["sleep", "6543210"], 0));
        until("the command", Duration::from_secs(5), || {
            (!with_command("sleep 6543210").is_empty()).then_some(())
        });
        daemon.kill9();
        assert!(exec.join().unwrap().is_err());
    });
    daemon.restart();
    assert_eq!(run.sh("echo alive"), "alive\n");
    run.remove();
    assert!(with_command("sleep 6543210").is_empty());
}

#[test]
fn a_stop_that_lost_its_daemon_can_be_repeated() {
    let daemon = Daemon::start();
    let run = daemon
        .run_named("stop")
        .start(container("c", BUSYBOX, &["probe", "signals"]));
    run.wait_for("ready");
    thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.try_stop(&run.id, 600));
        run.wait_for("got SIGTERM");
        daemon.kill9();
        assert!(stop.join().unwrap().is_err());
    });
    daemon.restart();
    run.stop(1);
    assert_eq!(run.status().exit_code, 137);
}

/// Runs pods and containers as fast as it can, whatever the daemon says, until it is told to end.
fn storm(daemon: &Daemon, worker: usize, end: &AtomicBool) {
    for round in 0.. {
        if end.load(Ordering::Relaxed) {
            return;
        }
        let config = daemon.pod(&format!("storm-{worker}-{round}"));
        let Ok(id) = daemon.try_run(&config) else {
            continue;
        };
        let created = daemon.try_create(&id, &config, &idle("c"));
        let _ = created.and_then(|id| daemon.try_start(&id));
        if round % 2 == 0 {
            let _ = daemon.try_stop_pod(&id);
            let _ = daemon.try_remove_pod(&id);
        }
    }
}

#[test]
fn crashes_in_the_middle_of_everything_leave_nothing_broken() {
    let daemon = Daemon::start();
    daemon.provide(BUSYBOX);
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (daemon, end) = (&daemon, &end);
            scope.spawn(move || storm(daemon, worker, end));
        }
        for round in 0..12 {
            thread::sleep(Duration::from_millis(60 + 37 * round));
            daemon.kill9();
            daemon.restart();
        }
        end.store(true, Ordering::Relaxed);
    });
    // Whatever is called ready works, and whatever is called running runs.
    let mut seen = BTreeMap::new();
    for pod in daemon.pods() {
        *seen.entry(format!("{:?}", pod.state())).or_insert(0) += 1;
        if pod.state() == PodSandboxState::SandboxReady {
            let pause = daemon.namespaces(&pod.id)[0].pid;
            assert!(is_alive(i32::try_from(pause).unwrap()), "{pod:?}");
        }
    }
    for container in daemon.containers() {
        if container.state() == ContainerState::ContainerRunning {
            assert_eq!(
                must("exec", daemon.try_exec(&container.id, &["true"], 10)).exit_code,
                0
            );
        }
    }
    // The rest is the leak check's, after all is removed.
    eprintln!("{seen:?}");
}

#[test]
fn crashes_during_pulls_leave_no_half_image() {
    let daemon = Daemon::start();
    let image = "registry.k8s.io/e2e-test-images/nginx:1.14-2";
    for round in 0..8 {
        thread::scope(|scope| {
            scope.spawn(|| daemon.try_pull(image));
            thread::sleep(Duration::from_millis(5 + 12 * round));
            daemon.kill9();
        });
        daemon.restart();
        if let Some(found) = daemon.image(image) {
            must("RemoveImage", daemon.try_remove_image(&found.id));
        }
    }
    daemon.pull(image);
    let run = daemon
        .run_named("after")
        .start(container("c", image, &["sleep", "1000"]));
    run.sh("nginx -t 2>&1 || nginx -v 2>&1");
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused() {
    let daemon = Daemon::start();
    let run = daemon.run_named("first").start(idle("c"));
    let mut command = std::process::Command::new(e2e::program::built("holdfastd"));
    command
        .arg("--config")
        .arg(daemon.place.config())
        .stdin(std::process::Stdio::null());
    let second = e2e::program::finish(command);
    assert_ne!(second.code, 0);
    assert!(
        second.stderr.contains(&daemon.place.tag),
        "{}",
        second.stderr
    );
    assert_eq!(run.sh("echo alive"), "alive\n");
}
