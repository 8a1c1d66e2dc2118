//! Exit codes, times and log lines of containers while the daemon is killed again and again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{ContainerState, ContainerStatus, ReopenContainerLogRequest};
use e2e::call::until;
use e2e::disk::{self, Filler};
use e2e::evidence::with_command;
use e2e::log::{self, Line};
use e2e::place::Place;
use e2e::program::sh;
use e2e::request::{self, BUSYBOX, idle, shell};
use e2e::{Container, Daemon, Pod, call, fails};
use tonic::{Code, Status};

/// How often the daemon is killed at the least.
const KILLS: usize = 20;

/// Lines that a container writes to each of its streams.
const LINES: usize = 3000;

/// A container that writes numbered lines to both streams and ends with a code.
fn writer(code: i32) -> String {
    format!(
        "i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo o$i; echo e$i >&2; \
         [ $((i % 20)) != 0 ] || sleep 0.04; done; exit {code}"
    )
}

fn numbered(letter: char) -> String {
    (1..=LINES)
        .map(|number| format!("{letter}{number}\n"))
        .collect()
}

#[track_caller]
fn complete(lines: &[Line]) {
    for (stream, letter) in [("stdout", 'o'), ("stderr", 'e')] {
        let text = String::from_utf8(log::written(lines, stream)).unwrap();
        let wanted = numbered(letter);
        let same = text
            .lines()
            .zip(wanted.lines())
            .take_while(|(is, was)| is == was)
            .count();
        assert!(
            text == wanted,
            "{stream}: {} lines; the first {same} are right",
            text.lines().count()
        );
    }
}

/// Kills the daemon until the work is done, and 20 times at the least.
fn kill_until(daemon: &Daemon, done: &AtomicBool) -> usize {
    let mut kills = 0;
    while kills < KILLS || !done.load(Ordering::Relaxed) {
        daemon.kill9();
        // Things happen while nobody looks.
        thread::sleep(Duration::from_millis(20 + 37 * (kills as u64 % 5)));
        daemon.restart();
        thread::sleep(Duration::from_millis(15 + 29 * (kills as u64 % 7)));
        kills += 1;
    }
    kills
}

#[test]
fn every_line_and_every_code_is_there_after_many_kills() {
    let daemon = Daemon::start();
    let pods = [daemon.run_named("one"), daemon.run_named("two")];
    let codes = [0, 7, 42, 255];
    let runs: Vec<_> = codes
        .iter()
        .enumerate()
        .map(|(number, code)| {
            let name = format!("c{number}");
            pods[number % 2].start(shell(&name, &writer(*code)))
        })
        .collect();
    kill_until(&daemon, &AtomicBool::new(true));
    for (run, code) in runs.iter().zip(codes) {
        let status = run.wait();
        let reason = if code == 0 { "Completed" } else { "Error" };
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason));
        let lines = run.log();
        complete(&lines);
        // The exit is told when the last line is in the log, and is as old as that.
        let last = lines.iter().map(|line| line.time.clone()).max().unwrap();
        let ended = seconds(status.finished_at);
        assert!((stamp(&last) - ended).abs() < 1.0, "{last}: {ended}");
        assert!(status.started_at < status.finished_at);
    }
}

/// Seconds of the day, of a time of the log.
fn stamp(text: &str) -> f64 {
    let time = &text[text.find('T').unwrap() + 1..];
    let part = |range: std::ops::Range<usize>| time[range].parse::<f64>().unwrap();
    let end = time.find(['Z', '+', '-']).unwrap();
    part(0..2) * 3600.0 + part(3..5) * 60.0 + part(6..end)
}

/// Seconds of the day, of nanoseconds since the epoch.
fn seconds(nanos: i64) -> f64 {
    (nanos % (86_400 * 1_000_000_000)) as f64 / 1e9
}

fn reopen(run: &Container<'_>) -> bool {
    let mut client = run.daemon.clients().runtime;
    let request = ReopenContainerLogRequest {
        container_id: run.id.clone(),
    };
    call(client.reopen_container_log(request)).is_ok()
}

#[test]
fn every_line_is_there_once_when_logs_are_rotated_meanwhile() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("rotate");
    let run = pod.start(shell("c", &writer(3)));
    let done = AtomicBool::new(false);
    let path = run.log_path();
    let mut rotated = Vec::new();
    thread::scope(|scope| {
        let killer = scope.spawn(|| kill_until(&daemon, &done));
        for number in 0..30 {
            let old = path.with_extension(format!("log.{number}"));
            fs::rename(&path, &old).unwrap();
            rotated.push(old);
            // As the kubelet does it: again until the daemon answers. A file is there from then on.
            until("the reopened log", Duration::from_secs(30), || {
                (reopen(&run) || has_ended(&daemon, &run.id)).then_some(())
            });
            if !path.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(60));
        }
        done.store(true, Ordering::Relaxed);
        assert!(killer.join().unwrap() >= KILLS);
    });
    assert_eq!(run.wait().exit_code, 3);
    rotated.push(path);
    let parts = rotated
        .iter()
        .map(|path| fs::read(path).unwrap_or_default());
    let all: Vec<u8> = parts.flatten().collect();
    complete(&log::parse(&all));
}

