//! Exec with a client at its streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use e2e::call::until;
use e2e::client::TRANSPORTS;
use e2e::evidence::{command_line, with_command};
use e2e::registry::Registry;
use e2e::request::{idle, shell};
use e2e::{Container, Daemon, Options, call, fails, streaming_client};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::Code;

const STREAM_DEADLINE: Duration = Duration::from_secs(20);

fn running(daemon: &Daemon) -> Container<'_> {
    daemon.run_named("streaming").start(idle("c"))
}

/// The processes that sleep so long, and no shell that is about to.
fn sleeping(seconds: &str) -> Vec<i32> {
    let line = format!("sleep {seconds}");
    let mut found = with_command(&line);
    found.retain(|pid| command_line(*pid).trim() == line);
    found
}

/// Bytes that no mistake leaves as they are.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend(next());
    }
    bytes
}

/// An exec request for `true`, to be changed.
fn request(container: &str) -> ExecRequest {
    ExecRequest {
        container_id: container.to_owned(),
        cmd: vec!["true".to_owned()],
        stdout: true,
        ..ExecRequest::default()
    }
}

fn try_exec(daemon: &Daemon, request: ExecRequest) -> Result<String, tonic::Status> {
    call(daemon.clients().runtime.exec(request)).map(|answer| answer.url)
}

/// What a request without more gets.
fn ask(url: &str, method: &str, headers: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn outputs_are_apart_and_the_exit_code_comes_back() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let exec = |script: &str| {
            crictl.run(&["exec", "-r", transport, &container.id, "sh", "-c", script])
        };
        let ran = exec("echo out; echo err >&2");
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "out\n"),
            "{transport}: {}",
            ran.stderr
        );
        assert_eq!(ran.stderr, "err\n", "{transport}");
        // crictl itself ends with 1, whatever the command ends with.
        for (script, code) in [
            ("echo before; exit 7", "7"),
            ("echo before; kill -9 $$", "137"),
        ] {
            let ran = exec(script);
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (1, "before\n"),
                "{transport}"
            );
            let expected = format!("exit code {code}\"");
            assert!(
                ran.stderr.contains(&expected),
                "{transport}: {}",
                ran.stderr
            );
        }
    }
}

#[test]
fn input_comes_whole_and_its_end_too() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    let input = noise(3 << 20);
    for transport in TRANSPORTS {
        let args = ["exec", "-i", "-r", transport, &container.id, "cat"];
        let output = crictl.run_with(&args, &input);
        assert!(output.status.success(), "{transport}: {output:?}");
        assert!(
            output.stdout == input,
            "{transport}: {} bytes",
            output.stdout.len()
        );
        // The answer comes after the end of the input.
        let args = [
            "exec",
            "-i",
            "-r",
            transport,
            &container.id,
            "sh",
            "-c",
            "wc -c; sleep 0.1; echo end",
        ];
        let output = crictl.run_with(&args, &input[..100_000]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "100000\nend\n",
            "{transport}"
        );
        // A command that reads nothing of it.
        let args = ["exec", "-i", "-r", transport, &container.id, "echo", "done"];
        let output = crictl.run_with(&args, &input[..50_000]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "done\n",
            "{transport}"
        );
    }
}

#[test]
fn large_outputs_come_whole() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let script = "head -c 20000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let ran = crictl.run(&["exec", "-r", transport, &container.id, "sh", "-c", script]);
        assert_eq!(
            (ran.code, ran.stdout.len(), ran.stderr.len()),
            (0, 20_000_000, 3_000_000),
            "{transport}"
        );
    }
}

#[test]
fn a_terminal_has_the_clients_size_and_one_output() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let args = ["exec", "-it", "-r", transport, &container.id, "sh"];
        let mut client = crictl.spawn_on_terminal(&args);
        let mut stdin = client.stdin.take().unwrap();
        let script = "tty; echo size=$(stty size) term=$TERM; echo to-err >&2; exit 5\n";
        stdin.write_all(script.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("size=33 101 term=xterm"),
            "{transport}: {text}"
        );
        assert!(
            text.contains("/dev/pts/") && text.contains("to-err\r\n"),
            "{transport}: {text}"
        );
        assert_eq!(output.status.code(), Some(1), "{transport}: {text}");
    }
}

