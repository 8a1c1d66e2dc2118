//! The plugin `portmap` for pods with ports of the host.

use std::net::UdpSocket;
use std::thread::JoinHandle;
use std::time::Duration;

use e2e::call::until;
use e2e::cni::{Plugins, Release, inside, start_with};
use e2e::daemon::Options;
use e2e::request::{idle, shell};
use e2e::{Daemon, Pod};

use super::{By, Case, Port, assert_equal, mapping, serve, served};

/// How long a program in a pod may take until it answers.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// The numbers of the protocols in the CRI.
const TCP: i32 = 0;
const UDP: i32 = 1;
const SCTP: i32 = 2;

/// A bridge with both families, and `portmap` with options.
macro_rules! chain {
    ($bridge:literal, $portmap:literal) => {
        concat!(
            r#"{"type":"bridge","bridge":"cb0","isGateway":true,"hairpinMode":true,"#,
            $bridge,
            r#""ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],
              "ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/60"}]]}},
              {"type":"portmap","#,
            $portmap,
            r#""capabilities":{"portMappings":true}}"#
        )
    };
}

/// All protocols and kinds of addresses.
const ALL: &[Port] = &[
    (18080, 80, TCP, ""),
    (18081, 81, UDP, "192.0.2.1"),
    (18082, 82, SCTP, "0.0.0.0"),
    (18083, 83, TCP, "fd00::1"),
    (18084, 84, SCTP, "::"),
    (18085, 53, UDP, ""),
    (18086, 86, TCP, "127.0.0.1"),
    (18087, 87, TCP, "::1"),
];
/// More ports than one rule names.
const MANY: &[Port] = &[
    (18001, 1, TCP, ""),
    (18002, 2, TCP, ""),
    (18003, 3, TCP, ""),
    (18004, 4, TCP, ""),
    (18005, 5, TCP, ""),
    (18006, 6, TCP, ""),
    (18007, 7, TCP, ""),
    (18008, 8, TCP, ""),
    (18009, 9, TCP, ""),
    (18010, 10, TCP, ""),
    (18011, 11, TCP, ""),
    (18012, 12, TCP, ""),
    (18013, 13, TCP, ""),
    (18014, 14, TCP, ""),
    (18015, 15, TCP, ""),
    (18016, 16, TCP, ""),
];
/// The chain of a kubelet of old, which another program makes.
const KUBE: &str = "iptables -t nat -N KUBE-MARK-MASQ; ip6tables -t nat -N KUBE-MARK-MASQ";

const PORTS: &[Case] = &[
    Case {
        ports: ALL,
        ..Case::of(chain!("", r#""snat":true,"#), 2)
    },
    Case {
        ports: ALL,
        ..Case::of(chain!(r#""ipMasq":true,"#, r#""snat":false,"#), 2)
    },
    Case {
        ports: MANY,
        ..Case::of(
            chain!(r#""ipMasq":true,"#, r#""markMasqBit":31,"masqAll":true,"#),
            2,
        )
    },
    Case {
        ports: ALL,
        before: KUBE,
        ..Case::of(
            chain!(
                "",
                r#""externalSetMarkChain":"KUBE-MARK-MASQ","conditionsV4":[],"#
            ),
            2,
        )
    },
];

#[test]
fn ports_of_debian() {
    assert_equal(Release::Debian, &["0.3.1", "1.0.0"], PORTS);
}

#[test]
fn ports_of_today() {
    assert_equal(Release::Built, &["0.4.0", "1.1.0"], PORTS);
}

/// A pod with ports in a network of these plugins.
fn pod_with<'a>(daemon: &'a Daemon, plugins: &Plugins, list: &str, ports: &[Port]) -> Pod<'a> {
    let list = format!(r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{list}]}}"#);
    plugins.configure("10-net.conflist", &list);
    let mut config = daemon.pod("ports");
    config.port_mappings = ports.iter().map(mapping).collect();
    daemon.run(config)
}

/// What is not served of `portmap`.
#[test]
fn options_of_ports_that_go_to_the_program() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    for list in [
        chain!("", r#""conditionsV4":["-s","10.0.0.0/8"],"#),
        chain!("", r#""backend":"nftables","#),
    ] {
        let pod = pod_with(&daemon, &plugins, list, ALL);
        assert_eq!(served(&daemon, &pod.id, "ADD"), 1, "{list}");
        pod.remove();
        let _ = inside(&daemon, "ip link del cb0; nft flush ruleset");
    }
}

/// Somebody else's chain has to be there, and what was made until then is taken back.
#[test]
fn a_chain_that_is_missing_is_named() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    let list = chain!("", r#""externalSetMarkChain":"KUBE-MARK-MASQ","#);
    let list = format!(r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{list}]}}"#);
    plugins.configure("10-net.conflist", &list);
    let mut config = daemon.pod("ports");
    config.port_mappings = ALL.iter().map(mapping).collect();
    let refused = daemon.try_run(&config).unwrap_err();
    let told = r#"externalSetMarkChain: invalid value "KUBE-MARK-MASQ""#;
    assert!(refused.message().contains(told), "{refused}");
    let left = inside(&daemon, "iptables-save; ip6tables-save").ok();
    assert!(!left.contains("CNI-DN-"), "{left}");
    assert!(plugins.leased().is_empty());
}

