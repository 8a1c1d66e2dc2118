//! Figures, not judgements: run with `--ignored --nocapture`, best with a release build named in
//! `HOLDFAST_SHIM`.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use holdfast_kernel::id::ContainerId;
use holdfast_wire::plan::ExecPlan;
use holdfast_wire::*;

use crate::harness::*;

/// The shortest and the middle one.
fn summary(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[0], times[times.len() / 2])
}

fn pss(pid: i32) -> String {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let wanted = ["Pss:", "Pss_Anon:", "Pss_File:", "Private_Dirty:"];
    let lines = rollup
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
#[ignore = "measures; asserts nothing"]
fn starts_and_sizes() {
    let mut pauses = Vec::new();
    let (mut starts, mut execs) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let mut harness = Harness::new();
        let begin = Instant::now();
        let (reply, _) = harness.start_pause(&pause_plan());
        pauses.push(begin.elapsed());
        let Reply::PauseStarted(report) = reply else {
            panic!("{reply:?}")
        };
        (harness.pause_pid, harness.shim_pid) = (report.pid, report.shim_pid);
        let container = ContainerId::random().unwrap();
        let mut plan = harness.plan(container, "");
        plan.process = process(&["/bin/sleep", "60"]);
        let begin = Instant::now();
        let (reply, _) = harness.start(container, &plan);
        starts.push(begin.elapsed());
        assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
        for exec in 0..5 {
            let null: OwnedFd = fs::File::open("/dev/null").unwrap().into();
            let copy = || null.try_clone().unwrap();
            let plan = ExecPlan {
                process: process(&["/bin/true"]),
                user: None,
                terminal_size: None,
            };
            let begin = Instant::now();
            let passed = [plan_file(&plan), copy(), copy(), copy()];
            harness.ask(
                Request::Exec {
                    container,
                    exec,
                    stdio: ExecStdio::Descriptors,
                },
                &passed,
            );
            harness.event();
            execs.push(begin.elapsed());
        }
        if round == 0 {
            eprintln!("shim: {}", pss(harness.shim_pid));
            eprintln!("pause: {}", pss(harness.pause_pid));
            let second = ContainerId::random().unwrap();
            harness.run(second, "sleep 60");
            eprintln!("shim with two containers: {}", pss(harness.shim_pid));
        }
        harness.shut_down();
    }
    eprintln!(
        "StartPause {:?}, StartContainer {:?}, exec to its end {:?}",
        summary(pauses),
        summary(starts),
        summary(execs)
    );
}

fn throughput(script: &str, bytes: u64) {
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    let before = ticks(harness.shim_pid);
    let begin = Instant::now();
    harness.run(container, script);
    assert_eq!(harness.wait(container), ExitStatus::Code(0));
    let seconds = begin.elapsed().as_secs_f64();
    let busy = (ticks(harness.shim_pid) - before) as f64 / 100.0;
    let megabytes = bytes as f64 / 1e6;
    eprintln!(
        "{megabytes:.0} MB: {:.0} MB/s, {:.0} MB/s of the shim's own time: {script}",
        megabytes / seconds,
        megabytes / busy
    );
    eprintln!("shim afterwards: {}", pss(harness.shim_pid));
    harness.shut_down();
}

/// Processor time of a process in clock ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
}

#[test]
#[ignore = "measures; asserts nothing"]
fn log_throughput() {
    throughput(
        "dd if=/dev/zero bs=64k count=16000 2>/dev/null",
        16_000 * 65_536,
    );
    let line = "x".repeat(127);
    let lines = format!("yes {line} | dd bs=64k count=8000 iflag=fullblock 2>/dev/null");
    throughput(&lines, 8_000 * 65_536);
}
