//! The built-in bridge: addresses, routes, and who reaches whom.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use cri_api::runtime::v1::NamespaceMode;
use e2e::daemon::Options;
use e2e::evidence;
use e2e::program::run;
use e2e::request::{PodParts, idle, shell};
use e2e::{Daemon, fails, must};
use tonic::Code;

#[test]
fn a_pod_has_addresses_a_route_and_a_loopback() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("net");
    let run = pod.start(idle("c"));
    let (ip, ip6) = (pod.ip(), pod.ip6());
    let prefix = daemon.place.subnet4.trim_end_matches("0/24");
    assert!(
        ip.starts_with(prefix),
        "{ip} is not of {}",
        daemon.place.subnet4
    );
    assert!(ip6.starts_with("fd68:"), "{ip6}");
    let addresses = run.sh("ip addr show eth0");
    assert!(addresses.contains(&format!("{ip}/24")), "{addresses}");
    assert!(addresses.contains(&format!("{ip6}/64")), "{addresses}");
    assert!(addresses.contains("UP"), "{addresses}");
    let global = addresses
        .lines()
        .find(|line| line.contains("fd68:"))
        .unwrap();
    assert!(
        !global.contains("tentative"),
        "not usable at once: {global}"
    );
    let lo = run.sh("ip addr show lo");
    assert!(
        lo.contains("127.0.0.1/8") && lo.contains("LOOPBACK,UP"),
        "{lo}"
    );
    assert!(
        run.sh("ip route")
            .contains(&format!("default via {prefix}1 dev eth0")),
        "{}",
        run.sh("ip route")
    );
    assert!(
        run.sh("ip -6 route").contains("default via fd68:"),
        "{}",
        run.sh("ip -6 route")
    );
}

#[test]
fn containers_of_a_pod_reach_each_other_over_localhost() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("local");
    pod.start(shell(
        "server",
        "while :; do echo hello from server | nc -l -p 8080; done",
    ));
    let client = pod.start(idle("client"));
    e2e::call::until("the server", std::time::Duration::from_secs(10), || {
        let out = client.exec(&["sh", "-c", "nc -w 1 127.0.0.1 8080 </dev/null"]);
        (out.stdout == "hello from server\n").then_some(())
    });
}

#[test]
fn pods_reach_each_other_and_the_host_over_both_families() {
    let daemon = Daemon::start();
    let (a, b) = (daemon.run_named("a"), daemon.run_named("b"));
    let from = a.start(idle("c"));
    from.sh(&format!("ping -c 1 -W 3 {}", b.ip()));
    from.sh(&format!("ping -6 -c 1 -W 3 {}", b.ip6()));
    let gateway = daemon.place.subnet4.replace("0/24", "1");
    from.sh(&format!("ping -c 1 -W 3 {gateway}"));
    // And back: the host reaches a pod.
    let server = b.start(shell(
        "server",
        "while :; do echo hello | nc -l -p 80; done",
    ));
    server.sh("true");
    let out = e2e::call::until(
        "an answer of the pod",
        std::time::Duration::from_secs(10),
        || {
            use std::io::Read;
            let mut text = String::new();
            let mut stream = std::net::TcpStream::connect((b.ip().as_str(), 80)).ok()?;
            stream
                .set_read_timeout(Some(std::time::Duration::from_secs(1)))
                .ok()?;
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        },
    );
    assert_eq!(out, "hello\n");
}

#[test]
fn what_leaves_the_node_is_masqueraded() {
    let daemon = Daemon::start();
    daemon.run_named("nat");
    let table = format!("holdfast-{}", daemon.place.bridge);
    let rules = run("nft", ["list", "table", "inet", table.as_str()]).ok();
    assert!(rules.contains("masquerade"), "{rules}");
    assert!(rules.contains(&daemon.place.subnet4), "{rules}");
    assert!(rules.contains("fd68:"), "{rules}");
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
            .unwrap()
            .trim(),
        "1"
    );
}

