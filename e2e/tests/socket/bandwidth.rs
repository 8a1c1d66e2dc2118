//! Limits of a pod's traffic on the built-in bridge.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cri_api::runtime::v1::PodSandboxConfig;
use e2e::call::until;
use e2e::daemon::Options;
use e2e::program::run;
use e2e::request::{idle, shell};
use e2e::{Daemon, fails};
use tonic::Code;

const TRAFFIC_DEADLINE: Duration = Duration::from_secs(15);

/// Bytes that are sent to see a rate: much more than a bucket holds.
const VOLUME: usize = 1_000_000;

fn limited(daemon: &Daemon, name: &str, limits: &[(&str, &str)]) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    for (direction, rate) in limits {
        let key = format!("kubernetes.io/{direction}-bandwidth");
        config.annotations.insert(key, (*rate).to_owned());
    }
    config
}

#[test]
fn what_a_pod_sends_and_receives_is_limited_on_the_hosts_side() {
    let daemon = Daemon::start();
    // 4 Mbit/s: a megabyte takes two seconds, less what the bucket holds.
    let pod = daemon.run(limited(
        &daemon,
        "slow",
        &[("ingress", "4M"), ("egress", "4M")],
    ));
    let limits = run("tc", ["qdisc"]).ok();
    let owner = format!("alias {}", pod.id);
    let links = run("ip", ["-o", "link"]).ok();
    let names: Vec<&str> = links
        .lines()
        .filter(|line| line.contains(&owner))
        .filter_map(|line| line.split(": ").nth(1)?.split('@').next())
        .collect();
    assert_eq!(names.len(), 2, "{links}");
    for name in &names {
        let bucket = limits
            .lines()
            .find(|line| line.contains("qdisc tbf") && line.contains(&format!("dev {name} ")));
        assert!(
            bucket.is_some_and(|line| line.contains("rate 4Mbit")),
            "{limits}"
        );
    }
    // To the pod.
    pod.start(shell(
        "sink",
        "while :; do nc -l -p 80 -e sh -c 'cat >/dev/null; echo done'; done",
    ));
    let mut stream = until("the sink", TRAFFIC_DEADLINE, || {
        TcpStream::connect((pod.ip().as_str(), 80)).ok()
    });
    let start = Instant::now();
    stream.write_all(&vec![0; VOLUME]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1200), "to the pod: {took:?}");
    // From the pod.
    let gateway = daemon.place.subnet4.replace("0/24", "1");
    let listener = TcpListener::bind((gateway.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    pod.start(shell(
        "source",
        &format!("head -c {VOLUME} /dev/zero | nc {gateway} {port}"),
    ));
    let (mut stream, _) = listener.accept().unwrap();
    let start = Instant::now();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let took = start.elapsed();
    assert_eq!(all.len(), VOLUME);
    assert!(took > Duration::from_millis(1200), "from the pod: {took:?}");

    pod.stop();
    until("the interfaces to be gone", TRAFFIC_DEADLINE, || {
        (!run("ip", ["-o", "link"]).ok().contains(&owner)).then_some(())
    });
}

#[test]
fn limits_stay_when_the_daemon_is_replaced_and_go_with_their_pod() {
    let daemon = Daemon::start();
    let pod = daemon.run(limited(&daemon, "kept", &[("egress", "1Gi")]));
    pod.start(idle("c"));
    let owner = format!("alias {}", pod.id);
    let count = || run("ip", ["-o", "link"]).ok().matches(&owner).count();
    assert_eq!(count(), 2);
    daemon.kill9();
    daemon.restart();
    assert_eq!(count(), 2);
    pod.remove();
    until("the interfaces to be gone", TRAFFIC_DEADLINE, || {
        (count() == 0).then_some(())
    });
}

#[test]
fn rates_that_are_none_are_refused_by_name() {
    let daemon = Daemon::start();
    for rate in ["fast", "10", "-5M", "2P", ""] {
        let config = limited(&daemon, "bad", &[("ingress", rate)]);
        let words = ["kubernetes.io/ingress-bandwidth", "10M"];
        fails(daemon.try_run(&config), Code::InvalidArgument, &words);
    }
    drop(daemon);
    let daemon = Daemon::with(Options::default().set("network.kind", "none"));
    let config = limited(&daemon, "none", &[("egress", "1M")]);
    fails(
        daemon.try_run(&config),
        Code::InvalidArgument,
        &["bandwidth"],
    );
}
