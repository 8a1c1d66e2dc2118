//! The reference plugins, served by the daemon, against their programs: the same configuration gives the same result,
//! the same files, interfaces, routes, settings and rules, and what one has made the other one undoes.

mod bridges;
mod checks;
mod loopback;
mod ports;
mod ptps;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use cri_api::runtime::v1::PortMapping;
use e2e::call::until;
use e2e::cni::{Plugins, Release, inside, network_ready, start_with};
use e2e::daemon::Options;
use e2e::program::run;
use e2e::{Daemon, Pod};
use serde_json::{Value, json};

/// How long the kernel may take to delete interfaces in the background.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(5);

/// Length of the names of chains that are made of hashes.
const CHAIN_LENGTH: usize = 28;

/// Who carries out the calls of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Daemon,
    Programs,
}

/// Fields of interfaces that differ from one to the next, or with the time.
const PASSING: [&str; 14] = [
    "ifindex",
    "link_index",
    "address",
    "mac",
    "bridge_id",
    "root_id",
    "gc_timer",
    "hello_timer",
    "forward_delay_timer",
    "topology_change_timer",
    "hold_timer",
    "message_age_timer",
    "tentative",
    "link_netnsid",
];

/// Has the plugins served by the daemon or by their programs from now on.
fn serve(daemon: &Daemon, by: By) {
    let dir = daemon.place.dir.join("config.d");
    fs::create_dir_all(&dir).unwrap();
    let log = "[log]\nlevel = \"info,holdfast_network=debug\"\n";
    let text = match by {
        By::Daemon => log.to_owned(),
        By::Programs => format!("{log}[cni]\nnative = []\n"),
    };
    fs::write(dir.join("native.toml"), text).unwrap();
    daemon.terminate();
    daemon.restart();
}

/// How many calls of a plugin for a pod the daemon has served without the program.
fn served(daemon: &Daemon, pod: &str, verb: &str) -> usize {
    let log = daemon.log();
    let lines = log.lines();
    let of = lines.filter(|line| line.contains("is served without its program"));
    of.filter(|line| line.contains(pod) && line.contains(verb))
        .count()
}

/// A value without what passes, and with the names of this pod replaced.
fn settled(value: &mut Value, names: &BTreeMap<String, &str>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !PASSING.contains(&key.as_str()));
            fields.values_mut().for_each(|value| settled(value, names));
        }
        Value::Array(entries) => {
            // The kernel makes link-local addresses of MAC addresses.
            entries.retain(|entry| {
                let to = entry["dst"].as_str().unwrap_or_default();
                let is_link_local = entry["scope"] == "link" && entry["family"] == "inet6";
                !is_link_local && !to.starts_with("fe80:")
            });
            entries.iter_mut().for_each(|value| settled(value, names));
        }
        Value::String(text) => *text = renamed(text, names),
        _ => {}
    }
}

fn renamed(text: &str, names: &BTreeMap<String, &str>) -> String {
    names.iter().fold(text.to_owned(), |text, (name, sign)| {
        text.replace(name, sign)
    })
}