#[test]
fn the_namespace_is_pinned_for_ip_netns() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("pin");
    let path = pod.info()["netnsPath"].as_str().unwrap().to_owned();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        fs::metadata(&path).unwrap().ino(),
        evidence::namespace(pod.pause(), "net")
    );
    let out = run(
        "nsenter",
        [format!("--net={path}").as_str(), "ip", "-o", "addr"],
    )
    .ok();
    assert!(out.contains(&pod.ip()), "{out}");
    pod.stop();
    assert!(!fs::exists(&path).unwrap(), "{path} outlived the pod");
}

#[test]
fn addresses_are_unique_and_come_back_when_pods_go() {
    let options = Options::default().set("network.subnet6", "");
    let small = |place: &e2e::place::Place| place.subnet4.replace("/24", "/29");
    let place = e2e::place::Place::new();
    let subnet = small(&place);
    options.set("network.subnet4", subnet.clone()).write(&place);
    let daemon = Daemon::at(place);
    // Of eight addresses the network's, the gateway's and the broadcast one are not for pods.
    let mut pods: Vec<_> = (0..5)
        .map(|number| daemon.run_named(&format!("p{number}")))
        .collect();
    let addresses: BTreeSet<_> = pods.iter().map(e2e::Pod::ip).collect();
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    let sixth = daemon.pod("p5");
    fails(
        daemon.try_run(&sixth),
        Code::ResourceExhausted,
        &[&subnet, "address"],
    );
    assert_eq!(daemon.pods().len(), 5, "nothing is left of the sixth");
    // The host's network needs no address.
    let mut host = daemon.pod("host");
    host.namespaces().network = NamespaceMode::Node.into();
    daemon.run(host);
    let freed = pods[2].ip();
    pods.remove(2).stop();
    assert_eq!(daemon.run(sixth).ip(), freed);
    daemon.kill9();
    daemon.restart();
    fails(
        daemon.try_run(&daemon.pod("p6")),
        Code::ResourceExhausted,
        &["address"],
    );
    for round in 0..20 {
        let last = pods.pop();
        if let Some(pod) = last {
            pod.remove();
        }
        let pod = daemon.run_named(&format!("again-{round}"));
        pods.push(pod);
    }
}

#[test]
fn many_pods_at_once_get_different_addresses() {
    let daemon = Daemon::start();
    let addresses: BTreeSet<_> = thread::scope(|scope| {
        let start = |number: usize| must("run", daemon.try_run(&daemon.pod(&format!("p{number}"))));
        let threads: Vec<_> = (0..24)
            .map(|number| scope.spawn(move || start(number)))
            .collect();
        let ids = threads.into_iter().map(|thread| thread.join().unwrap());
        ids.map(|id| {
            must("status", daemon.try_pod_status(&id))
                .status
                .unwrap()
                .network
                .unwrap()
                .ip
        })
        .collect()
    });
    assert_eq!(addresses.len(), 24);
}

#[test]
fn without_a_network_there_is_a_loopback_only() {
    let daemon = Daemon::with(Options::default().set("network.kind", "none"));
    let pod = daemon.run_named("none");
    let run = pod.start(idle("c"));
    assert_eq!(pod.ip(), "");
    assert_eq!(run.sh("ls /sys/class/net"), "lo\n");
    run.sh("ping -c 1 -W 1 127.0.0.1");
}

#[test]
fn the_bridge_is_made_again_when_somebody_deleted_it() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("before");
    run("ip", ["link", "del", daemon.place.bridge.as_str()]).ok();
    // The pod lost its uplink, which a new daemon puts in place.
    daemon.kill9();
    daemon.restart();
    let other = daemon.run_named("after");
    other.start(idle("c")).sh(&format!(
        "ping -c 1 -W 3 {}",
        daemon.place.subnet4.replace("0/24", "1")
    ));
    pod.remove();
}
