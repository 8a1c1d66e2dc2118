//! Logs in the CRI format.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cri_api::runtime::v1::ReopenContainerLogRequest;
use e2e::log;
use e2e::request::{BUSYBOX, container, idle, shell};
use e2e::{Container, Daemon, call, fails, must};
use tonic::Code;

fn reopen(container: &Container<'_>) -> Result<(), tonic::Status> {
    let request = ReopenContainerLogRequest {
        container_id: container.id.clone(),
    };
    call(
        container
            .daemon
            .clients()
            .runtime
            .reopen_container_log(request),
    )
    .map(|_| ())
}

#[test]
fn lines_have_time_stream_and_tag() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let (run, _) = pod.finish(shell(
        "c",
        "echo one; echo two >&2; echo; echo ' three '; printf 'no line break'",
    ));
    let lines = run.log();
    let out: Vec<_> = lines
        .iter()
        .filter(|line| line.stream == "stdout")
        .collect();
    let texts: Vec<_> = out
        .iter()
        .map(|line| String::from_utf8_lossy(&line.text).into_owned())
        .collect();
    assert_eq!(texts, ["one", "", " three ", "no line break"]);
    assert!(out[..3].iter().all(|line| !line.partial));
    let err: Vec<_> = lines
        .iter()
        .filter(|line| line.stream == "stderr")
        .collect();
    assert_eq!(err.len(), 1);
    assert_eq!(err[0].text, b"two");
    let mut times: Vec<_> = out.iter().map(|line| line.time.clone()).collect();
    let written = times.clone();
    times.sort();
    assert_eq!(times, written, "times go forward");
    let mode = fs::metadata(run.log_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn long_lines_are_split_and_marked_partial() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let script = "probe out 100001 100001; echo short; head -c 40000 /dev/zero | tr '\\0' z";
    let (run, _) = pod.finish(shell("c", script));
    let lines = run.log();
    let short = lines.iter().position(|line| line.text == b"short").unwrap();
    let long = &lines[..short];
    assert!(long.len() > 1, "one entry of {} bytes", long[0].text.len());
    assert!(long[..long.len() - 1].iter().all(|line| line.partial));
    assert!(!long[long.len() - 1].partial);
    assert!(long.iter().all(|line| line.text.len() <= 16 << 10));
    let whole: usize = long.iter().map(|line| line.text.len()).sum();
    assert_eq!(whole, 100_000);
    let tail: usize = lines[short + 1..].iter().map(|line| line.text.len()).sum();
    assert_eq!(tail, 40_000);
}

#[test]
fn bytes_are_kept_as_they_are() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let (run, _) = pod.finish(shell("c", r"printf 'a\000b\377c\r\nd\n'"));
    let lines = run.log();
    assert_eq!(lines[0].text, b"a\0b\xffc\r");
    assert_eq!(lines[1].text, b"d");
}

#[test]
fn all_lines_are_there_when_exited_is_reported() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let (run, status) = pod.finish(shell("c", "seq 1 100000; seq 1 1000 >&2; exit 5"));
    // Read at once, without any waiting.
    let lines = run.log();
    assert_eq!(status.exit_code, 5);
    let wanted: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(
        log::written(&lines, "stdout") == wanted.as_bytes(),
        "{} lines",
        lines.len()
    );
    let wanted: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert!(log::written(&lines, "stderr") == wanted.as_bytes());
}

#[test]
fn a_killed_container_has_its_last_words_in_the_log() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    for round in 0..5 {
        let run = pod.start(shell(
            &format!("c{round}"),
            "i=0; while :; do i=$((i+1)); echo $i; done",
        ));
        run.wait_for("100\n");
        run.stop(0);
        let lines = run.log();
        let last = lines.len();
        assert!(last >= 100);
        let texts = log::written(&lines, "stdout");
        let text = String::from_utf8(texts).unwrap();
        for (at, line) in text.lines().enumerate().take(last - 1) {
            assert_eq!(line, (at + 1).to_string());
        }
    }
}

