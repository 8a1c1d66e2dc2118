//! Container output in CRI logs.

use std::fs;

use holdfast_kernel::id::ContainerId;
use holdfast_wire::*;

use crate::harness::*;

#[test]
fn records_have_time_stream_and_tag() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    harness.run(
        container,
        "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo -n three",
    );
    assert_eq!(harness.wait(container), ExitStatus::Code(0));
    let log = fs::read_to_string(harness.log_path(container)).unwrap();
    let rest: Vec<&str> = log
        .lines()
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(rest, ["stdout F one", "stderr F two", "stdout P three"]);
    for line in log.lines() {
        let time = line.split(' ').next().unwrap();
        assert_eq!(
            (time.len(), &time[10..11], &time[29..]),
            (30, "T", "Z"),
            "{time}"
        );
    }
    harness.shut_down();
}

#[test]
fn every_byte_arrives_before_the_exit_is_told() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    harness.run(
        container,
        "yes 0123456789012345678901234567890 | dd bs=1000 count=2000 iflag=fullblock 2>/dev/null",
    );
    assert_eq!(harness.wait(container), ExitStatus::Code(0));
    let log = fs::read_to_string(harness.log_path(container)).unwrap();
    let content: usize = log
        .lines()
        .map(|line| {
            line.len() - "2016-10-06T00:17:09.669794202Z stdout F ".len()
                + usize::from(line.contains(" F "))
        })
        .sum();
    assert_eq!(content, 2_000_000);
    harness.shut_down();
}

#[test]
fn a_reopened_log_gets_what_comes_after() {
    if !can_run() {
        return;
    }
    let mut harness = Harness::with_pause(|_| {});
    let container = ContainerId::random().unwrap();
    harness.run(
        container,
        "echo before; while ! test -e /dev/shm/go; do sleep 0.01; done; echo after; sleep 60",
    );
    let path = harness.log_path(container);
    wait_until("the first line is there", || {
        fs::read_to_string(&path).unwrap().contains("before")
    });
    fs::rename(&path, path.with_extension("old")).unwrap();
    let file = harness.open_log(container);
    assert_eq!(
        harness.ask(Request::ReopenLog { container }, &[file]).0,
        Reply::Done
    );
    fs::File::create(format!("/proc/{}/root/shm/go", harness.pause_pid)).unwrap();
    wait_until("the second line is there", || {
        fs::read_to_string(&path).unwrap().contains("after")
    });
    assert!(
        !fs::read_to_string(path.with_extension("old"))
            .unwrap()
            .contains("after")
    );
    harness.shut_down();
}
