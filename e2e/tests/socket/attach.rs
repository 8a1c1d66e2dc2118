//! Attach.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::ContainerConfig;
use e2e::client::TRANSPORTS;
use e2e::request::shell;
use e2e::{Daemon, streaming_client};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A container that reads its standard input.
fn reading(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig {
        stdin: true,
        ..shell(name, script)
    }
}

/// Reads lines until one has a text. Attach has no history: what comes before it is not seen by everybody.
#[track_caller]
fn read_until(client: &mut BufReader<impl Read>, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let mut line = String::new();
        let length = client.read_line(&mut line).unwrap();
        assert!(length > 0, "the end came before {text:?}: {all:?}");
        all.push_str(&line);
    }
    all
}

fn output(client: &mut Child) -> BufReader<impl Read + use<>> {
    BufReader::new(client.stdout.take().unwrap())
}

#[test]
fn output_comes_from_now_on_and_to_the_end() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        let script = "echo history; read go; echo out; echo err >&2; head -c 500000 /dev/zero; echo; echo last; exit 3";
        let container = pod.start(reading("c", script));
        container.wait_for("history");
        let mut client = crictl.spawn(&["attach", "-i", "-r", transport, &container.id]);
        client.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace('\0', "");
        assert_eq!(text, "out\n\nlast\n", "{transport}: {output:?}");
        assert_eq!(output.stdout.len(), 500_010, "{transport}");
        assert_eq!(output.stderr, b"err\n", "{transport}");
        assert!(output.status.success(), "{transport}: {output:?}");
        assert_eq!(container.wait().exit_code, 3);
        assert!(container.stdout().starts_with("history\nout\n"));
    }
}

#[test]
fn several_clients_see_the_same() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("several");
    let container = pod.start(reading("c", "while read n; do echo line $n; done"));
    let mut watching: Vec<_> = TRANSPORTS
        .iter()
        .map(|transport| crictl.spawn(&["attach", "-r", transport, &container.id]))
        .collect();
    let mut outputs: Vec<_> = watching.iter_mut().map(output).collect();
    let mut writer = crictl.spawn(&["attach", "-i", &container.id]);
    let mut own = output(&mut writer);
    let mut send = |number: usize| {
        writeln!(writer.stdin.as_mut().unwrap(), "{number}").unwrap();
        read_until(&mut own, &format!("line {number}\n"));
    };
    // All are attached when all have seen a line.
    thread::scope(|scope| {
        let readers: Vec<_> = outputs
            .iter_mut()
            .map(|output| scope.spawn(|| read_until(output, "line ")))
            .collect();
        for number in 0.. {
            if readers.iter().all(|reader| reader.is_finished()) {
                break;
            }
            assert!(number < 400, "somebody sees nothing");
            send(number);
            thread::sleep(Duration::from_millis(50));
        }
    });
    send(1000);
    for output in &mut outputs {
        read_until(output, "line 1000\n");
    }
    for mut client in watching.into_iter().chain([writer]) {
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
fn a_client_that_does_not_read_is_detached_and_delays_nothing() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        let script = "while read n; do if [ $n = flood ]; then head -c 20000000 /dev/zero | tr '\\0' x; echo; fi; echo line $n; done";
        let container = pod.start(reading("c", script));
        let mut client = crictl.spawn(&["attach", "-i", "-r", transport, &container.id]);
        writeln!(client.stdin.as_mut().unwrap(), "one").unwrap();
        container.wait_for("line one\n");
        let process = Pid::from_raw(i32::try_from(client.id()).unwrap());
        kill(process, Signal::SIGSTOP).unwrap();
        let mut other = crictl.spawn(&["attach", "-i", "-r", transport, &container.id]);
        let errors = other.stderr.take();
        let drained = other.stdout.take().map(|mut output| {
            thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()))
        });
        other
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"flood\nafter\n")
            .unwrap();
        // More than all buffers hold: the log has it although the client stands still.
        container.wait_for("line after\n");
        assert!(container.stdout().contains("line flood\n"), "{transport}");
        kill(process, Signal::SIGCONT).unwrap();
        drop(client.stdin.take());
        let ended = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(text.contains("did not keep up"), "{transport}: {text}");
        other.kill().unwrap();
        other.wait().unwrap();
        drop((errors, drained.map(thread::JoinHandle::join)));
    }
}

