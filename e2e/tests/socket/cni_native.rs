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
        let waits = |text: &str| links.iter().any(|all| all.to_string().contains(text));
        (!waits("NO-CARRIER") && !waits("LOWERLAYERDOWN")).then_some(())
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
    all
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
    until(
        &format!("the end of {}", what()),
        BACKGROUND_DEADLINE,
        || {
            // The bridge and the chains of all pods are made once and stay.
            (rest(daemon) == before || first_of_its_kind(&before, &rest(daemon))).then_some(())
        },
    );
    // The next one finds the machine as this one did.
    let _ = inside(daemon, "ip link del cb0");
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
}
