//! CHECK, STATUS and GC, which the daemon calls at its start and when it is asked for its status.

use std::fs;
use std::time::Duration;

use e2e::call::until;
use e2e::cni::{Plugins, Release, inside, network_ready, start_with};
use e2e::daemon::Options;
use e2e::program::run;
use e2e::{Daemon, Pod};

use super::{By, mapping, serve, served};

/// How long the daemon may take after its start until it has looked at its pods.
const CHECK_DEADLINE: Duration = Duration::from_secs(60);
/// All plugins that are served.
const LIST: &str = r#"{"cniVersion":"VERSION","name":"net","plugins":[
  {"type":"bridge","bridge":"cb0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES",
   "routes":[{"dst":"0.0.0.0/0"},{"dst":"192.0.2.0/24","gw":"10.98.0.1"}],"ranges":[[{"subnet":"10.98.0.0/24"}]]}},
  {"type":"loopback"},{"type":"portmap","capabilities":{"portMappings":true}},{"type":"spy-a"}]}"#;
/// A plugin that hands on the result before its own. It is asked last, and only when those before it found no fault.
const HANDS_ON: &str = r#"python3 -c 'import json,sys; print(json.dumps(json.load(sys.stdin)["prevResult"]))' <$call.stdin; exit"#;
/// What somebody does to a pod's network: in the pod's namespace or the host's.
const CHANGES: [(bool, &str); 8] = [
    (true, "ip addr del 10.98.0.2/24 dev eth0"),
    (true, "ip route del 192.0.2.0/24"),
    (true, "ip link set lo down"),
    (
        true,
        "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:01; ip link set eth0 up;
      ip route replace default via 10.98.0.1; ip route replace 192.0.2.0/24 via 10.98.0.1",
    ),
    (
        false,
        "ip -o link show master cb0 | sed 's/.*: \\(veth[^@]*\\)@.*/\\1/' | xargs -I{} ip link set {} nomaster",
    ),
    (false, "rm LEASES/net/10.98.0.2"),
    (false, "iptables -t nat -F CNI-HOSTPORT-DNAT"),
    (
        false,
        "chain=$(iptables-save -t nat | sed -n 's/^:\\(CNI-DN-[0-9a-f]*\\) .*/\\1/p'); iptables -t nat -D $chain 1",
    ),
];

/// How many of the changes are of ports. The program of 1.1.1 looks for an IPv4 pod's ports in ip6tables too, and so never
/// finds a pod with ports in order.
const OF_PORTS: usize = 2;

fn pod<'a>(daemon: &'a Daemon, release: Release, name: &str) -> Pod<'a> {
    let mut config = daemon.pod(name);
    if release == Release::Built {
        config.port_mappings = vec![mapping(&(18080, 80, 0, ""))];
    }
    daemon.run(config)
}

/// How often the daemon said that the network of a pod is not as it was.
fn complaints(daemon: &Daemon, pod: &Pod<'_>) -> usize {
    let log = daemon.log();
    let lines = log.lines();
    let of = lines.filter(|line| line.contains("has changed since it was set up"));
    of.filter(|line| line.contains(&pod.id)).count()
}

/// What one has made the other one finds in order, and both see each change.
#[track_caller]
fn assert_checks(release: Release, version: &str) {
    let (daemon, plugins) = start_with(release, "cni", Options::default());
    plugins.spy("spy-a");
    plugins.act("spy-a", "ADD", HANDS_ON);
    plugins.configure("10-net.conflist", &LIST.replace("VERSION", version));
    let count = match release {
        Release::Debian => CHANGES.len() - OF_PORTS,
        Release::Built => CHANGES.len(),
    };
    for (number, (in_pod, change)) in CHANGES[..count].iter().enumerate() {
        for (add, check) in [(By::Programs, By::Daemon), (By::Daemon, By::Programs)] {
            serve(&daemon, add);
            let pod = pod(&daemon, release, &format!("pod-{number}"));
            plugins.clear();
            serve(&daemon, check);
            until("a look at the pod", CHECK_DEADLINE, || {
                let all = plugins.order();
                all.contains(&"spy-a.CHECK".to_owned()).then_some(())
            });
            let count = if check == By::Daemon { 3 } else { 0 };
            assert_eq!(served(&daemon, &pod.id, "CHECK"), count);
            let change = change.replace("LEASES", &plugins.leases().display().to_string());
            let netns = pod.info()["netnsPath"].as_str().unwrap().to_owned();
            match in_pod {
                true => run("nsenter", [&format!("--net={netns}"), "sh", "-ec", &change]),
                false => inside(&daemon, &change),
            }
            .ok();
            assert_eq!(complaints(&daemon, &pod), 0, "{check:?}: {change}");
            serve(&daemon, check);
            until(
                &format!("{check:?} to see {change}"),
                CHECK_DEADLINE,
                || (complaints(&daemon, &pod) > 0).then_some(()),
            );
            pod.remove();
            let _ = inside(&daemon, "ip link del cb0; nft flush ruleset");
            let _ = fs::remove_dir_all(plugins.leases().join("net"));
        }
    }
}

#[test]
fn checks_of_debian() {
    assert_checks(Release::Debian, "1.0.0");
}

#[test]
fn checks_of_today() {
    assert_checks(Release::Built, "1.1.0");
}

/// Calls that a daemon makes of plugins without a pod.
fn calls_without_a_pod(daemon: &Daemon, plugins: &Plugins, native: &str) -> Vec<String> {
    let text = format!("[cni]\nnative = {native}\n");
    fs::write(daemon.place.dir.join("config.d/native.toml"), text).unwrap();
    daemon.terminate();
    plugins.clear();
    daemon.restart();
    let ready = network_ready(daemon);
    assert!(ready.status, "{ready:?}");
    let is_told = |calls: &[String], verb: &str| calls.contains(&format!("spy-a.{verb}"));
    until("the calls of the start", CHECK_DEADLINE, || {
        let mut calls = plugins.order();
        calls.sort();
        calls.dedup();
        (is_told(&calls, "GC") && is_told(&calls, "STATUS")).then_some(calls)
    })
}

/// A kubelet asks for the status every few seconds.
#[test]
fn nothing_is_started_for_the_status() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    fs::create_dir_all(daemon.place.dir.join("config.d")).unwrap();
    plugins.spy("loopback");
    plugins.spy("spy-a");
    let list =
        r#"{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"loopback"},{"type":"spy-a"}]}"#;
    plugins.configure("10-net.conflist", list);
    let programs = calls_without_a_pod(&daemon, &plugins, "[]");
    assert_eq!(
        programs,
        ["loopback.GC", "loopback.STATUS", "spy-a.GC", "spy-a.STATUS"]
    );
    let served = calls_without_a_pod(&daemon, &plugins, r#"["loopback"]"#);
    assert_eq!(served, ["spy-a.GC", "spy-a.STATUS"]);
}

/// A look that took its time made the stop of the pod fail, which was then owed for a while.
#[test]
fn a_pod_leaves_while_it_is_looked_at() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    let list = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","bridge":"cb0",
      "ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/24"}}]}"#;
    plugins.configure("10-net.conflist", list);
    let pod = daemon.run_named("looked-at");
    let lock = fs::File::open(plugins.leases().join("net/lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    serve(&daemon, By::Daemon);
    until("a look at the pod", CHECK_DEADLINE, || {
        (served(&daemon, &pod.id, "CHECK") == 1).then_some(())
    });
    let unlocks = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        drop(lock);
    });
    pod.stop();
    unlocks.join().unwrap();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{debts}");
    assert!(plugins.leased().is_empty());
    pod.remove();
}