fn has_ended(daemon: &Daemon, id: &str) -> bool {
    let status = daemon.try_status_brief(id);
    let state = status
        .ok()
        .and_then(|answer| answer.status)
        .map(|status| status.state());
    state == Some(ContainerState::ContainerExited)
}

#[test]
fn ends_between_two_daemons_are_told_by_the_second() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("between");
    for round in 0..8_i32 {
        let millis = 100 + 40 * round;
        let script = format!("sleep 0.{millis:03}; echo last; exit {round}");
        let run = pod.start(shell(&format!("c{round}"), &script));
        thread::sleep(Duration::from_millis(u64::from(45 * round.unsigned_abs())));
        daemon.kill9();
        thread::sleep(Duration::from_millis(60));
        daemon.restart();
        let status = run.wait();
        assert_eq!(status.exit_code, round);
        assert_eq!(run.stdout(), "last\n");
        assert!(status.started_at > 0 && status.started_at <= status.finished_at);
    }
}

fn end(status: &ContainerStatus) -> (i32, i64, i64, String) {
    let (started, finished) = (status.started_at, status.finished_at);
    (status.exit_code, started, finished, status.reason.clone())
}

/// The disk took neither the shim's record of the exit nor the daemon's, and the shim ended with its pod.
#[test]
fn an_end_on_a_full_disk_is_told_by_the_next_daemon() {
    let daemon = disk::daemon_on_small(Place::run, "4m");
    let pod = daemon.run_named("full");
    let run = pod.start(shell("c", "sleep 1; exit 7"));
    let filler = Filler::of(&daemon.place.run());
    let told = run.wait();
    assert_eq!(told.exit_code, 7);
    pod.stop();
    daemon.kill9();
    drop(filler);
    daemon.restart();
    assert_eq!(end(&run.status()), end(&told));
}

/// Starts a container, and fills the disk once it has taken that the start was asked for.
fn start_on_a_filling_disk(pod: &Pod<'_>, run: &Container<'_>) -> (Filler, Result<(), Status>) {
    let daemon = run.daemon;
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    let dir = daemon.place.run().join(format!("pods/{}", pod.id));
    let record = dir.join(format!("container.{}.json", run.id));
    sh(&format!("kill -STOP {shim}"));
    thread::scope(|scope| {
        let start = scope.spawn(|| daemon.try_start(&run.id));
        until("the intent", Duration::from_secs(5), || {
            let text = fs::read_to_string(&record).unwrap();
            text.contains("Starting").then_some(())
        });
        let filler = Filler::of(&daemon.place.run());
        sh(&format!("kill -CONT {shim}"));
        (filler, start.join().unwrap())
    })
}

/// The disk took neither that the container runs nor its end.
#[test]
fn a_life_on_a_full_disk_is_told_by_the_next_daemon() {
    let daemon = disk::daemon_on_small(Place::run, "4m");
    let pod = daemon.run_named("full");
    let run = pod.create(shell("c", "sleep 1; exit 7"));
    let (filler, answer) = start_on_a_filling_disk(&pod, &run);
    answer.unwrap();
    let started = run.status().started_at;
    let told = run.wait();
    assert_eq!((told.exit_code, told.started_at), (7, started));
    daemon.kill9();
    drop(filler);
    daemon.restart();
    assert_eq!(end(&run.wait()), end(&told));
}

/// The disk did not take that the start failed: it is told to whoever asked for it, and the container is as before.
#[test]
fn a_failed_start_on_a_full_disk_is_none() {
    let daemon = disk::daemon_on_small(Place::run, "4m");
    let pod = daemon.run_named("full");
    let run = pod.create(request::container("c", BUSYBOX, &["/no/such/program"]));
    let (filler, answer) = start_on_a_filling_disk(&pod, &run);
    fails(answer, Code::InvalidArgument, &["/no/such/program"]);
    assert_eq!(run.status().state(), ContainerState::ContainerCreated);
    daemon.kill9();
    drop(filler);
    daemon.restart();
    assert_eq!(run.status().state(), ContainerState::ContainerCreated);
    fails(
        daemon.try_start(&run.id),
        Code::InvalidArgument,
        &["/no/such/program"],
    );
    let told = run.wait();
    assert_eq!((told.exit_code, told.reason.as_str()), (128, "StartError"));
    daemon.kill9();
    daemon.restart();
    assert_eq!(end(&run.status()), end(&told));
}

#[test]
fn a_command_that_ends_between_two_daemons_leaves_nothing() {
    let daemon = Daemon::start();
    let run = daemon.run_named("exec").start(idle("c"));
    for round in 0..5 {
        thread::scope(|scope| {
            let script = format!("sleep 0.3; echo {round} >>/done; : sleep-of-round");
            let exec = scope.spawn({
                let (daemon, run) = (&daemon, &run);
                move || daemon.try_exec(&run.id, &["sh", "-c", &script], 20)
            });
            until("the command", Duration::from_secs(5), || {
                (!with_command("sleep-of-round").is_empty()).then_some(())
            });
            daemon.kill9();
            exec.join().unwrap().unwrap_err();
        });
        until("its end", Duration::from_secs(5), || {
            with_command("sleep-of-round").is_empty().then_some(())
        });
        daemon.restart();
        assert_eq!(run.sh("tail -n 1 /done"), format!("{round}\n"));
    }
    assert_eq!(run.status().state(), ContainerState::ContainerRunning);
}
