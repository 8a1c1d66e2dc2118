//! Real network plugins, as their documentation chains them, of two releases and in every version of the CNI that
//! they speak: pods get what the plugins promise, and DEL leaves nothing of it.

use std::collections::BTreeSet;
use std::time::Duration;

use cri_api::runtime::v1::{PodSandboxConfig, PortMapping};
use e2e::call::until;
use e2e::cni::{Plugins, Release, inside, network_ready, start_with};
use e2e::daemon::Options;
use e2e::program::run;
use e2e::{Daemon, Pod, skip};
use serde_json::json;

/// How long things in the background may take.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(5);

/// A network as it is configured, and what it promises.
struct Chain {
    /// The plugins' programs, with those that they call.
    programs: &'static [&'static str],
    /// The list of plugins.
    plugins: &'static str,
    /// What the pod's IPv4 address begins with.
    prefix: &'static str,
    /// A script of sh that succeeds in the pod's network namespace.
    promise: &'static str,
    /// A kind of link that the kernel has to have.
    link: Option<&'static str>,
}

const HOST_LOCAL: &str = r#"{"type":"host-local","dataDir":"LEASES","subnet":"10.95.0.0/24"}"#;

/// Every pod of these tests asks for a port and for limits: plugins that take them get them.
fn demanding(daemon: &Daemon, name: &str) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    config.port_mappings.push(PortMapping {
        container_port: 80,
        host_port: 8080,
        ..PortMapping::default()
    });
    for direction in ["ingress", "egress"] {
        let key = format!("kubernetes.io/{direction}-bandwidth");
        config.annotations.insert(key, "10M".to_owned());
    }
    config
}

