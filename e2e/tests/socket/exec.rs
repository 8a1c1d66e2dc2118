//! ExecSync.

use std::thread;
use std::time::{Duration, Instant};

use e2e::evidence::{self, with_command};
use e2e::request::idle;
use e2e::{Container, Daemon, call, fails};
use tonic::Code;

fn running(daemon: &Daemon) -> Container<'_> {
    daemon.run_named("exec").start(idle("c"))
}

#[test]
fn output_and_exit_code_come_back() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let out = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str(), out.code),
        ("out\n", "err\n", 7)
    );
    let out = container.exec(&["true"]);
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str(), out.code),
        ("", "", 0)
    );
    // There is no shell in between.
    assert_eq!(
        container.exec(&["echo", "$HOME; *", "a  b"]).stdout,
        "$HOME; * a  b\n"
    );
    assert_eq!(container.exec(&["sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(container.exec(&["sh", "-c", "kill -TERM $$"]).code, 143);
    let bytes = daemon
        .try_exec(&container.id, &["printf", r"\000\377\001"], 5)
        .unwrap();
    assert_eq!(bytes.stdout, [0, 255, 1]);
}

#[test]
fn it_runs_inside_the_containers_namespaces_and_cgroup() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let inside =
        container.sh("for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done");
    let own = container.sh("for n in net ipc uts pid mnt cgroup; do readlink /proc/1/ns/$n; done");
    assert_eq!(inside, own);
    // In the v2 hierarchy it has a group of its own below the container's, so that all of it can be killed.
    let groups = |pid: &str| container.sh(&format!("grep -v ^0:: /proc/{pid}/cgroup || true"));
    assert_eq!(groups("self"), groups("1"));
    let fds = container.sh("probe fds");
    assert_eq!(fds.lines().count(), 3, "{fds}");
    let own = container.sh("cat /proc/self/status | grep -E 'Cap|Seccomp:|NoNew'");
    assert_eq!(
        own,
        container.sh("cat /proc/1/status | grep -E 'Cap|Seccomp:|NoNew'")
    );
}

#[test]
fn a_command_that_is_not_there_fails_with_its_name() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let status = daemon
        .try_exec(&container.id, &["no-such-command"], 5)
        .unwrap_err();
    assert!(status.message().contains("no-such-command"), "{status}");
    let status = daemon
        .try_exec(&container.id, &["/etc/passwd"], 5)
        .unwrap_err();
    assert!(status.message().contains("/etc/passwd"), "{status}");
    assert!(
        status
            .message()
            .to_lowercase()
            .contains("permission denied"),
        "{status}"
    );
    fails(
        daemon.try_exec(&container.id, &[], 5),
        Code::InvalidArgument,
        &["cmd"],
    );
    fails(
        daemon.try_exec(&container.id, &[""], 5),
        Code::InvalidArgument,
        &["cmd"],
    );
    fails(
        daemon.try_exec("0123456789abcdef", &["true"], 5),
        Code::NotFound,
        &["0123456789abcdef"],
    );
}

#[test]
fn a_timeout_kills_everything_it_started() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let script = "sleep 7654321 & (setsid sleep 7654322 &) ; (sh -c 'sleep 7654323 & exec sleep 7654324' &); sleep 7654325";
    let start = Instant::now();
    let refused = daemon.try_exec(&container.id, &["sh", "-c", script], 1);
    fails(refused, Code::DeadlineExceeded, &[]);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(4),
        "{took:?}"
    );
    call::until("the end of all it started", Duration::from_secs(2), || {
        with_command("sleep 765432").is_empty().then_some(())
    });
    assert_eq!(container.sh("echo alive"), "alive\n");
}

#[test]
fn a_command_may_ignore_signals_and_still_times_out() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    fails(
        daemon.try_exec(&container.id, &["probe", "signals"], 1),
        Code::DeadlineExceeded,
        &[],
    );
    call::until("its end", Duration::from_secs(2), || {
        let inside = evidence::cgroup(container.pid(), "pids").processes();
        (inside.len() == 1).then_some(())
    });
}

#[test]
fn background_children_do_not_hold_up_the_answer() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let start = Instant::now();
    let out = container.exec(&["sh", "-c", "sleep 5 & echo done"]);
    assert_eq!((out.stdout.as_str(), out.code), ("done\n", 0));
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn large_output_comes_back_whole() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let answer = daemon
        .try_exec(&container.id, &["probe", "out", "15000000"], 60)
        .unwrap();
    assert_eq!(answer.stdout.len(), 15_000_000);
    let script = "probe out 8000000 & probe out 8000000 128 4096 2; wait";
    let answer = daemon
        .try_exec(&container.id, &["sh", "-c", script], 60)
        .unwrap();
    assert_eq!(
        (answer.stdout.len(), answer.stderr.len()),
        (8_000_000, 8_000_000)
    );
}

#[test]
fn more_than_a_client_takes_is_cut_off() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let limit = (16 << 20).to_string();
    let answer = daemon
        .try_exec(&container.id, &["probe", "out", &limit], 60)
        .unwrap();
    // What is kept fits into the 16 MiB that kubelets and crictl take, with room for the rest of the message.
    const KEPT: usize = (16 << 20) - 1024;
    assert_eq!(answer.stdout.len(), KEPT);
    // What is more is read and thrown away, so that the command goes on to its end.
    let script = "probe out 40000000; probe out 40000000 128 4096 2; exit 6";
    let answer = daemon
        .try_exec(&container.id, &["sh", "-c", script], 60)
        .unwrap();
    assert_eq!(answer.exit_code, 6);
    assert_eq!(
        (answer.stdout.len(), answer.stderr.len()),
        (KEPT / 2, KEPT / 2)
    );
    assert_eq!(container.sh("echo alive"), "alive\n");
}

#[test]
fn many_at_once_do_not_mix() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    thread::scope(|scope| {
        for number in 0..40 {
            let container = &container;
            scope.spawn(move || {
                let script = format!("echo out-{number}; echo err-{number} >&2; exit {number}");
                let out = container.exec(&["sh", "-c", &script]);
                assert_eq!(out.stdout, format!("out-{number}\n"));
                assert_eq!((out.stderr, out.code), (format!("err-{number}\n"), number));
            });
        }
    });
    let pid = container.pid();
    assert_eq!(evidence::cgroup(pid, "pids").processes(), [pid]);
}

#[test]
fn it_ends_when_the_container_does() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    thread::scope(|scope| {
        let exec = scope.spawn(|| daemon.try_exec(&container.id, &["sleep", "1000"], 0));
        call::until("the command", Duration::from_secs(5), || {
            let inside = evidence::cgroup(container.pid(), "pids").processes();
            (inside.len() == 2).then_some(())
        });
        container.stop(0);
        let ended = exec.join().unwrap();
        assert!(ended.is_err() || ended.is_ok_and(|answer| answer.exit_code == 137));
    });
}

#[test]
fn variables_and_directory_are_the_containers() {
    let daemon = Daemon::start();
    let mut config = idle("c");
    config.envs = vec![e2e::request::variable("OWN", "value")];
    config.working_dir = "/tmp".into();
    let container = daemon.run_named("env").start(config);
    assert_eq!(
        container.exec(&["sh", "-c", "echo $OWN $PWD"]).stdout,
        "value /tmp\n"
    );
    assert_eq!(container.exec(&["pwd"]).stdout, "/tmp\n");
}