#[test]
fn input_for_one_client_ends_with_it() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        let config = ContainerConfig {
            stdin_once: true,
            ..reading("once", "wc -c; echo ended")
        };
        let container = pod.start(config);
        let args = ["attach", "-i", "-r", transport, &container.id];
        let output = crictl.run_with(&args, &[b'x'; 200_000]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "200000\nended\n",
            "{transport}: {output:?}"
        );
        assert_eq!(container.wait().exit_code, 0);

        // Also when the client is killed.
        let config = ContainerConfig {
            stdin_once: true,
            ..reading(
                "killed",
                "while read line; do echo got $line; done; echo ended",
            )
        };
        let container = pod.start(config);
        let mut client = crictl.spawn(&["attach", "-i", "-r", transport, &container.id]);
        client.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
        container.wait_for("got a\n");
        client.kill().unwrap();
        client.wait().unwrap();
        assert_eq!(container.wait().exit_code, 0);
        assert_eq!(container.stdout(), "got a\nended\n");
    }
}

#[test]
fn input_stays_open_for_the_next_client_and_the_next_daemon() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("again");
    let container = pod.start(reading(
        "c",
        "while read line; do echo got $line; done; echo ended",
    ));
    let send = |line: &str| {
        let mut client = crictl.spawn(&["attach", "-i", &container.id]);
        writeln!(client.stdin.as_mut().unwrap(), "{line}").unwrap();
        read_until(&mut output(&mut client), &format!("got {line}\n"));
        client.kill().unwrap();
        client.wait().unwrap();
    };
    send("one");
    send("two");
    daemon.kill9();
    daemon.restart();
    send("three");
    assert_eq!(container.stdout(), "got one\ngot two\ngot three\n");
}

#[test]
fn a_terminal_is_written_read_and_sized() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        // The size is there before the first input is.
        let script = "stty -echo; read x; echo size $(stty size) read $x";
        let config = ContainerConfig {
            tty: true,
            ..reading("c", script)
        };
        let container = pod.start(config);
        let mut client =
            crictl.spawn_on_terminal(&["attach", "-it", "-r", transport, &container.id]);
        client.stdin.as_mut().unwrap().write_all(b"word\n").unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("size 33 101 read word"),
            "{transport}: {text}"
        );
        container.wait();
    }
}

#[test]
fn clients_of_a_silent_container_leave_nothing_in_its_shim() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("silent");
    let container = pod.start(reading("c", "read x; echo $x; sleep 100000"));
    let shims = e2e::evidence::with_command("holdfast-shim");
    let descriptors = || -> usize {
        let of =
            |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        shims
            .iter()
            .filter(|pid| is_of(**pid, &daemon))
            .map(of)
            .sum()
    };
    let before = descriptors();
    assert!(before > 0);
    for _ in 0..5 {
        let mut client = crictl.spawn(&["attach", "-i", &container.id]);
        e2e::call::until("the client's pipes", Duration::from_secs(10), || {
            (descriptors() > before).then_some(())
        });
        client.kill().unwrap();
        client.wait().unwrap();
    }
    e2e::call::until("the shim's descriptors", Duration::from_secs(10), || {
        (descriptors() == before).then_some(())
    });
}

/// Whether a shim is one of this daemon's.
fn is_of(pid: i32, daemon: &Daemon) -> bool {
    let directory = daemon.place.run().display().to_string();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    files.is_ok_and(|files| {
        files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.starts_with(&directory))
    })
}
