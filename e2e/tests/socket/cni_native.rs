//! The reference plugins, served by the daemon, against their programs: the same configuration gives the same result,
//! the same files, interfaces, routes, settings and rules, and what one has made the other one undoes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use e2e::call::until;
use e2e::cni::{Plugins, Release, inside, network_ready, start_with};
use e2e::daemon::Options;
use e2e::program::run;
use e2e::{Daemon, Pod};
use serde_json::{Value, json};

/// How long the kernel may take to delete interfaces in the background.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(5);

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
    let mut all = json!({
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
    let rules = all["rules"].as_str().unwrap_or_default().lines();
    all["rules"] = json!(rules.map(rule).collect::<Vec<_>>());
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
        let is_hash = word.starts_with("CNI-") || word.starts_with(":CNI-") || counts;
        let long = word.len() > 20 || counts;
        words.push(if is_hash && long { "CHANGING" } else { word });
        counts = word == "packets" || word == "bytes";
    }
    words.join(" ")
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
struct Case {
    plugins: &'static str,
    served: usize,
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
    let before = rest(daemon);
    let ready = network_ready(daemon);
    assert!(ready.status, "{}: {ready:?}", what());
    let pod = daemon.run_named("native");
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

/// The plugin `loopback` before and after another one.
const LOOPBACK: &[Case] = &[Case {
    plugins: r#"{"type":"loopback"},{"type":"ptp","ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/24"}},
      {"type":"loopback"}"#,
    served: 2,
}];

#[test]
fn loopback_of_debian() {
    assert_equal(Release::Debian, &["0.3.1", "1.0.0"], LOOPBACK);
}

#[test]
fn loopback_of_today() {
    assert_equal(Release::Built, &["0.4.0", "1.1.0"], LOOPBACK);
}

/// The result of the loopback is what the next plugin reads.
#[test]
fn the_result_of_loopback_is_handed_on() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    plugins.spy("spy-a");
    let mut told = Vec::new();
    for by in [By::Programs, By::Daemon] {
        serve(&daemon, by);
        let list = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"loopback"},{"type":"spy-a"}]}"#;
        plugins.configure("10-net.conflist", list);
        plugins.clear();
        let pod = daemon.run_named("lo");
        let call = plugins.calls().remove(0);
        assert_eq!(call.what, "spy-a.ADD");
        let text = call.stdin["prevResult"].to_string();
        told.push(text.replace(pod.info()["netnsPath"].as_str().unwrap(), "NETNS"));
        assert_eq!(
            served(&daemon, &pod.id, "ADD"),
            usize::from(by == By::Daemon)
        );
        pod.remove();
    }
    assert_eq!(told[0], told[1]);
    assert!(
        told[0].contains("127.0.0.1/8") && told[0].contains("::1/128"),
        "{told:?}"
    );
}