/// Runs a script in a pod's network namespace.
#[track_caller]
fn in_pod(pod: &Pod<'_>, script: &str) -> String {
    let netns = pod.info()["netnsPath"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let script = format!("set -e; IP={}; {script}", pod.ip());
    let ran = run("nsenter", [&format!("--net={netns}"), "sh", "-c", &script]);
    ran.ok()
}

/// What plugins have made on the daemon's side: links, and all rules.
fn host_side(daemon: &Daemon) -> (BTreeSet<String>, String) {
    let links = inside(daemon, "ip -br link | cut -d' ' -f1").ok();
    let rules = inside(
        daemon,
        "iptables-save 2>/dev/null; ip6tables-save 2>/dev/null; nft list ruleset; ip rule; ip route show table all",
    );
    (links.lines().map(str::to_owned).collect(), rules.ok())
}

/// Whether rules or routes are about an address.
fn mentions(rules: &str, ip: &str) -> bool {
    rules
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .any(|word| word == ip)
}

/// A pod joins the network, has what it promises, leaves it, and nothing is left.
#[track_caller]
fn join_and_leave(daemon: &Daemon, plugins: &Plugins, chain: &Chain, version: &str) {
    let list = chain.plugins.replace("HOST_LOCAL", HOST_LOCAL);
    let list = format!(r#"{{"cniVersion":"{version}","name":"mynet","plugins":[{list}]}}"#);
    plugins.configure("10-mynet.conflist", &list);
    let ready = network_ready(daemon);
    assert!(ready.status, "{list}: {ready:?}");
    let (before, _) = host_side(daemon);
    let pod = daemon.run(demanding(daemon, "real"));
    let ip = pod.ip();
    assert!(ip.starts_with(chain.prefix), "{list}: {ip}");
    in_pod(
        &pod,
        &format!("ip addr show eth0 | grep -q \" $IP/\"; {}", chain.promise),
    );
    pod.stop();
    // Interfaces are deleted in the background where the daemon serves the plugin. A bridge is made once and stays.
    let rules = until(
        &format!("the links of before {list}: {before:?}"),
        BACKGROUND_DEADLINE,
        || {
            let (after, rules) = host_side(daemon);
            let mut new = after.difference(&before);
            let is_clean = new.all(|link| *link == "mynet0") && before.is_subset(&after);
            is_clean.then_some(rules)
        },
    );
    assert!(
        !mentions(&rules, &ip) && !rules.contains(&pod.id[..12]),
        "{list}: {rules}"
    );
    assert!(
        plugins.leased().is_empty(),
        "{list}: {:?}",
        plugins.leased()
    );
    pod.remove();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{list}: {debts}");
}

/// Whether the kernel of this machine can make a link of a kind on another one.
fn makes(daemon: &Daemon, kind: &str) -> bool {
    let on = match kind {
        "macvlan" | "ipvlan" => "link up0",
        _ => "",
    };
    let detail = match kind {
        "vrf" => "table 99",
        _ => "",
    };
    let probe = format!("ip link add probe0 {on} type {kind} {detail} && ip link del probe0");
    inside(daemon, &probe).code == 0
}

/// Runs a chain in all versions that all its plugins speak, in both releases. Says why when it cannot.
#[track_caller]
fn in_every_version(chain: &Chain) -> Option<String> {
    let mut runs = 0;
    for release in Release::ALL {
        let (daemon, plugins) = start_with(release, "cni", Options::default());
        let up =
            "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up";
        inside(&daemon, up).ok();
        if let Some(kind) = chain.link.filter(|kind| !makes(&daemon, kind)) {
            return Some(format!("the kernel has no links of kind {kind}"));
        }
        let spoken: Vec<Vec<String>> = chain
            .programs
            .iter()
            .map(|program| plugins.spoken(program))
            .collect();
        let of_all = |version: &&&str| spoken.iter().all(|of| of.iter().any(|v| v == *version));
        for version in release.versions().iter().filter(of_all) {
            join_and_leave(&daemon, &plugins, chain, version);
            runs += 1;
        }
    }
    // Of the oldest plugins too there are some versions.
    assert!(runs >= 2, "{:?} ran {runs} times", chain.programs);
    None
}

#[test]
fn bridge_with_all_that_kubernetes_chains() {
    let chain = Chain {
        programs: &["bridge", "host-local", "portmap", "bandwidth", "firewall", "tuning"],
        plugins: r#"{"type":"bridge","bridge":"mynet0","isDefaultGateway":true,"forceAddress":false,
            "ipMasq":true,"hairpinMode":true,"ipam":HOST_LOCAL},
          {"type":"portmap","capabilities":{"portMappings":true},"snat":true},
          {"type":"bandwidth","capabilities":{"bandwidth":true}},
          {"type":"firewall"},
          {"type":"tuning","sysctl":{"net.core.somaxconn":"500"},"mtu":14e2}"#,
        prefix: "10.95.0.",
        promise: "ip route | grep -q '^default via 10.95.0.1 '; busybox ping -c 1 -W 3 10.95.0.1 >/dev/null;
          grep -qx 500 /proc/sys/net/core/somaxconn; ip link show eth0 | grep -q 'mtu 1400'",
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn ptp_with_masquerade() {
    let chain = Chain {
        programs: &["ptp", "host-local"],
        plugins: r#"{"type":"ptp","ipMasq":true,"mtu":1450.0,"ipam":HOST_LOCAL,
            "dns":{"nameservers":["10.95.0.1","192.0.2.53"]}}"#,
        prefix: "10.95.0.",
        promise: "ip route get 10.95.0.77 | grep -q 'via 10.95.0.1 '; busybox ping -c 1 -W 3 10.95.0.1 >/dev/null;
          ip link show eth0 | grep -q 'mtu 1450'",
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn ptp_with_source_based_routing_and_tuning() {
    let chain = Chain {
        programs: &["ptp", "host-local", "sbr", "tuning"],
        plugins: r#"{"type":"ptp","ipam":HOST_LOCAL},
          {"type":"sbr"},
          {"type":"tuning","sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"},"promisc":true}"#,
        prefix: "10.95.0.",
        promise: r#"ip rule | grep -q "from $IP lookup"; grep -qx 1 /proc/sys/net/ipv4/conf/eth0/arp_filter;
          ip link show eth0 | grep -q PROMISC"#,
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn ptp_with_fixed_limits() {
    let chain = Chain {
        programs: &["ptp", "host-local", "bandwidth", "portmap"],
        plugins: r#"{"type":"ptp","ipam":HOST_LOCAL},
          {"type":"bandwidth","ingressRate":1000000,"ingressBurst":8000000,"egressRate":1000000,
            "egressBurst":8000000},
          {"type":"portmap","capabilities":{"portMappings":true},"conditionsV4":["!","-d","192.0.2.0/24"]}"#,
        prefix: "10.95.0.",
        promise: "busybox ping -c 1 -W 3 10.95.0.1 >/dev/null",
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn tap_with_static_addresses() {
    let chain = Chain {
        programs: &["tap", "static"],
        plugins: r#"{"type":"tap","multiQueue":true,"owner":0,"group":0,
            "ipam":{"type":"static","addresses":[{"address":"192.168.100.10/24"}]}}"#,
        prefix: "192.168.100.10",
        promise: "ip -d link show eth0 | grep -q 'tun type tap .*multi_queue'",
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn a_device_of_the_host_goes_and_comes_back() {
    let chain = Chain {
        programs: &["host-device", "static"],
        plugins: r#"{"type":"host-device","device":"up1",
            "ipam":{"type":"static","addresses":[{"address":"192.168.101.10/24"}]}}"#,
        prefix: "192.168.101.10",
        promise: "ip link show eth0 | grep -q UP",
        link: None,
    };
    assert_eq!(in_every_version(&chain), None);
}

#[test]
fn macvlan_on_a_link_of_the_host() {
    let chain = Chain {
        programs: &["macvlan", "host-local"],
        plugins: r#"{"type":"macvlan","master":"up0","mode":"bridge","ipam":HOST_LOCAL}"#,
        prefix: "10.95.0.",
        promise: "ip -d link show eth0 | grep -q 'macvlan mode bridge'",
        link: Some("macvlan"),
    };
    if let Some(reason) = in_every_version(&chain) {
        skip!("{reason}");
    }
}

#[test]
fn ipvlan_on_a_link_of_the_host() {
    let chain = Chain {
        programs: &["ipvlan", "host-local"],
        plugins: r#"{"type":"ipvlan","master":"up0","mode":"l3","ipam":HOST_LOCAL}"#,
        prefix: "10.95.0.",
        promise: "ip -d link show eth0 | grep -q 'ipvlan *mode l3'",
        link: Some("ipvlan"),
    };
    if let Some(reason) = in_every_version(&chain) {
        skip!("{reason}");
    }
}

#[test]
fn vrf_around_a_macvlan() {
    let chain = Chain {
        programs: &["macvlan", "host-local", "vrf"],
        plugins: r#"{"type":"macvlan","master":"up0","ipam":HOST_LOCAL},{"type":"vrf","vrfname":"blue"}"#,
        prefix: "10.95.0.",
        promise: "ip link show eth0 | grep -q 'master blue'",
        link: Some("vrf"),
    };
    if let Some(reason) = in_every_version(&chain) {
        skip!("{reason}");
    }
}

#[test]
fn dummy_that_leads_nowhere() {
    let chain = Chain {
        programs: &["dummy", "host-local"],
        plugins: r#"{"type":"dummy","ipam":HOST_LOCAL}"#,
        prefix: "10.95.0.",
        promise: "ip -d link show eth0 | grep -q dummy",
        link: Some("dummy"),
    };
    if let Some(reason) = in_every_version(&chain) {
        skip!("{reason}");
    }
}

/// What flannel's daemon writes for its plugin.
const SUBNET: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
/// flannel's part of a list. Without `ipam` and the two paths it is what is shipped.
const FLANNEL: &str = r#"{"type":"flannel","subnetFile":"PLUGINS/subnet.env","dataDir":"PLUGINS/flannel",
  "ipam":{"dataDir":"LEASES"},"delegate":{"bridge":"mynet0","hairpinMode":true,"isDefaultGateway":true}}"#;

/// The list that kube-flannel ships, and older versions of it.
#[test]
fn flannel_as_it_is_shipped() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    plugins.provide("subnet.env", SUBNET);
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        assert!(plugins.spoken("flannel").contains(&version.to_owned()));
        let list = json!({ "name": "cbr0", "cniVersion": version, "plugins": "PARTS" }).to_string();
        let parts =
            format!(r#"[{FLANNEL},{{"type":"portmap","capabilities":{{"portMappings":true}}}}]"#);
        plugins.configure("10-flannel.conflist", &list.replace("\"PARTS\"", &parts));
        assert!(network_ready(&daemon).status);
        let pod = daemon.run(demanding(&daemon, "flannel"));
        assert!(pod.ip().starts_with("10.244.1."), "{version}: {}", pod.ip());
        in_pod(
            &pod,
            "ip route | grep -q '^default via 10.244.1.1 '; ip route | grep -q 10.244.0.0/16",
        );
        let ip = pod.ip();
        pod.remove();
        assert!(
            plugins.leased().is_empty(),
            "{version}: {:?}",
            plugins.leased()
        );
        assert!(!mentions(&host_side(&daemon).1, &ip), "{version}");
    }
}

/// The configuration that multus ships names no version, and its delegate's is 0.3.1: the plugin is called in 0.1.0
/// and answers in 0.3.1. Without a cluster it takes its delegate alone.
#[test]
fn multus_as_it_is_shipped() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    plugins.provide("subnet.env", SUBNET);
    let shipped = format!(
        r#"{{"name":"multus-cni-network","type":"multus","capabilities":{{"portMappings":true}},
          "cniDir":"PLUGINS/multus","binDir":"PLUGINS/bin",
          "delegates":[{{"cniVersion":"0.3.1","name":"default-cni-network","plugins":[{FLANNEL},
            {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}]}}"#
    );
    for version in [
        None,
        Some("0.3.1"),
        Some("0.4.0"),
        Some("1.0.0"),
        Some("1.1.0"),
    ] {
        let text = match version {
            None => shipped.clone(),
            Some(version) => shipped.replacen('{', &format!(r#"{{"cniVersion":"{version}","#), 1),
        };
        plugins.configure("70-multus.conf", &text);
        let ready = network_ready(&daemon);
        assert!(ready.status, "{version:?}: {ready:?}");
        let pod = daemon.run(demanding(&daemon, "multus"));
        let ip = pod.ip();
        assert!(ip.starts_with("10.244.1."), "{version:?}: {ip}");
        in_pod(
            &pod,
            "ip addr show eth0 | grep -q \" $IP/\"; busybox ping -c 1 -W 3 10.244.1.1 >/dev/null",
        );
        pod.remove();
        let debts = daemon.holdfast(&["debts"]).ok();
        assert!(!debts.contains(&pod.id[..12]), "{version:?}: {debts}");
        assert!(
            plugins.leased().is_empty(),
            "{version:?}: {:?}",
            plugins.leased()
        );
        assert!(!mentions(&host_side(&daemon).1, &ip), "{version:?}");
    }
}