/// Rules that somebody has removed come back with the next pod, also those that all pods share.
#[test]
fn ports_lead_into_pods() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    let list = chain!(r#""ipMasq":true,"#, r#""snat":true,"#);
    for flushed in [
        "true",
        "iptables -t nat -F CNI-HOSTPORT-MASQ; iptables -t nat -F OUTPUT",
    ] {
        let pod = pod_with(&daemon, &plugins, list, &[(18080, 80, TCP, "")]);
        assert_eq!(served(&daemon, &pod.id, "ADD"), 2);
        pod.start(shell("web", "while :; do echo web | nc -l -p 80; done"));
        let client = pod.start(idle("client"));
        until("an answer in the pod", ANSWER_DEADLINE, || {
            let ask = ["sh", "-c", "nc -w 2 10.98.0.1 18080 </dev/null"];
            (client.exec(&ask).stdout == "web\n").then_some(())
        });
        for address in ["127.0.0.1", "10.98.0.1", "fd98::1"] {
            let ask = format!("timeout 2 bash -c 'cat </dev/tcp/{address}/18080'");
            until(&format!("an answer at {address}"), ANSWER_DEADLINE, || {
                (inside(&daemon, &ask).stdout == "web\n").then_some(())
            });
        }
        pod.remove();
        inside(&daemon, flushed).ok();
    }
}

/// Runs in a network namespace that has a path.
fn in_namespace<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let namespace = std::fs::File::open(path).unwrap();
    std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// A client that sent before the pod was there, and goes on from the same port, had a flow that led nowhere.
#[test]
fn a_udp_client_reaches_the_pod_that_came_later() {
    let (daemon, plugins) = start_with(Release::Debian, "cni", Options::default());
    serve(&daemon, By::Daemon);
    let list = chain!("", r#""snat":true,"#);
    let host = format!("/run/netns/{}", daemon.place.tag);
    // The rules of all pods make the kernel follow flows.
    let ports = &[(18085, 53, UDP, "")];
    pod_with(&daemon, &plugins, list, ports).remove();
    let client = in_namespace(&host, || UdpSocket::bind("10.98.0.1:0").unwrap());
    let client = client.join().unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let echoed = || {
        // A refusal of an earlier datagram is told at the next call.
        let _ = client.send_to(b"hello", ("10.98.0.1", 18085));
        let mut buffer = [0; 16];
        client
            .recv(&mut buffer)
            .is_ok_and(|count| &buffer[..count] == b"hello")
    };
    assert!(!echoed());
    let pod = pod_with(&daemon, &plugins, list, ports);
    assert_eq!(served(&daemon, &pod.id, "ADD"), 2);
    let netns = pod.info()["netnsPath"].as_str().unwrap().to_owned();
    let server = in_namespace(&netns, || UdpSocket::bind("0.0.0.0:53").unwrap());
    let server = server.join().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((count, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..count], from);
        }
    });
    until("an echo of the pod", ANSWER_DEADLINE, || {
        echoed().then_some(())
    });
    pod.remove();
}