#[test]
fn background_children_write_on_after_their_parent() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("logs");
    e2e::request::PodParts::namespaces(&mut config).pid = 0;
    let pod = daemon.run(config);
    let mut config = shell("c", "echo first; exit 0");
    e2e::request::ContainerParts::namespaces(&mut config).pid = 0;
    let (run, _) = pod.finish(config);
    assert_eq!(run.stdout(), "first\n");
}

#[test]
fn a_terminal_writes_one_stream() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let mut config = shell("c", "echo one; echo two >&2; seq 1 5000; printf end");
    config.tty = true;
    let (run, _) = pod.finish(config);
    let lines = run.log();
    assert!(lines.iter().all(|line| line.stream == "stdout"));
    let text = String::from_utf8(log::written(&lines, "stdout"))
        .unwrap()
        .replace('\r', "");
    assert!(
        text.starts_with("one\ntwo\n1\n2\n") && text.contains("\n5000\nend"),
        "{}",
        text.len()
    );
}

#[test]
fn a_log_is_reopened_after_it_was_moved_away() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("logs");
    let run = pod.start(shell(
        "c",
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); echo $i; done; sleep 1000",
    ));
    run.wait_for("\n100\n");
    let moved = run.log_path().with_extension("log.1");
    fs::rename(run.log_path(), &moved).unwrap();
    must("ReopenContainerLog", reopen(&run));
    assert!(
        run.log_path().exists(),
        "the new file is there when the call returns"
    );
    run.wait_for("\n200000\n");
    let old = log::written(&log::read(&moved), "stdout");
    let new = log::written(&run.log(), "stdout");
    let all = String::from_utf8([old, new].concat()).unwrap();
    let wanted: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(all == wanted, "lines were lost or doubled at the change");
    run.stop(0);
    fs::remove_file(run.log_path()).unwrap();
    fails(reopen(&run), Code::FailedPrecondition, &[&run.id]);
    assert!(
        !run.log_path().exists(),
        "on an error no new file may exist"
    );
}

#[test]
fn without_a_directory_or_a_path_there_is_no_log() {
    let daemon = Daemon::start();
    let mut config = daemon.pod("none");
    config.log_directory = String::new();
    let (run, status) = daemon.run(config).finish(shell("c", "seq 1 100000"));
    assert_eq!((status.exit_code, status.log_path.as_str()), (0, ""));
    run.remove();
    let mut config = shell("d", "seq 1 100000");
    config.log_path = String::new();
    let (_, status) = daemon.run_named("path").finish(config);
    assert_eq!((status.exit_code, status.log_path.as_str()), (0, ""));
}

#[test]
fn directories_are_made_and_the_log_outlives_its_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("deep");
    let mut config = shell("c", "echo here");
    config.log_path = "deep/er/0.log".into();
    let (run, _) = pod.finish(config);
    run.remove();
    pod.remove();
    assert_eq!(run.stdout(), "here\n");
}

#[test]
fn a_log_path_is_not_followed_out_of_its_directory() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("hostile");
    let victim = daemon.place.dir.join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir_all(&pod.config.log_directory).unwrap();
    symlink(&victim, format!("{}/link.log", pod.config.log_directory)).unwrap();
    for path in [
        "link.log",
        "../../victim",
        "/etc/holdfast-e2e-log",
        "..",
        "a/../../victim",
    ] {
        let mut config = idle("c");
        config.log_path = path.into();
        daemon.provide(BUSYBOX);
        let created = daemon.try_create(&pod.id, &pod.config, &config);
        let outcome = created.clone().and_then(|id| daemon.try_start(&id));
        assert!(outcome.is_err(), "{path} was accepted");
        if let Ok(id) = created {
            must("RemoveContainer", daemon.try_remove(&id));
        }
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!fs::exists("/etc/holdfast-e2e-log").unwrap());
}

#[test]
fn output_of_many_writers_stays_in_whole_lines() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("writers");
    let config = container(
        "c",
        BUSYBOX,
        &[
            "sh",
            "-c",
            "for i in 1 2 3 4; do probe out 1000000 100 100 & done; wait",
        ],
    );
    let (run, _) = pod.finish(config);
    let text = log::written(&run.log(), "stdout");
    assert_eq!(text.len(), 4_000_000);
    assert!(
        text.split(|byte| *byte == b'\n')
            .all(|line| matches!(line.len(), 0 | 99))
    );
}