/// All that can be seen of a pod's network.
fn seen(daemon: &Daemon, plugins: &Plugins, pod: &Pod<'_>) -> Value {
    let record = daemon.place.root().join(format!("cni/{}.json", pod.id));
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let result = find(&record, "result").cloned().unwrap_or_default();
    let netns = pod.info()["netnsPath"].as_str().unwrap().to_owned();
    let mut names = BTreeMap::from([(pod.id.clone(), "POD"), (netns.clone(), "NETNS")]);
    for interface in result["interfaces"].as_array().into_iter().flatten() {
        let name = interface["name"].as_str().unwrap_or_default();
        if name.starts_with("veth") {
            names.insert(name.to_owned(), "VETH");
        }
    }
    let of = |script: &str, daemon_side: bool| {
        let ran = match daemon_side {
            true => inside(daemon, script),
            false => run("nsenter", [&format!("--net={netns}"), "sh", "-c", script]),
        };
        ran.ok()
    };
    let parsed = |script: &str, side: bool| -> Value {
        serde_json::from_str(&of(script, side)).unwrap_or_default()
    };
    // The kernel notices in the background that both ends of a pair are up.
    until("links that are up", BACKGROUND_DEADLINE, || {
        let links = [parsed("ip -j addr", true), parsed("ip -j addr", false)];
        let all = links.iter().filter_map(Value::as_array).flatten();
        let mut all = all.filter(|link| link["ifname"] != "lo");
        all.all(|link| link["operstate"] == "UP").then_some(())
    });
    let settings = |pattern: &str, side: bool| {
        let text = of(
            &format!("sysctl -a 2>/dev/null | grep -E '{pattern}' || true"),
            side,
        );
        let text = renamed(&text, &names);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        json!(lines)
    };
    let rules = "iptables-save; ip6tables-save; nft list ruleset";
    let rules = of(
        &format!("({rules}) 2>/dev/null | grep -v '^#' || true"),
        true,
    );
    let both = r"net\.ipv[46]\.(ip_forward|conf\.[a-z0-9]+\.(accept_ra|accept_dad|arp_notify|keep_addr_on_down|forwarding|disable_ipv6|enhanced_dad|route_localnet)) ";
    let expressions = "nft --debug=netlink list ruleset 2>/dev/null | grep '^  \\[' || true";
    let mut all = json!({
        "expressions": of(expressions, true),
        "result": result,
        "leases": files(plugins),
        "links": parsed("ip -d -j addr", true),
        "links inside": parsed("ip -d -j addr", false),
        "routes": [parsed("ip -j -4 route show table all", true), parsed("ip -j -6 route", true)],
        "routes inside": [parsed("ip -j route", false), parsed("ip -j -6 route", false)],
        "settings": settings(both, true),
        "settings inside": settings(both, false),
        "rules": rules,
    });
    settled(&mut all, &names);
    for part in ["rules", "expressions"] {
        let rules = all[part].as_str().unwrap_or_default().lines();
        all[part] = json!(by_chain(rules.map(rule).collect()));
    }
    all
}

/// A line of rules without counts, and with the names of chains that are made of hashes replaced.
fn rule(line: &str) -> String {
    let line = match line.starts_with(':') {
        true => line.split(" [").next().unwrap_or_default(),
        false => line,
    };
    let mut words = Vec::new();
    let mut counts = false;
    for word in line.split(' ') {
        let is_hash = word.starts_with("CNI-") || word.starts_with(":CNI-");
        words.push(match counts {
            true => "CHANGING",
            false if is_hash && word.len() >= CHAIN_LENGTH => kind_of_chain(word),
            false => word,
        });
        counts = ["packets", "pkts", "bytes"].contains(&word);
    }
    words.join(" ")
}

fn kind_of_chain(name: &str) -> &'static str {
    match (name.starts_with(':'), name.contains("CNI-DN-")) {
        (true, true) => ":PORTS",
        (true, false) => ":MASQUERADING",
        (false, true) => "PORTS",
        (false, false) => "MASQUERADING",
    }
}

/// `iptables-save` sorts chains by their names, which are hashes: here the kinds of chains are sorted.
fn by_chain(lines: Vec<String>) -> Vec<String> {
    let of_chain = |line: &String| line.starts_with(':') || line.starts_with("-A ");
    let mut sorted = Vec::with_capacity(lines.len());
    for table in lines.chunk_by(|line, next| of_chain(line) == of_chain(next)) {
        let mut table = table.to_vec();
        if of_chain(&table[0]) {
            table.sort_by_key(|line| match line.strip_prefix("-A ") {
                Some(rule) => (1, rule.split(' ').next().map(str::to_owned)),
                None => (0, Some(line.clone())),
            });
        }
        sorted.extend(table);
    }
    sorted
}

/// The value of a key, wherever it stands.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let fields = value.as_object()?;
    let below = || fields.values().find_map(|value| find(value, key));
    fields.get(key).or_else(below)
}

/// The files of host-local: name, mode and content.
fn files(plugins: &Plugins) -> Value {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    for network in fs::read_dir(plugins.leases()).unwrap().flatten() {
        for file in fs::read_dir(network.path()).unwrap().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let mode = file.metadata().unwrap().permissions().mode();
            let text = fs::read_to_string(file.path()).unwrap();
            found.push(format!("{name} {mode:o} {text:?}"));
        }
    }
    found.sort();
    json!(found)
}