/// A size that came after the command's first look at its terminal drew programs for a screen of 0 by 0: in 17 of 20
/// runs of `crictl exec -it C sh -c 'stty size'`. Every form of the command asks at once.
#[test]
fn a_command_finds_the_size_of_its_terminal_at_its_first_look() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    let size = |transport, command: &[&str]| {
        let mut args = vec!["exec", "-it", "-r", transport, &container.id];
        args.extend(command);
        let client = crictl.spawn_on_terminal(&args);
        let output = client.wait_with_output().unwrap();
        // The terminal of script(1) shows the end of the input.
        let text = String::from_utf8_lossy(&output.stdout);
        text.replace("^@", "").trim().to_owned()
    };
    for transport in TRANSPORTS {
        let mut found = Vec::new();
        for _ in 0..10 {
            found.push(size(transport, &["stty", "size"]));
            found.push(size(transport, &["sh", "-c", "stty size"]));
        }
        // A machine that is busy with other tests may hold up one client for longer than it is waited for.
        let right = found.iter().filter(|found| *found == "33 101").count();
        assert!(right >= 19, "{transport}: {found:?}");
    }
}

#[test]
fn a_background_child_does_not_hold_the_client() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let ran = crictl.run(&[
            "exec",
            "-r",
            transport,
            &container.id,
            "sh",
            "-c",
            "sleep 7650001 & echo now",
        ]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "now\n"),
            "{transport}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_command_that_cannot_be_started_says_why() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let ran = crictl.run(&["exec", "-r", transport, &container.id, "no-such-command"]);
        assert_ne!(ran.code, 0, "{transport}");
        assert!(
            ran.stderr.contains("no-such-command"),
            "{transport}: {}",
            ran.stderr
        );
    }
}

#[test]
fn many_at_once() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    thread::scope(|scope| {
        for number in 0..24 {
            let (crictl, id) = (&crictl, &container.id);
            scope.spawn(move || {
                let transport = TRANSPORTS[number % 2];
                let input = vec![b'a' + u8::try_from(number).unwrap(); 200_000];
                let output = crictl.run_with(&["exec", "-i", "-r", transport, id, "cat"], &input);
                assert!(
                    output.stdout == input,
                    "{number}: {} bytes",
                    output.stdout.len()
                );
            });
        }
    });
}

#[test]
fn a_client_that_goes_away_ends_the_input_or_hangs_up() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        let args = [
            "exec",
            "-i",
            "-r",
            transport,
            &container.id,
            "sh",
            "-c",
            "echo ready; cat; exec sleep 7650002",
        ];
        let mut client = crictl.spawn(&args);
        let mut ready = [0; 6];
        client
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        assert!(sleeping("7650002").is_empty(), "{transport}");
        client.kill().unwrap();
        client.wait().unwrap();
        // The process is not killed: it sees the end of its input and goes on, as with containerd.
        until("the end of the input", STREAM_DEADLINE, || {
            (!sleeping("7650002").is_empty()).then_some(())
        });
        for pid in sleeping("7650002") {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        until("its end", STREAM_DEADLINE, || {
            sleeping("7650002").is_empty().then_some(())
        });

        let args = [
            "exec",
            "-it",
            "-r",
            transport,
            &container.id,
            "sh",
            "-c",
            "echo ready; exec sleep 7650003",
        ];
        let mut client = crictl.spawn_on_terminal(&args);
        client
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        until("the start", STREAM_DEADLINE, || {
            (!sleeping("7650003").is_empty()).then_some(())
        });
        client.kill().unwrap();
        client.wait().unwrap();
        until("the hangup", STREAM_DEADLINE, || {
            sleeping("7650003").is_empty().then_some(())
        });
    }
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("stuck");
    let container = pod.start(idle("c"));
    for transport in TRANSPORTS {
        let mut client = crictl.spawn(&["exec", "-r", transport, &container.id, "yes", "7650004"]);
        until("the start", STREAM_DEADLINE, || {
            (with_command("yes\u{0}7650004").len() + with_command("yes 7650004").len() > 0)
                .then_some(())
        });
        kill(
            Pid::from_raw(i32::try_from(client.id()).unwrap()),
            Signal::SIGSTOP,
        )
        .unwrap();
        thread::sleep(Duration::from_millis(300));
        assert_eq!(
            container.exec(&["echo", "on"]).stdout,
            "on\n",
            "{transport}"
        );
        let ran = crictl.run(&["exec", "-r", transport, &container.id, "echo", "on"]);
        assert_eq!(ran.stdout, "on\n", "{transport}: {}", ran.stderr);
        if transport == TRANSPORTS[1] {
            container.stop(0);
            pod.remove();
        }
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
fn the_end_of_the_container_ends_the_client() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        let container = pod.start(idle("c"));
        let args = [
            "exec",
            "-i",
            "-r",
            transport,
            &container.id,
            "sh",
            "-c",
            "echo ready; exec sleep 7650005",
        ];
        let mut client = crictl.spawn(&args);
        let mut ready = [0; 6];
        client
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        pod.remove();
        let ended = client.wait_with_output().unwrap();
        assert!(!ended.status.success(), "{transport}: {ended:?}");
    }
}

