//! Stopping: the signal, the grace period, and SIGKILL to everything.

use std::thread;
use std::time::{Duration, Instant};

use cri_api::runtime::v1::{ContainerConfig, ContainerState, NamespaceMode, Signal};
use e2e::call::until;
use e2e::evidence::{self, with_command};
use e2e::request::{BUSYBOX, ContainerParts, PodParts, container, idle, shell};
use e2e::{Daemon, fails};
use tonic::Code;

const IMAGES: &str = "registry.holdfast.test/config/";

#[test]
fn the_stop_signal_is_sigterm_the_images_or_the_requests() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("signals");
    let cases = [
        (
            "default",
            BUSYBOX.to_owned(),
            vec!["probe", "signals", "SIGTERM"],
            "SIGTERM",
            Signal::Sigterm,
        ),
        (
            "name",
            format!("{IMAGES}stop-name:1"),
            vec![],
            "SIGUSR1",
            Signal::Sigusr1,
        ),
        (
            "number",
            format!("{IMAGES}stop-number:1"),
            vec![],
            "SIGUSR2",
            Signal::Sigusr2,
        ),
        (
            "realtime",
            format!("{IMAGES}stop-realtime:1"),
            vec![],
            "37",
            Signal::Sigrtminplus3,
        ),
    ];
    for (name, image, command, wanted, signal) in cases {
        let run = pod.start(container(name, &image, &command));
        run.wait_for("ready");
        assert_eq!(run.status().stop_signal(), signal, "{name}");
        let start = Instant::now();
        run.stop(20);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{name} was not stopped by its signal"
        );
        assert!(
            run.stdout().contains(&format!("got {wanted}\n"))
                || run.stdout().contains(&format!("got SIG{wanted}\n")),
            "{name}: {}",
            run.stdout()
        );
        assert_eq!(run.status().exit_code, 0, "{name}");
    }
    let mut config = container("request", BUSYBOX, &["probe", "signals", "SIGHUP", "9"]);
    config.stop_signal = Signal::Sighup.into();
    let run = pod.start(config);
    run.wait_for("ready");
    run.stop(20);
    assert_eq!(run.status().exit_code, 9);
}

/// A process that a real-time signal killed was never seen to end: nix 0.31.3 answers EINVAL for its wait status, when
/// the kernel has forgotten the child already. Codes by the convention of shells, 128 and the signal, as runc has them.
/// The pod's pids are shared: process 1 of a pid namespace takes no notice of signals that it does not handle.
#[test]
fn what_a_real_time_signal_kills_has_ended() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("realtime");
    config.namespaces().pid = NamespaceMode::Pod.into();
    let pod = daemon.run(config);
    let shared = |mut config: ContainerConfig| {
        config.namespaces().pid = NamespaceMode::Pod.into();
        config
    };
    for signal in [34, 37, 40, 63, 64] {
        let name = format!("own-{signal}");
        let run = pod.start(shared(shell(&name, &format!("kill -{signal} $$"))));
        let status = run.wait();
        let ended = (status.exit_code, status.reason.as_str());
        assert_eq!(ended, (128 + signal, "Error"), "{name}");
    }
    let run = pod.start(shared(idle("exec")));
    let output = run.exec(&["sh", "-c", "kill -40 $$"]);
    assert_eq!(output.code, 168);
    // Who takes no notice of SIGTERM but ends by the signal that was asked for ends at once.
    let mut config = shared(shell(
        "stopped",
        "trap '' TERM; echo ready; exec sleep 1000",
    ));
    config.stop_signal = Signal::Sigrtminplus3.into();
    let run = pod.start(config);
    run.wait_for("ready");
    run.stop(1000);
    let status = run.status();
    let ended = (status.exit_code, status.reason.as_str());
    assert_eq!(ended, (165, "Error"));
}

#[test]
fn a_stop_signal_that_does_not_exist_is_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("bad");
    let image = format!("{IMAGES}stop-bad:1");
    daemon.provide(&image);
    let refused = daemon.try_create(&pod.id, &pod.config, &container("c", &image, &["true"]));
    fails(refused, Code::InvalidArgument, &["SIGNONSENSE"]);
}

#[test]
fn after_the_grace_period_everything_is_killed() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("grace");
    let script =
        "(trap '' TERM; sleep 8765431) & (trap '' TERM; setsid sleep 8765432) & exec probe signals";
    let run = pod.start(shell("c", script));
    run.wait_for("ready");
    let start = Instant::now();
    run.stop(1);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(run.status().exit_code, 137);
    assert!(run.stdout().contains("got SIGTERM\n"));
    until("the end of its children", Duration::from_secs(2), || {
        with_command("sleep 876543").is_empty().then_some(())
    });
}

#[test]
fn with_a_shared_pid_namespace_children_die_with_their_container() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("shared");
    e2e::request::PodParts::namespaces(&mut config).pid = 0;
    let pod = daemon.run(config);
    let mut config = shell(
        "c",
        "(setsid sleep 8765441 &); (sleep 8765442 &); exec sleep 8765443",
    );
    e2e::request::ContainerParts::namespaces(&mut config).pid = 0;
    let run = pod.start(config);
    until("its children", Duration::from_secs(5), || {
        (with_command("sleep 876544").len() == 3).then_some(())
    });
    run.stop(0);
    assert_eq!(run.status().state(), ContainerState::ContainerExited);
    until("the end of its children", Duration::from_secs(2), || {
        with_command("sleep 876544").is_empty().then_some(())
    });
    assert!(evidence::is_alive(pod.pause()));
}

#[test]
fn a_grace_of_zero_kills_at_once() {
    let daemon = Daemon::start();
    let run = daemon
        .run_named("now")
        .start(container("c", BUSYBOX, &["probe", "signals"]));
    run.wait_for("ready");
    run.stop(0);
    assert_eq!(run.status().exit_code, 137);
    assert!(!run.stdout().contains("got SIGTERM"));
}

#[test]
fn a_second_stop_with_less_grace_ends_the_first() {
    let daemon = Daemon::start();
    let run = daemon
        .run_named("twice")
        .start(container("c", BUSYBOX, &["probe", "signals"]));
    run.wait_for("ready");
    let start = Instant::now();
    thread::scope(|scope| {
        let first = scope.spawn(|| run.stop(600));
        run.wait_for("got SIGTERM");
        run.stop(1);
        first.join().unwrap();
    });
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        run.stdout().matches("got SIGTERM").count(),
        1,
        "signalled once"
    );
}

#[test]
fn enormous_grace_periods_do_no_harm() {
    let daemon = Daemon::start();
    let run =
        daemon
            .run_named("long")
            .start(container("c", BUSYBOX, &["probe", "signals", "SIGTERM"]));
    run.wait_for("ready");
    run.stop(i64::MAX);
    assert_eq!(run.status().exit_code, 0);
    let pod = daemon.run_named("negative");
    let run = pod.start(container("c", BUSYBOX, &["probe", "signals"]));
    // Refused or taken for 0: either ends.
    let _ = daemon.try_stop(&run.id, -5);
    run.stop(0);
}

#[test]
fn a_container_that_was_created_only_is_stopped_too() {
    let daemon = Daemon::start();
    let created = daemon.run_named("created").create(shell("c", "true"));
    created.stop(5);
    created.remove();
}
