//! Port-forward.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{
    LinuxPodSandboxConfig, NamespaceMode, NamespaceOption, PodSandboxConfig,
};
use e2e::client::{Crictl, TRANSPORTS};
use e2e::request::idle;
use e2e::{Daemon, Pod, streaming_client};
use nix::sched::{CloneFlags, setns};

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

/// A listener of this test inside a pod's network namespace, which sends back what comes.
struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn start(pod: &Pod<'_>, address: &'static str) -> Self {
        let namespace = File::open(format!("/proc/{}/ns/net", pod.pause())).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let (ready, listening) = channel();
        let thread = thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let listener = TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            ready.send(()).unwrap();
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((socket, _)) => {
                        socket.set_nonblocking(false).unwrap();
                        thread::spawn(move || copy(&mut &socket, &mut &socket));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        listening.recv().unwrap();
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn connections_reach_ports_of_localhost() {
    let daemon = Daemon::start();
    let crictl = streaming_client!(&daemon);
    let pod = daemon.run_named("forward");
    let _four = Echo::start(&pod, "127.0.0.1:8001");
    let _six = Echo::start(&pod, "[::1]:8002");
    for transport in TRANSPORTS {
        for port in [8001, 8002] {
            let forward = Forward::start(&crictl, transport, &pod, port);
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
    let _echo = Echo::start(&pod, "127.0.0.1:8001");
    for transport in TRANSPORTS {
        let works = Forward::start(&crictl, transport, &pod, 8001);
        assert_eq!(works.ask(b"x"), b"x", "{transport}");
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
        assert_eq!(works.ask(b"x"), b"x", "{transport}");
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