#[test]
fn the_end_of_the_daemon_ends_the_client() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    let mut client = crictl.spawn(&["exec", "-i", &container.id, "sh", "-c", "echo ready; cat"]);
    let mut ready = [0; 6];
    client
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    assert_eq!(daemon.terminate(), 0);
    // Nobody is left to tell it how the command went.
    client.wait().unwrap();
    daemon.restart();
    assert_eq!(
        crictl.run(&["exec", &container.id, "echo", "again"]).ok(),
        "again\n"
    );
}

#[test]
fn a_token_is_good_once_and_for_one_thing() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    let url = try_exec(&daemon, request(&container.id)).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
    let answer = ask(&url, "GET", "");
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("Upgrade"),
        "{answer}"
    );
    let answer = ask(&url, "GET", upgrade);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");

    let url = try_exec(&daemon, request(&container.id)).unwrap();
    let answer = ask(&url.replace("/exec/", "/attach/"), "POST", upgrade);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let url = try_exec(&daemon, request(&container.id)).unwrap();
    let answer = ask(
        &url,
        "POST",
        &format!("{upgrade}X-Stream-Protocol-Version: v9.channel.k8s.io\r\n"),
    );
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(
        answer.contains("X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n"),
        "{answer}"
    );
    let url = try_exec(&daemon, request(&container.id)).unwrap();
    assert!(ask(&url, "DELETE", upgrade).starts_with("HTTP/1.1 405 "));
    let base = url.rsplit_once('/').unwrap().0;
    assert!(
        ask(&format!("{base}/{}", "0".repeat(64)), "GET", upgrade).starts_with("HTTP/1.1 404 ")
    );
    assert!(ask(&format!("{base}/"), "GET", upgrade).starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_thousand_may_wait() {
    let daemon = Daemon::start();
    let container = running(&daemon);
    for _ in 0..1000 {
        try_exec(&daemon, request(&container.id)).unwrap();
    }
    fails(
        try_exec(&daemon, request(&container.id)),
        Code::ResourceExhausted,
        &["1000"],
    );
}

#[test]
fn mistakes_of_an_exec_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("refused");
    let container = pod.start(idle("c"));
    let (created, (ended, _)) = (
        pod.create(idle("created")),
        pod.finish(shell("ended", "true")),
    );
    let with = |change: &dyn Fn(&mut ExecRequest)| {
        let mut request = request(&container.id);
        change(&mut request);
        try_exec(&daemon, request)
    };
    let tty = |request: &mut ExecRequest| (request.tty, request.stderr) = (true, true);
    fails(with(&tty), Code::InvalidArgument, &["stderr", "terminal"]);
    fails(
        with(&|request| request.stdout = false),
        Code::InvalidArgument,
        &["stdin"],
    );
    fails(
        with(&|request| request.cmd.clear()),
        Code::InvalidArgument,
        &["cmd"],
    );
    let unknown = |request: &mut ExecRequest| request.container_id = "0123456789abcdef".to_owned();
    fails(with(&unknown), Code::NotFound, &["0123456789abcdef"]);
    for id in [&created.id, &ended.id] {
        fails(
            try_exec(&daemon, request(id)),
            Code::FailedPrecondition,
            &[id, "not running"],
        );
    }
}