/// What is there besides pods.
fn rest(daemon: &Daemon) -> String {
    let script = "ip -br link | sed 's/ .*//' | sort; ip -6 route; ip route; iptables-save; ip6tables-save; nft list ruleset";
    let all = inside(
        daemon,
        &format!("({script}) 2>/dev/null | grep -v '^#' || true"),
    )
    .ok();
    let kept = |line: &&str| !line.contains("cb0") && !line.contains(" packets ");
    all.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

/// A configuration, and how many of its plugins the daemon serves in which call.
#[derive(Clone, Copy)]
struct Case {
    plugins: &'static str,
    served: usize,
    /// The ports of the host that the pod asks for.
    ports: &'static [Port],
    /// A script that is run in the daemon's network namespace before.
    before: &'static str,
}

/// A port of the host, the port of the pod, the protocol's number in the CRI and the address of the host.
type Port = (u16, u16, i32, &'static str);

impl Case {
    const fn of(plugins: &'static str, served: usize) -> Case {
        Case {
            plugins,
            served,
            ports: &[],
            before: "",
        }
    }
}

fn mapping(of: &Port) -> PortMapping {
    let (host, pod, protocol, address) = *of;
    PortMapping {
        protocol,
        container_port: i32::from(pod),
        host_port: i32::from(host),
        host_ip: address.to_owned(),
    }
}

/// A pod joins and leaves; what is seen of it while it is there.
#[track_caller]
fn join_and_leave(
    (daemon, plugins): (&Daemon, &Plugins),
    (add, del): (By, By),
    (case, text): (&Case, &str),
) -> Value {
    let what = || format!("ADD by {add:?}, DEL by {del:?}: {text}");
    serve(daemon, add);
    plugins.configure("10-net.conflist", text);
    inside(daemon, case.before).ok();
    let before = rest(daemon);
    let ready = network_ready(daemon);
    assert!(ready.status, "{}: {ready:?}", what());
    let mut config = daemon.pod("native");
    config.port_mappings = case.ports.iter().map(mapping).collect();
    let pod = daemon.run(config);
    let wanted = |by: By| if by == By::Daemon { case.served } else { 0 };
    assert_eq!(served(daemon, &pod.id, "ADD"), wanted(add), "{}", what());
    let found = seen(daemon, plugins, &pod);
    if add != del {
        serve(daemon, del);
    }
    pod.stop();
    assert_eq!(served(daemon, &pod.id, "DEL"), wanted(del), "{}", what());
    pod.remove();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{}: {debts}", what());
    assert!(plugins.leased().is_empty(), "{}", what());
    // The bridge and the chains of all pods are made once and stay.
    let is_clean = || {
        let after = rest(daemon);
        (after == before || first_of_its_kind(&before, &after)).then_some(())
    };
    let end = std::time::Instant::now() + BACKGROUND_DEADLINE;
    while is_clean().is_none() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        is_clean().is_some(),
        "{}: {before}\nand then\n{}",
        what(),
        rest(daemon)
    );
    // The next one finds the machine as this one did.
    let _ = inside(daemon, "ip link del cb0; nft flush ruleset");
    for network in fs::read_dir(plugins.leases()).unwrap().flatten() {
        fs::remove_dir_all(network.path()).unwrap();
    }
    found
}

/// Whether all that has come are tables and chains without rules for a pod.
fn first_of_its_kind(before: &str, after: &str) -> bool {
    let new = after
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line));
    let mut new = new.map(str::trim);
    new.all(|line| {
        !line.contains("veth")
            && !line.contains("CNI-DN-")
            && !line.contains("10.98.")
            && !line.contains("name: ")
    })
}

/// Each configuration is served by the daemon as by the programs, in every version of the CNI, and each undoes what
/// the other one has made.
#[track_caller]
fn assert_equal(release: Release, versions: &[&str], cases: &[Case]) {
    let (daemon, plugins) = start_with(release, "cni", Options::default());
    for case in cases {
        for version in versions {
            let text = format!(
                r#"{{"cniVersion":"{version}","name":"net","plugins":[{}]}}"#,
                case.plugins
            );
            let of = |add, del| join_and_leave((&daemon, &plugins), (add, del), (case, &text));
            let reference = of(By::Programs, By::Programs);
            for (add, del) in [
                (By::Daemon, By::Daemon),
                (By::Daemon, By::Programs),
                (By::Programs, By::Daemon),
            ] {
                assert_same(
                    &reference,
                    &of(add, del),
                    &format!("{add:?} {del:?} {text}"),
                );
            }
        }
    }
}

/// Compares part by part, so that a difference can be read.
#[track_caller]
fn assert_same(reference: &Value, found: &Value, what: &str) {
    for (part, wanted) in reference.as_object().unwrap() {
        assert_eq!(&found[part], wanted, "{part} of {what}");
    }
}
