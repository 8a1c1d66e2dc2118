//! Ports of the host that lead into pods of the built-in bridge.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cri_api::runtime::v1::{NamespaceMode, PodSandboxConfig, PortMapping, Protocol};
use e2e::call::until;
use e2e::cni::{inside, start_as};
use e2e::daemon::Options;
use e2e::program::run;
use e2e::request::{ContainerParts, PodParts, idle, shell};
use e2e::{Daemon, Pod, fails};
use tonic::Code;

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// The first of four ports that no other test has at the time. They lie below the range of outgoing
/// connections, so that nobody gets them by chance.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
    u16::try_from(20_000 + number % 3000 * 4).unwrap()
}

fn mapping(host_port: u16, container_port: i32) -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp.into(),
        container_port,
        host_port: host_port.into(),
        host_ip: String::new(),
    }
}

fn with_ports(daemon: &Daemon, name: &str, ports: &[PortMapping]) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    config.port_mappings = ports.to_vec();
    config
}

/// Serves a word on port 80 of both families.
fn serve(pod: &Pod<'_>, word: &str) {
    pod.start(shell(
        "server",
        &format!("while :; do echo {word} | nc -l -p 80; done"),
    ));
}

fn ask(address: &str, port: u16) -> Option<String> {
    let address: IpAddr = address.parse().unwrap();
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn answers(address: &str, port: u16, word: &str) {
    let what = format!("{word} at {address} port {port}");
    until(&what, ANSWER_DEADLINE, || {
        (ask(address, port)? == format!("{word}\n")).then_some(())
    });
}

fn table(daemon: &Daemon) -> String {
    let table = format!("holdfast-{}", daemon.place.bridge);
    run("nft", ["list", "table", "inet", table.as_str()]).ok()
}

fn gateway(daemon: &Daemon) -> String {
    daemon.place.subnet4.replace("0/24", "1")
}

#[test]
fn a_port_leads_into_the_pod_from_everywhere() {
    let daemon = Daemon::start();
    let port = free_port();
    let pod = daemon.run(with_ports(&daemon, "web", &[mapping(port, 80)]));
    serve(&pod, "web");
    // From the host, by an address of it and by localhost.
    answers(&gateway(&daemon), port, "web");
    answers("127.0.0.1", port, "web");
    let gateway6 = daemon.place.subnet6.replace("/64", "1");
    answers(&gateway6, port, "web");
    // A refused connection, not one that hangs: the kernel sends nothing from ::1 elsewhere.
    assert!(ask("::1", port).is_none());
    // From another pod, and from the pod itself.
    let other = daemon.run_named("client");
    for from in [&other, &pod] {
        let client = from.start(idle("client"));
        until("an answer in a pod", ANSWER_DEADLINE, || {
            let script = format!("nc -w 2 {} {port} </dev/null", gateway(&daemon));
            let out = client.exec(&["sh", "-c", &script]);
            (out.stdout == "web\n").then_some(())
        });
    }
    // From another machine, whose address the pod sees.
    pod.stop();
    assert!(ask("127.0.0.1", port).is_none());
}

/// The switch that lets 127.0.0.1 of the host reach a pod would let pods reach services of the host that listen
/// there only.
#[test]
fn pods_do_not_reach_the_hosts_localhost() {
    // In a network namespace of its own, because the rule that holds pods off is taken away at last.
    let (daemon, _) = start_as("bridge", Options::default());
    let web = with_ports(&daemon, "web", &[mapping(free_port(), 80)]);
    daemon.run(web);
    // Somebody in a pod who may send what he likes.
    let mut config = daemon.pod("bad");
    PodParts::security(&mut config).privileged = true;
    let bad = daemon.run(config);
    let mut container = idle("c");
    ContainerParts::security(&mut container).privileged = true;
    let run = bad.start(container);
    let home = std::fs::File::open(daemon.place.home().unwrap()).unwrap();
    let listener = std::thread::spawn(move || {
        nix::sched::setns(home, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        TcpListener::bind("127.0.0.1:0").unwrap()
    });
    let listener = listener.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    run.sh(&format!(
        "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via {}; \
         echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet",
        gateway(&daemon)
    ));
    let reached = || {
        run.sh(&format!(
            "nc -w 2 127.0.0.1 {port} </dev/null & sleep 2; true"
        ));
        listener.accept().is_ok()
    };
    assert!(!reached(), "a pod reached 127.0.0.1 of the host");
    let guard = format!(
        "nft flush chain inet holdfast-{} guard",
        daemon.place.bridge
    );
    inside(&daemon, &guard).ok();
    assert!(reached(), "nothing but the rule held the pod off");
}

/// Sends one datagram back that comes to a port in the pod.
fn echo_once(pod: &Pod<'_>, port: u16) {
    let netns = pod.info()["netnsPath"].as_str().unwrap().to_owned();
    let netns = std::fs::File::open(netns).unwrap();
    std::thread::spawn(move || {
        nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let server = UdpSocket::bind(("0.0.0.0", port)).unwrap();
        let mut buffer = [0; 16];
        let (count, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..count], from).unwrap();
    });
}

/// A client that sent before the pod was there, and goes on from the same port, had a flow that led nowhere: the
/// kernel asks the rules for a flow's first packet only, and every further packet kept that flow alive.
#[test]
fn a_udp_client_reaches_the_pod_that_came_later_and_the_next_one() {
    let daemon = Daemon::start();
    let port = free_port();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let echoed = || {
        // A refusal of an earlier datagram is told at the next call.
        let _ = socket.send_to(b"hello", ("127.0.0.1", port));
        let mut buffer = [0; 16];
        socket
            .recv_from(&mut buffer)
            .is_ok_and(|(count, _)| &buffer[..count] == b"hello")
    };
    assert!(!echoed());
    let udp = PortMapping {
        protocol: Protocol::Udp.into(),
        ..mapping(port, 53)
    };
    for name in ["later", "next"] {
        let pod = daemon.run(with_ports(&daemon, name, std::slice::from_ref(&udp)));
        echo_once(&pod, 53);
        until(&format!("an echo of {name}"), ANSWER_DEADLINE, || {
            echoed().then_some(())
        });
        pod.stop();
        assert!(!echoed());
    }
}

#[test]
fn udp_and_one_address_of_the_host() {
    let daemon = Daemon::start();
    let port = free_port();
    let udp = PortMapping {
        protocol: Protocol::Udp.into(),
        host_ip: "127.0.0.1".to_owned(),
        ..mapping(port, 53)
    };
    let sctp = PortMapping {
        protocol: Protocol::Sctp.into(),
        ..mapping(port, 54)
    };
    let pod = daemon.run(with_ports(&daemon, "dns", &[udp, sctp]));
    echo_once(&pod, 53);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    until("an echo", ANSWER_DEADLINE, || {
        socket.send_to(b"hello", ("127.0.0.1", port)).ok()?;
        let mut buffer = [0; 16];
        let (count, _) = socket.recv_from(&mut buffer).ok()?;
        (&buffer[..count] == b"hello").then_some(())
    });
    let rules = table(&daemon);
    let ip = pod.ip();
    assert!(
        rules.contains(&format!("udp . 127.0.0.1 . {port} : {ip} . 53")),
        "{rules}"
    );
    assert!(
        rules.contains(&format!("sctp . {port} : {ip} . 54")),
        "{rules}"
    );
}

#[test]
fn a_port_belongs_to_one_pod() {
    let daemon = Daemon::start();
    let port = free_port();
    let at = |ip: &str| PortMapping {
        host_ip: ip.to_owned(),
        ..mapping(port, 80)
    };
    let first = daemon.run(with_ports(&daemon, "first", &[at("127.0.0.1")]));
    serve(&first, "first");
    let before = table(&daemon);
    let words = [
        &format!("host port {port}/tcp"),
        first.id.as_str(),
        "already",
    ];
    // All addresses are the first one's too, and the free port beside it is not taken either.
    let both = [mapping(port + 1, 80), mapping(port, 80)];
    let second = with_ports(&daemon, "second", &both);
    fails(daemon.try_run(&second), Code::FailedPrecondition, &words);
    fails(
        daemon.try_run(&with_ports(&daemon, "third", &[at("127.0.0.1")])),
        Code::FailedPrecondition,
        &words,
    );
    assert_eq!(table(&daemon), before);
    assert_eq!(daemon.pods().len(), 1);
    // Another address and another protocol are other ports.
    let udp = PortMapping {
        protocol: Protocol::Udp.into(),
        ..mapping(port, 80)
    };
    let other = daemon.run(with_ports(&daemon, "other", &[at(&gateway(&daemon)), udp]));
    serve(&other, "other");
    answers("127.0.0.1", port, "first");
    answers(&gateway(&daemon), port, "other");
    other.remove();
    first.stop();
    // It is free as soon as its pod has stopped.
    let second = daemon.run(second);
    serve(&second, "second");
    answers("127.0.0.1", port, "second");
    answers("127.0.0.1", port + 1, "second");
    let twice = with_ports(
        &daemon,
        "twice",
        &[mapping(port + 2, 80), mapping(port + 2, 81)],
    );
    fails(daemon.try_run(&twice), Code::FailedPrecondition, &["twice"]);
}

#[test]
fn ports_work_while_the_daemon_is_replaced_and_go_with_their_pod() {
    let daemon = Daemon::start();
    let port = free_port();
    let pod = daemon.run(with_ports(&daemon, "web", &[mapping(port, 80)]));
    serve(&pod, "web");
    let gone = daemon.run(with_ports(&daemon, "gone", &[mapping(port + 1, 80)]));
    serve(&gone, "gone");
    answers("127.0.0.1", port, "web");
    daemon.kill9();
    answers("127.0.0.1", port, "web");
    // While nobody looks, one of the two dies with its shim.
    for pid in e2e::evidence::pids() {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if cgroup.contains(&gone.id) {
            let _ = run("kill", ["-9", pid.to_string().as_str()]);
        }
    }
    daemon.restart();
    answers("127.0.0.1", port, "web");
    let taken = with_ports(&daemon, "again", &[mapping(port, 80)]);
    fails(
        daemon.try_run(&taken),
        Code::FailedPrecondition,
        &["already"],
    );
    until("the dead pod's port to be free", ANSWER_DEADLINE, || {
        (!table(&daemon).contains(&format!(" {} :", port + 1))).then_some(())
    });
    pod.remove();
    assert!(!table(&daemon).contains("elements"), "{}", table(&daemon));
    daemon.run(taken);
}

#[test]
fn what_needs_no_rule_gets_none() {
    let daemon = Daemon::start();
    let port = free_port();
    daemon.run(with_ports(&daemon, "zero", &[mapping(0, 80)]));
    let mut host = with_ports(&daemon, "host", &[mapping(port, i32::from(port))]);
    host.namespaces().network = NamespaceMode::Node.into();
    daemon.run(host);
    assert!(!table(&daemon).contains("elements"), "{}", table(&daemon));
    let no_port = with_ports(&daemon, "none", &[mapping(port, 0)]);
    fails(
        daemon.try_run(&no_port),
        Code::InvalidArgument,
        &["container_port"],
    );
    let v6 = PortMapping {
        host_ip: "nonsense".to_owned(),
        ..mapping(port, 80)
    };
    let nonsense = with_ports(&daemon, "nonsense", &[v6]);
    fails(
        daemon.try_run(&nonsense),
        Code::InvalidArgument,
        &["host_ip"],
    );
}

#[test]
fn without_a_network_a_port_is_refused() {
    let daemon = Daemon::with(Options::default().set("network.kind", "none"));
    let config = with_ports(&daemon, "web", &[mapping(free_port(), 80)]);
    fails(daemon.try_run(&config), Code::InvalidArgument, &["port"]);
}

#[test]
fn a_connection_goes_on_when_other_ports_change() {
    let daemon = Daemon::start();
    let port = free_port();
    let pod = daemon.run(with_ports(&daemon, "long", &[mapping(port, 80)]));
    pod.start(shell("server", "nc -l -p 80 -e cat"));
    let mut stream = until("a connection", ANSWER_DEADLINE, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    stream.set_read_timeout(Some(ANSWER_DEADLINE)).unwrap();
    let mut echo = |word: &[u8; 4]| {
        stream.write_all(word).unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, word);
    };
    echo(b"one\n");
    daemon
        .run(with_ports(&daemon, "other", &[mapping(port + 1, 80)]))
        .remove();
    daemon.kill9();
    daemon.restart();
    echo(b"two\n");
}