#[test]
fn mistakes_of_an_attach_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("refused");
    let container = pod.start(idle("c"));
    let (ended, _) = pod.finish(shell("ended", "true"));
    let attach = |id: &str, stdout: bool, tty: bool| {
        let request = AttachRequest {
            container_id: id.to_owned(),
            stdout,
            stderr: tty,
            tty,
            ..AttachRequest::default()
        };
        call(daemon.clients().runtime.attach(request)).map(|answer| answer.url)
    };
    assert!(attach(&container.id, true, false).is_ok());
    fails(
        attach(&container.id, false, false),
        Code::InvalidArgument,
        &["stdin"],
    );
    fails(
        attach(&container.id, true, true),
        Code::InvalidArgument,
        &["stderr"],
    );
    fails(
        attach("0123456789abcdef", true, false),
        Code::NotFound,
        &["0123456789abcdef"],
    );
    fails(
        attach(&ended.id, true, false),
        Code::FailedPrecondition,
        &["not running"],
    );
}

#[test]
fn mistakes_of_a_port_forward_are_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("refused");
    let forward = |id: &str, port: Vec<i32>| {
        let request = PortForwardRequest {
            pod_sandbox_id: id.to_owned(),
            port,
        };
        call(daemon.clients().runtime.port_forward(request)).map(|answer| answer.url)
    };
    assert!(forward(&pod.id, vec![]).is_ok() && forward(&pod.id, vec![1, 65_535]).is_ok());
    for port in [0, -1, 65_536] {
        fails(
            forward(&pod.id, vec![80, port]),
            Code::InvalidArgument,
            &["port", &port.to_string()],
        );
    }
    fails(
        forward("0123456789abcdef", vec![80]),
        Code::NotFound,
        &["0123456789abcdef"],
    );
    pod.stop();
    fails(
        forward(&pod.id, vec![80]),
        Code::FailedPrecondition,
        &["not ready"],
    );
}

#[test]
fn streams_go_over_tls() {
    let tls = Registry::ca();
    let file = |name: &str| tls.with_file_name(name).display().to_string();
    // A registry with TLS makes the certificate of 127.0.0.1.
    Registry::tls();
    let options = Options::default()
        .set("streaming.tls_cert", file("cert.pem"))
        .set("streaming.tls_key", file("key.pem"));
    let daemon = Daemon::with(options);
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    let url = try_exec(&daemon, request(&container.id)).unwrap();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    for transport in TRANSPORTS {
        let exec = ["exec", "-r", transport];
        let rest = [container.id.as_str(), "echo", "safe"];
        let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
        // crictl wants a certificate of its own too, for which nobody asks.
        let tls = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
        let ran = crictl.run(&[&exec[..], &tls, &rest].concat());
        assert_eq!(ran.stdout, "safe\n", "{transport}: {}", ran.stderr);
    }
}

#[test]
fn a_stream_that_nobody_uses_is_closed() {
    let daemon = Daemon::with(Options::default().set("streaming.idle_timeout", "2s"));
    let crictl = streaming_client!(&daemon);
    let container = running(&daemon);
    for transport in TRANSPORTS {
        // What is used stays, however long.
        let script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.7; done; sleep 7650006";
        let ran = crictl.run(&["exec", "-r", transport, &container.id, "sh", "-c", script]);
        assert_eq!(ran.stdout.lines().count(), 6, "{transport}: {}", ran.stderr);
    }
}
