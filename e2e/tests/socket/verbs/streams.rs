//! exec, attach and port-forward, with and without a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use e2e::call::until;
use e2e::registry::Registry;
use e2e::request::{idle, shell};
use e2e::{Container, Daemon, Options, Pod};
use nix::sched::{CloneFlags, setns};

use super::{Ended, command, on_terminal, run_on_terminal, spawn};

const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// A pod of a name with a container that does nothing.
fn resting<'d>(daemon: &'d Daemon, name: &str) -> Container<'d> {
    daemon.run_named(name).start(idle("c"))
}

#[track_caller]
fn feed(mut child: Child, input: Vec<u8>) -> std::process::Output {
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn a_command_has_its_streams_and_its_exit_code() {
    let daemon = Daemon::start();
    resting(&daemon, "exec");
    let script = "echo out; echo err >&2; exit 7";
    for args in [
        &["exec", "exec/c", "sh", "-c", script][..],
        &["exec", "exec/c", "--", "sh", "-c", script],
        &["exec", "--sync", "exec/c", "--", "sh", "-c", script],
    ] {
        let ran = daemon.holdfast(args);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (7, "out\n", "err\n"),
            "{args:?}"
        );
    }
    let not_run = daemon.holdfast(&["exec", "exec/c", "/no/such/program"]);
    assert!(
        not_run.code == 125 && not_run.stderr.contains("/no/such/program"),
        "{not_run:?}"
    );
    let timed_out =
        daemon.holdfast(&["exec", "-s", "--timeout", "1", "exec/c", "sleep", "7770001"]);
    assert_eq!(timed_out.code, 125, "{timed_out:?}");
    // Words behind the command are its own.
    assert_eq!(
        daemon
            .holdfast(&["exec", "exec/c", "echo", "-it", "--"])
            .ok(),
        "-it --\n"
    );
    daemon.holdfast(&["exec", "exec/nobody", "true"]).fails(1);
    let no_terminal = daemon.holdfast(&["exec", "-it", "exec/c", "sh"]).fails(2);
    assert!(no_terminal.contains("--tty"), "{no_terminal}");
}

#[test]
fn input_of_any_length_goes_through_and_ends() {
    let daemon = Daemon::start();
    resting(&daemon, "input");
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let output = feed(
        spawn(&daemon, &["exec", "-i", "input/c", "cat"]),
        bytes.clone(),
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout == bytes,
        "{} of {} bytes",
        output.stdout.len(),
        bytes.len()
    );
    // A command that does not read its input ends all the same.
    let output = feed(
        spawn(&daemon, &["exec", "-i", "input/c", "sh", "-c", "exit 4"]),
        bytes,
    );
    assert_eq!(output.status.code(), Some(4));
    let output = daemon.holdfast(&["exec", "input/c", "cat"]).ok();
    assert_eq!(output, "");
}

#[test]
fn a_terminal_has_the_size_of_the_window_and_is_restored() {
    let daemon = Daemon::start();
    resting(&daemon, "tty");
    let script = "stty -g > before; holdfast exec -it tty/c sh -c 'sleep 1; stty size; tty; exit 9'; \
        echo code $?; stty -g | cmp before - && echo restored; rm before";
    let mut terminal = on_terminal(&daemon, script);
    terminal.current_dir(&daemon.place.dir);
    let text = e2e::program::finish(terminal).ok();
    for word in ["33 101", "/dev/", "code 9", "restored"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn keys_reach_the_command_and_the_window_may_change() {
    let daemon = Daemon::start();
    resting(&daemon, "keys");
    let inner = "trap 'echo interrupted' INT; trap 'echo now \\$(stty size)' WINCH; echo ready; \
        while :; do sleep 0.1; done";
    // The size is changed from outside, while the command has the terminal.
    let script = format!(
        "stty -g > before; (sleep 4; stty rows 20 cols 60 < /dev/tty) & holdfast exec -it keys/c sh -c \"{inner}\"; \
         stty -g | cmp before - && echo restored"
    );
    let mut terminal = on_terminal(&daemon, &script);
    terminal.current_dir(&daemon.place.dir);
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _child = Ended(child);
    let mut wait = |text: &str| loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("the end before {text:?}"))
            .unwrap();
        if line.contains(text) {
            return;
        }
    };
    wait("ready");
    stdin.write_all(&[3]).unwrap();
    wait("interrupted");
    wait("now 20 60");
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let daemon = Daemon::start();
    resting(&daemon, "signal");
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let script = format!(
            "stty -g > before; (sleep 3; stty -a < /dev/tty | grep -o -e '-icanon'; kill -{signal} $(cat pid)) & \
             sh -c 'echo $$ > pid; exec \"$HOLDFAST\" exec -it signal/c sleep 7770002'; echo code $?; \
             stty -g | cmp before - && echo restored"
        );
        let mut terminal = on_terminal(&daemon, &script);
        terminal.env("HOLDFAST", e2e::program::built("holdfast"));
        terminal.current_dir(&daemon.place.dir);
        let text = e2e::program::finish(terminal).stdout;
        for word in ["-icanon", &format!("code {code}"), "restored"] {
            assert!(text.contains(word), "{signal}: {word}: {text}");
        }
    }
}

