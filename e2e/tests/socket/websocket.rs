//! Streams over WebSocket as clients other than crictl speak it.

use cri_api::runtime::v1::{AttachRequest, ExecRequest, PortForwardRequest};
use e2e::request::idle;
use e2e::websocket::{Message, WebSocket};
use e2e::{Container, Daemon, Pod, call};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

fn exec(container: &Container<'_>, script: &str) -> String {
    let request = ExecRequest {
        container_id: container.id.clone(),
        cmd: ["sh", "-c", script].map(str::to_owned).into(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    };
    let answer = call(container.daemon.clients().runtime.exec(request));
    answer.unwrap().url
}

fn forward(pod: &Pod<'_>, port: Vec<i32>) -> String {
    let request = PortForwardRequest {
        pod_sandbox_id: pod.id.clone(),
        port,
    };
    let answer = call(pod.daemon.clients().runtime.port_forward(request));
    answer.unwrap().url
}

/// All messages to the end, joined channel by channel. The last one closes.
fn channels(mut socket: WebSocket) -> Vec<(u8, Vec<u8>)> {
    let mut joined: Vec<(u8, Vec<u8>)> = Vec::new();
    while let Some(Message { opcode, content }) = socket.receive() {
        if opcode == CLOSE {
            assert_eq!(content, 1000_u16.to_be_bytes());
            return joined;
        }
        let (channel, bytes) = content.split_first().unwrap();
        match joined.iter_mut().find(|(of, _)| of == channel) {
            Some((_, before)) => before.extend(bytes),
            None => joined.push((*channel, bytes.to_vec())),
        }
    }
    panic!("the connection ended without a word: {joined:?}");
}

fn of(channels: &[(u8, Vec<u8>)], channel: u8) -> String {
    let found = channels.iter().find(|(of, _)| *of == channel);
    found.map_or_else(String::new, |(_, bytes)| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

#[test]
fn every_version_of_the_channels_is_spoken() {
    let daemon = Daemon::start();
    let container = daemon.run_named("versions").start(idle("c"));
    let script = "head -c 5; echo err >&2; exit 4";
    for protocol in [
        "",
        "channel.k8s.io",
        "v4.channel.k8s.io",
        "v5.channel.k8s.io",
    ] {
        let mut socket = WebSocket::connect(&exec(&container, script), protocol).unwrap();
        // The sign that all is ready.
        let first = socket.receive().unwrap();
        assert_eq!(
            (first.opcode, first.content.as_slice()),
            (BINARY, &[1][..]),
            "{protocol}"
        );
        socket.send(BINARY, b"\0hello");
        let channels = channels(socket);
        assert_eq!(
            (of(&channels, 1), of(&channels, 2)),
            ("hello".to_owned(), "err\n".to_owned()),
            "{protocol}"
        );
        let outcome = of(&channels, 3);
        if protocol.starts_with('v') {
            let expected = r#"{"reason":"ExitCode","message":"4"}"#;
            assert!(outcome.contains(expected), "{protocol}: {outcome}");
        } else {
            assert_eq!(outcome, "command terminated with exit code 4", "{protocol}");
        }
    }
}

#[test]
fn channels_go_as_text_too() {
    let daemon = Daemon::start();
    let container = daemon.run_named("text").start(idle("c"));
    for protocol in ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let url = exec(&container, "head -c 5");
        let mut socket = WebSocket::connect(&url, protocol).unwrap();
        let first = socket.receive().unwrap();
        assert_eq!(
            (first.opcode, first.content.as_slice()),
            (TEXT, &b"1"[..]),
            "{protocol}"
        );
        // "hello" in base64.
        socket.send(TEXT, b"0aGVsbG8=");
        let channels = channels(socket);
        assert_eq!(of(&channels, b'1'), "aGVsbG8=", "{protocol}");
    }
}

#[test]
fn the_fifth_version_ends_the_input() {
    let daemon = Daemon::start();
    let container = daemon.run_named("fifth").start(idle("c"));
    let url = exec(&container, "wc -c");
    let mut socket = WebSocket::connect(&url, "v5.channel.k8s.io").unwrap();
    socket.send(BINARY, b"\0hello");
    socket.send(BINARY, &[255, 0]);
    assert_eq!(of(&channels(socket), 1), "5\n");
}

/// What a client tells of its terminal before anything else is what its command finds. One that tells nothing, or no
/// size, is not waited for for long. The messages are those of client-go's remotecommand.
#[test]
fn a_terminal_begins_with_the_first_size_that_is_told() {
    /// What stty says of a terminal without a size.
    const NONE: &str = "stty: standard input";
    let daemon = Daemon::start();
    let container = daemon.run_named("sizes").start(idle("c"));
    let cases: [(&str, &[&[u8]], &str); 7] = [
        ("nothing", &[], NONE),
        (
            "a size",
            &[b"\x04{\"Width\":133,\"Height\":50}\n"],
            "50 133",
        ),
        (
            "a size in pieces",
            &[b"\x04{\"Width\":133,", b"\x04\"Height\":50}"],
            "50 133",
        ),
        (
            "input before it",
            &[b"\0x\n", b"\x04{\"Width\":80,\"Height\":24}"],
            "24 80",
        ),
        (
            "no size before it",
            &[b"\x04{\"Width\":0,\"Height\":0}{\"Width\":9,\"Height\":8}"],
            "8 9",
        ),
        ("nonsense", &[b"\x04nonsense"], NONE),
        (
            "a size beyond a terminal's",
            &[b"\x04{\"Width\":70000,\"Height\":50}"],
            NONE,
        ),
    ];
    for protocol in ["v4.channel.k8s.io", "v5.channel.k8s.io"] {
        for (what, sent, wanted) in cases {
            let request = ExecRequest {
                container_id: container.id.clone(),
                cmd: ["sh", "-c", "stty -echo; stty size"]
                    .map(str::to_owned)
                    .into(),
                stdin: true,
                stdout: true,
                tty: true,
                ..ExecRequest::default()
            };
            let url = call(daemon.clients().runtime.exec(request)).unwrap().url;
            let mut socket = WebSocket::connect(&url, protocol).unwrap();
            for message in sent {
                socket.send(BINARY, message);
            }
            let output = of(&channels(socket), 1);
            let size = output.trim().lines().last().unwrap_or_default();
            assert_eq!(size, wanted, "{protocol}, {what}: {output:?}");
        }
    }
}

#[test]
fn nonsense_harms_nobody() {
    let daemon = Daemon::start();
    let container = daemon.run_named("nonsense").start(idle("c"));
    let refused = WebSocket::connect(&exec(&container, "true"), "v9.channel.k8s.io").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    for messages in [
        &[&b""[..], b"\x07x", b"\xff\x07", b"\x04{nonsense", b"\x01x"][..],
        &[&[4; 60_000][..], &[255]],
    ] {
        let url = exec(&container, "head -c 2");
        let mut socket = WebSocket::connect(&url, "v5.channel.k8s.io").unwrap();
        for message in messages {
            socket.send(BINARY, message);
        }
        socket.send(BINARY, b"\0ok");
        assert_eq!(of(&channels(socket), 1), "ok");
    }
    // What is no WebSocket at all.
    let mut socket = WebSocket::connect(&exec(&container, "sleep 7660001"), "").unwrap();
    socket.send(0x0f, b"x");
    while socket
        .receive()
        .is_some_and(|message| message.opcode != CLOSE)
    {}
    assert_eq!(container.exec(&["echo", "on"]).stdout, "on\n");
}

#[test]
fn attach_has_the_same_channels() {
    let daemon = Daemon::start();
    let mut config = e2e::request::shell("c", "read word; echo got $word; echo err >&2");
    config.stdin = true;
    let container = daemon.run_named("attach").start(config);
    let request = AttachRequest {
        container_id: container.id.clone(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachRequest::default()
    };
    let url = call(daemon.clients().runtime.attach(request)).unwrap().url;
    let mut socket = WebSocket::connect(&url, "v4.channel.k8s.io").unwrap();
    socket.send(BINARY, b"\0word\n");
    let channels = channels(socket);
    assert_eq!(
        (of(&channels, 1), of(&channels, 2)),
        ("got word\n".to_owned(), "err\n".to_owned())
    );
    assert!(of(&channels, 3).contains("Success"));
}

#[test]
fn ports_have_two_channels_each() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ports");
    let server = "while :; do echo hello | nc -l -p 8080; done";
    let container = pod.start(e2e::request::shell("c", server));
    e2e::call::until("the listener", std::time::Duration::from_secs(10), || {
        let script = "grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6";
        (container.exec(&["sh", "-c", script]).code == 0).then_some(())
    });
    let refused = WebSocket::connect(&forward(&pod, vec![]), "v4.channel.k8s.io").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let url = forward(&pod, vec![8080, 9]);
    let socket = WebSocket::connect(&url, "v4.channel.k8s.io").unwrap();
    let channels = channels(socket);
    let bytes = |channel: u8| {
        let found = channels.iter().find(|(of, _)| *of == channel);
        found.unwrap().1.as_slice()
    };
    // Each begins with its port, the low byte first.
    assert_eq!(bytes(0), b"\x90\x1fhello\n");
    assert_eq!(bytes(1), b"\x90\x1f");
    assert_eq!(bytes(2), b"\x09\0");
    let reason = String::from_utf8_lossy(bytes(3)).into_owned();
    assert!(
        reason.contains("127.0.0.1:9") && reason.contains("refused"),
        "{reason}"
    );
}