/// What is not known to the last key goes to the program, and so does everything when the program is not the real one.
#[test]
fn what_is_not_known_goes_to_the_program() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    plugins.spy("spy-a");
    let run = |list: &str| {
        plugins.configure("10-net.conflist", list);
        let pod = daemon.run_named("other");
        let count = served(&daemon, &pod.id, "ADD");
        pod.remove();
        count
    };
    let list = |loopback: &str| {
        format!(
            r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{loopback},{{"type":"spy-a"}}]}}"#
        )
    };
    assert_eq!(run(&list(r#"{"type":"loopback"}"#)), 1);
    assert_eq!(run(&list(r#"{"type":"loopback","note":"mine"}"#)), 0);
    assert_eq!(
        run(&list(r#"{"type":"loopback"}"#).replace("1.0.0", "0.2.0")),
        0
    );
    // A wrapper of the site's own has the name of a plugin.
    plugins.spy("loopback");
    assert_eq!(run(&list(r#"{"type":"loopback"}"#)), 0);
    assert!(plugins.order().contains(&"loopback.ADD".to_owned()));
    // Whoever names it wants it served all the same.
    let file = daemon.place.dir.join("config.d/native.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}[cni]\nnative = [\"loopback\"]\n")).unwrap();
    daemon.terminate();
    daemon.restart();
    assert_eq!(run(&list(r#"{"type":"loopback"}"#)), 1);
}

/// The configurations of `bridge` with `host-local` that are served.
const BRIDGES: &[Case] = &[
    Case {
        plugins: r#"{"type":"bridge","bridge":"cb0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES",
          "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],
          "ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/64"}]]}}"#,
        served: 1,
    },
    Case {
        plugins: r#"{"type":"bridge","bridge":"cb0","isDefaultGateway":true,"forceAddress":true,"mtu":1400,
          "hairpinMode":true,"ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/24",
          "rangeStart":"10.98.0.20","rangeEnd":"10.98.0.30","gateway":"10.98.0.25"}},{"type":"loopback"},
          {"type":"portmap","capabilities":{"portMappings":true},"snat":true}"#,
        served: 3,
    },
    Case {
        plugins: r#"{"type":"bridge","bridge":"cb0","promiscMode":true,"dns":{"nameservers":["192.0.2.1"],"search":["a.b"]},
          "ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"192.0.2.0/24","gw":"10.98.0.1"}],
          "ranges":[[{"subnet":"10.98.0.0/30"},{"subnet":"10.98.1.0/30"}]]}}"#,
        served: 1,
    },
    Case {
        plugins: r#"{"type":"bridge","bridge":"cb0","isDefaultGateway":true,"portIsolation":true,"ipam":{"type":"host-local",
          "dataDir":"LEASES","ranges":[[{"subnet":"fd98::/64"}],[{"subnet":"10.98.0.0/16"}]]}}"#,
        served: 1,
    },
    // Prefixes that end within a byte. (With two sets of one family and ipMasq DEL of the programs fails: the second jump
    // keeps the chain.)
    Case {
        plugins: r#"{"type":"bridge","bridge":"cb0","ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES",
          "ranges":[[{"subnet":"10.98.0.0/20"}],[{"subnet":"fd98::/60"}]]}}"#,
        served: 1,
    },
];

#[test]
fn bridges_of_debian() {
    assert_equal(Release::Debian, &["0.3.1", "1.0.0"], BRIDGES);
}

#[test]
fn bridges_of_today() {
    assert_equal(Release::Built, &["0.4.0", "1.1.0"], BRIDGES);
}

/// What is not served of `bridge` and `host-local`.
#[test]
fn options_of_bridges_that_go_to_the_program() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    for (bridge, ipam) in [
        (r#""macspoofchk":true,"#, ""),
        (r#""enabledad":true,"#, ""),
        (
            r#""isGateway":true,"args":{"cni":{"mac":"02:00:00:00:00:07"}},"#,
            "",
        ),
        ("", r#""routes":[{"dst":"192.0.2.0/24","mtu":1300}],"#),
        ("", r#""note":"mine","#),
    ] {
        let list = format!(
            r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{{"type":"bridge","bridge":"cb0",{bridge}
              "ipam":{{"type":"host-local","dataDir":"LEASES",{ipam}"subnet":"10.98.0.0/24"}}}}]}}"#
        );
        plugins.configure("10-net.conflist", &list);
        let pod = daemon.run_named("other");
        assert_eq!(served(&daemon, &pod.id, "ADD"), 0, "{list}");
        pod.remove();
        assert!(plugins.leased().is_empty(), "{list}");
        let _ = inside(&daemon, "ip link del cb0; nft flush ruleset");
    }
}

/// Pods come and go: addresses go round as the program gives them out, and those of a full range are refused.
#[test]
fn addresses_go_round_whoever_gives_them_out() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    let list = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","bridge":"cb0",
      "ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/29"}}]}"#;
    plugins.configure("10-net.conflist", list);
    let mut pods = Vec::new();
    for (number, by) in [
        By::Daemon,
        By::Programs,
        By::Daemon,
        By::Programs,
        By::Daemon,
    ]
    .into_iter()
    .enumerate()
    {
        serve(&daemon, by);
        let pod = daemon.run_named(&format!("round-{number}"));
        assert_eq!(pod.ip(), format!("10.98.0.{}", number + 2));
        pods.push(pod.id.clone());
    }
    serve(&daemon, By::Daemon);
    let refused = daemon.try_run(&daemon.pod("full")).unwrap_err();
    assert!(
        refused.message().contains("10.98.0.1-10.98.0.6"),
        "{refused}"
    );
    daemon.try_remove_pod(&pods[1]).unwrap();
    let again = daemon.run_named("again");
    assert_eq!(again.ip(), "10.98.0.3");
    again.remove();
    for pod in pods {
        let _ = daemon.try_remove_pod(&pod);
    }
    assert!(plugins.leased().is_empty(), "{:?}", plugins.leased());
}