#[test]
fn attach_passes_streams_on_and_exits_as_the_container() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("attach");
    let mut config = shell(
        "c",
        "read word; echo got $word; echo err >&2; read last; exit 6",
    );
    config.stdin = true;
    let container = pod.start(config);
    let mut child = spawn(&daemon, &["attach", "-i", "attach/c"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"word\n").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "got word");
    stdin.write_all(b"last\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(container.wait().exit_code, 6);
}

#[test]
fn detach_keys_leave_the_container_running() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("detach");
    let mut config = shell("c", "while read word; do echo got $word; done");
    (config.stdin, config.tty) = (true, true);
    let container = pod.start(config);
    let script = "holdfast attach -it detach/c; echo code $?";
    let mut terminal = on_terminal(&daemon, script);
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _child = Ended(child);
    let mut wait = |text: &str| loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("the end before {text:?}"))
            .unwrap();
        if line.contains(text) {
            return;
        }
    };
    // What is typed before the terminal is raw would be the line discipline's.
    thread::sleep(Duration::from_secs(2));
    stdin.write_all(b"word\r").unwrap();
    wait("got word");
    stdin.write_all(&[0x10, 0x11]).unwrap();
    wait("code 0");
    assert_eq!(container.exec(&["echo", "on"]).stdout, "on\n");
}

#[test]
fn streams_go_over_tls_of_this_machine() {
    let tls = Registry::ca();
    let file = |name: &str| tls.with_file_name(name).display().to_string();
    // A registry with TLS makes the certificate of 127.0.0.1.
    Registry::tls();
    let options = Options::default()
        .set("streaming.tls_cert", file("cert.pem"))
        .set("streaming.tls_key", file("key.pem"));
    let daemon = Daemon::with(options);
    resting(&daemon, "tls");
    assert_eq!(
        daemon.holdfast(&["exec", "tls/c", "echo", "safe"]).ok(),
        "safe\n"
    );
}

/// A port-forward, with the address that it listens on.
fn forward(daemon: &Daemon, args: &[&str]) -> (Ended, u16) {
    let mut child = command(daemon, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{args:?} ended"))
        .unwrap();
    thread::spawn(move || lines.for_each(drop));
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:").unwrap();
    let port = rest.split(' ').next().unwrap().parse().unwrap();
    (Ended(child), port)
}

/// A listener on port 8080 in a pod's network namespace, which answers how many bytes came, when all have.
struct Counter {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Counter {
    fn start(pod: &Pod<'_>) -> Self {
        let namespace = File::open(format!("/proc/{}/ns/net", pod.pause())).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let (ready, listening) = channel();
        let thread = thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
            listener.set_nonblocking(true).unwrap();
            ready.send(()).unwrap();
            while !ended.load(Ordering::Relaxed) {
                let Ok((mut socket, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                socket.set_nonblocking(false).unwrap();
                thread::spawn(move || {
                    let count = copy(&mut socket, &mut sink()).unwrap();
                    let _ = writeln!(socket, "{count}");
                });
            }
        });
        listening.recv().unwrap();
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn ports_are_forwarded_for_many_at_once_with_half_closes() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ports");
    let server = Counter::start(&pod);
    let (forwarded, port) = forward(&daemon, &["port-forward", "ports", ":8080"]);
    let ask = |length: usize| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(ANSWER_DEADLINE)).unwrap();
        socket.write_all(&vec![b'x'; length]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.trim().to_owned()
    };
    thread::scope(|scope| {
        for length in [0, 1, 5, 100_000, 1_000_000, 7, 8, 9] {
            scope.spawn(move || assert_eq!(ask(length), length.to_string()));
        }
    });
    // One that nobody listens on in the pod ends, and the others go on.
    let (_other, closed) = forward(&daemon, &["port-forward", "ports", ":9", ":8080"]);
    let mut socket = TcpStream::connect(("127.0.0.1", closed)).unwrap();
    socket.set_read_timeout(Some(ANSWER_DEADLINE)).unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(ask(3), "3");
    // With its pod ends the command.
    drop(server);
    pod.remove();
    let mut child = forwarded;
    let status = until("the end of port-forward", ANSWER_DEADLINE, || {
        child.0.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    daemon.holdfast(&["port-forward", "ports", "80"]).fails(1);
}

#[test]
fn a_local_port_is_what_was_asked_for() {
    let daemon = Daemon::start();
    daemon.run_named("local");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ports = format!("{port}:80");
    let address = ["port-forward", "--address", "127.0.0.1", "local", &ports];
    let said = daemon.holdfast(&address).fails(1);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    drop(taken);
    let (_forward, got) = forward(&daemon, &address);
    assert_eq!(got, port);
    daemon.holdfast(&["port-forward", "local", "0"]).fails(2);
    let tty = run_on_terminal(&daemon, "holdfast port-forward nobody 80; echo code $?").ok();
    assert!(tty.contains("code 1") && tty.contains("nobody"), "{tty}");
}
