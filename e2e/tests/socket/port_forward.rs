//! Port-forward.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Child;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{
    LinuxPodSandboxConfig, NamespaceMode, NamespaceOption, PodSandboxConfig,
};
use e2e::client::{Crictl, TRANSPORTS};
use e2e::request::{idle, shell};
use e2e::{Daemon, Pod, streaming_client};

/// A forward under way.
struct Forward {
    client: Child,
    port: u16,
}

impl Forward {
    /// Waits until crictl listens on a port of its choice.
    fn start(crictl: &Crictl<'_>, transport: &str, pod: &Pod<'_>, port: u16) -> Self {
        let mut client = crictl.spawn(&[
            "port-forward",
            "-r",
            transport,
            &pod.id,
            &format!(":{port}"),
        ]);
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        // "Forwarding from 127.0.0.1:40001 -> 80", and then a line for each connection.
        let line = loop {
            let line = lines.next().unwrap().unwrap();
            if line.contains("127.0.0.1:") {
                break line;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        Self {
            client,
            port: port.parse().unwrap(),
        }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket
    }

    /// Sends something and reads everything that comes back.
    fn ask(&self, input: &[u8]) -> Vec<u8> {
        let mut socket = self.connect();
        let mut writer = socket.try_clone().unwrap();
        let input = input.to_vec();
        let sender = thread::spawn(move || {
            let _ = writer.write_all(&input);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut output = Vec::new();
        let _ = socket.read_to_end(&mut output);
        sender.join().unwrap();
        output
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// Listens inside a pod and sends back what comes.
fn echo(pod: &Pod<'_>, name: &str, address: &str, port: u16) {
    let script = format!("echo up; exec nc -lk -s {address} -p {port} -e cat");
    pod.start(shell(name, &script)).wait_for("up");
}

/// An answer as soon as the listener listens.
fn answered(forward: &Forward) {
    e2e::call::until("an answer", Duration::from_secs(10), || {
        (forward.ask(b"x") == b"x").then_some(())
    });
}

#[test]
fn connections_reach_ports_of_localhost() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("forward");
    echo(&pod, "four", "127.0.0.1", 8001);
    echo(&pod, "six", "::1", 8002);
    for transport in TRANSPORTS {
        for port in [8001, 8002] {
            let forward = Forward::start(&crictl, transport, &pod, port);
            answered(&forward);
            let input: Vec<u8> = (0..3_000_000_u32)
                .map(|byte| byte.to_le_bytes()[0])
                .collect();
            assert!(forward.ask(&input) == input, "{transport} {port}");
            thread::scope(|scope| {
                for number in 0..8_u8 {
                    let forward = &forward;
                    scope.spawn(move || {
                        let input = vec![number; 100_000];
                        assert!(forward.ask(&input) == input, "{transport} {port} {number}");
                    });
                }
            });
        }
    }
}

#[test]
fn a_port_where_nobody_listens_fails_alone() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("nobody");
    echo(&pod, "c", "127.0.0.1", 8001);
    for transport in TRANSPORTS {
        let works = Forward::start(&crictl, transport, &pod, 8001);
        answered(&works);
        let mut nobody = Forward::start(&crictl, transport, &pod, 8003);
        let mut reason = BufReader::new(nobody.client.stderr.take().unwrap());
        assert_eq!(nobody.ask(b"x"), b"", "{transport}");
        let mut text = String::new();
        while !text.contains("refused") {
            assert!(
                reason.read_line(&mut text).unwrap() > 0,
                "{transport}: {text}"
            );
        }
        assert!(text.contains("127.0.0.1:8003"), "{transport}: {text}");
        answered(&works);
    }
}

#[test]
fn ports_of_a_host_network_pod_are_the_machines() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let mut config: PodSandboxConfig = daemon.pod("host");
    let linux: &mut LinuxPodSandboxConfig = config.linux.get_or_insert_default();
    let security = linux.security_context.get_or_insert_default();
    security.namespace_options = Some(NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    });
    let pod = daemon.run(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.write_all(b"hello\n");
        }
    });
    let forward = Forward::start(&crictl, "spdy", &pod, port);
    assert_eq!(forward.ask(b""), b"hello\n");
}

#[test]
fn the_end_of_the_pod_ends_the_client() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    for transport in TRANSPORTS {
        let pod = daemon.run_named(transport);
        let container = pod.start(idle("c"));
        let mut forward = Forward::start(&crictl, transport, &pod, 8001);
        container.stop(0);
        pod.remove();
        e2e::call::until("the end of the client", Duration::from_secs(20), || {
            forward.client.try_wait().unwrap().map(drop)
        });
    }
}
