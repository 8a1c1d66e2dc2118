//! Network plugins: Debian's real ones, chained, and scripted ones that hang, lie and fail.

use std::fs;
use std::time::Duration;

use cri_api::runtime::v1::{
    NetworkConfig, PodSandboxConfig, PortMapping, RuntimeConfig, StatusRequest,
    UpdateRuntimeConfigRequest,
};
use e2e::call::{call, until};
use e2e::cni::{Plugins, inside, network_ready, start, start_as};
use e2e::daemon::Options;
use e2e::request::{idle, shell};
use e2e::{Daemon, fails, must};
use serde_json::json;
use tonic::Code;

/// How long things in the background may take.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(15);

/// What Kubernetes clusters chain, with Debian's plugins.
const CHAIN: &str = r#"{"cniVersion":"1.0.0","name":"chain","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,
   "ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],
     "ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/64"}]]}},
  {"type":"portmap","capabilities":{"portMappings":true},"snat":true},
  {"type":"bandwidth","capabilities":{"bandwidth":true}},
  {"type":"firewall","backend":"iptables"},
  {"type":"tuning","sysctl":{"net.core.somaxconn":"500"}}]}"#;

/// A list of two scripted plugins, the first of which declares capabilities.
const SPIES: &str = r#"{"cniVersion":"1.0.0","name":"spies","plugins":[
  {"type":"spy-a","capabilities":{"portMappings":true,"bandwidth":true,"dns":true,"ipRanges":true,
    "io.kubernetes.cri.pod-annotations":true,"cgroupPath":true}},
  {"type":"spy-b","extra":{"kept":1}}]}"#;

/// A list of one scripted plugin.
const SPY: &str = r#"{"cniVersion":"1.0.0","name":"spy","plugins":[{"type":"spy-a"}]}"#;

/// A daemon with scripted plugins.
fn spied(conf: &str) -> (Daemon, Plugins) {
    let (daemon, plugins) = start(Options::default().set("cni.timeout", "2s"));
    plugins.spy("spy-a");
    plugins.spy("spy-b");
    plugins.configure("10-spies.conflist", conf);
    (daemon, plugins)
}

#[test]
fn a_chain_of_real_plugins_connects_a_pod_and_lets_go_of_it() {
    let (daemon, plugins) = start(Options::default());
    plugins.configure("10-chain.conflist", CHAIN);
    let ready = network_ready(&daemon);
    assert!(ready.status, "{ready:?}");
    let mut config = daemon.pod("chain");
    config.port_mappings.push(PortMapping {
        container_port: 80,
        host_port: 8080,
        ..PortMapping::default()
    });
    for direction in ["ingress", "egress"] {
        let key = format!("kubernetes.io/{direction}-bandwidth");
        config.annotations.insert(key, "10M".to_owned());
    }
    let pod = daemon.run(config);
    let (ip, ip6) = (pod.ip(), pod.ip6());
    assert!(
        ip.starts_with("10.98.0.") && ip6.starts_with("fd98::"),
        "{ip} {ip6}"
    );
    let mut leased = plugins.leased();
    leased.sort();
    assert_eq!(leased, [ip.clone(), ip6.clone()]);
    pod.start(shell(
        "server",
        "while :; do echo hello | nc -l -p 80; done",
    ));
    let run = pod.start(idle("c"));
    run.sh("ping -c 1 -W 3 10.98.0.1");
    run.sh("ping -6 -c 1 -W 3 fd98::1");
    assert_eq!(run.sh("cat /proc/sys/net/core/somaxconn"), "500\n");
    assert!(run.sh("ip addr show lo").contains("127.0.0.1/8"));
    // Through the port of the host, from the host.
    until(
        "an answer through the host port",
        BACKGROUND_DEADLINE,
        || {
            let asked = inside(&daemon, "busybox nc -w 1 10.98.0.1 8080 </dev/null");
            (asked.stdout == "hello\n").then_some(())
        },
    );
    let limits = inside(&daemon, "tc qdisc").ok();
    assert_eq!(limits.matches("rate 10Mbit").count(), 2, "{limits}");
    let rules = inside(&daemon, "nft list ruleset").ok();
    assert!(
        rules.contains("chain CNI-DN-") && rules.contains(&ip),
        "{rules}"
    );

    pod.stop();
    assert!(plugins.leased().is_empty(), "{:?}", plugins.leased());
    let rules = inside(&daemon, "nft list ruleset").ok();
    assert!(
        !rules.contains("CNI-DN-") && !rules.contains(&ip),
        "{rules}"
    );
    // A released pod is released again without a complaint.
    pod.stop();
    let debts = daemon.holdfast(&["debts"]).ok();
    assert!(!debts.contains(&pod.id[..12]), "{debts}");
}

#[test]
fn older_versions_and_single_plugins_work() {
    let (daemon, plugins) = start(Options::default());
    let ipam = r#"{"type":"host-local","dataDir":"LEASES","subnet":"10.97.0.0/24"}"#;
    for (name, version) in [
        ("a.conf", "0.3.1"),
        ("b.json", "0.4.0"),
        ("c.conf", "1.0.0"),
    ] {
        let text =
            format!(r#"{{"cniVersion":"{version}","name":"one","type":"ptp","ipam":{ipam}}}"#);
        plugins.configure(name, &text);
        let pod = daemon.run_named(name);
        assert!(pod.ip().starts_with("10.97.0."), "{version}: {}", pod.ip());
        pod.start(idle("c")).sh("ping -c 1 -W 3 10.97.0.1");
        pod.remove();
        assert!(plugins.leased().is_empty(), "{version}");
        plugins.forget(name);
    }
}

#[test]
fn a_configuration_is_noticed_without_a_restart() {
    let (daemon, plugins) = spied(SPY);
    plugins.forget("10-spies.conflist");
    let ready = network_ready(&daemon);
    assert!(!ready.status);
    assert_eq!(ready.reason, "NetworkPluginNotReady");
    assert!(
        ready.message.contains("no network configuration in"),
        "{ready:?}"
    );
    let words = ["no network configuration", "net.d"];
    fails(
        daemon.try_run(&daemon.pod("none")),
        Code::Unavailable,
        &words,
    );
    assert!(daemon.pods().is_empty());

    plugins.configure("20-spy.conflist", SPY);
    assert!(network_ready(&daemon).status);
    let pod = daemon.run_named("first");
    assert_eq!(
        (pod.ip(), pod.ip6()),
        ("10.99.0.7".into(), "fd00::7".into())
    );
    // The first by name counts from now on; the pod leaves the network that it joined.
    plugins.configure(
        "10-other.conf",
        r#"{"cniVersion":"0.4.0","name":"other","type":"spy-b"}"#,
    );
    daemon.run_named("second").remove();
    pod.remove();
    assert_eq!(
        plugins.order(),
        ["spy-a.ADD", "spy-b.ADD", "spy-b.DEL", "spy-a.DEL"]
    );

    // A first file that is broken does not make the second one the network.
    plugins.configure("00-broken.conflist", "{");
    let ready = network_ready(&daemon);
    assert!(
        !ready.status && ready.message.contains("00-broken.conflist"),
        "{ready:?}"
    );
    let refused = daemon.try_run(&daemon.pod("broken"));
    fails(refused, Code::Unavailable, &["00-broken.conflist"]);
    // A plugin that is not there is named, with the place where it was looked for.
    plugins.configure("00-broken.conflist", &SPY.replace("spy-a", "nonesuch"));
    let ready = network_ready(&daemon);
    assert!(
        ready.message.contains("`nonesuch` is in none of"),
        "{ready:?}"
    );
    // And so is one that does not speak the version.
    let future = CHAIN.replace("1.0.0", "1.1.0");
    plugins.configure("00-broken.conflist", &future);
    let ready = network_ready(&daemon);
    assert!(
        ready.message.contains("does not speak CNI 1.1.0"),
        "{ready:?}"
    );
}

/// What a kubelet says at its start.
fn name_ranges(daemon: &Daemon, pod_cidr: &str) {
    let request = UpdateRuntimeConfigRequest {
        runtime_config: Some(RuntimeConfig {
            network_config: Some(NetworkConfig {
                pod_cidr: pod_cidr.to_owned(),
            }),
        }),
    };
    must(
        "UpdateRuntimeConfig",
        call(daemon.clients().runtime.update_runtime_config(request)),
    );
}

/// A pod that asks for everything that plugins may be told.
fn demanding(daemon: &Daemon) -> PodSandboxConfig {
    let mut config = daemon.pod("told");
    config.port_mappings = [(8080, "127.0.0.1"), (0, "")]
        .map(|(host_port, ip)| PortMapping {
            container_port: 80,
            host_port,
            host_ip: ip.to_owned(),
            ..PortMapping::default()
        })
        .into();
    let limit = "kubernetes.io/ingress-bandwidth".to_owned();
    config.annotations.insert(limit, "1M".to_owned());
    config.dns_config = Some(cri_api::runtime::v1::DnsConfig {
        servers: vec!["10.0.0.10".to_owned()],
        ..Default::default()
    });
    config
}

#[test]
fn plugins_are_told_what_the_specification_says() {
    let (daemon, plugins) = spied(SPIES);
    name_ranges(&daemon, "10.1.2.0/24,fd01::/64");
    let pod = daemon.run(demanding(&daemon));
    let id = pod.id.clone();
    let netns = pod.info()["netnsPath"].as_str().unwrap().to_owned();
    pod.remove();

    let calls = plugins.calls();
    let order: Vec<&str> = calls.iter().map(|call| call.what.as_str()).collect();
    assert_eq!(order, ["spy-a.ADD", "spy-b.ADD", "spy-b.DEL", "spy-a.DEL"]);
    for call in &calls {
        for variable in [
            format!("CNI_CONTAINERID={id}"),
            format!("CNI_NETNS={netns}"),
            "CNI_IFNAME=eth0".to_owned(),
            format!(
                "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=e2e;K8S_POD_NAME=told;K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID=uid-told"
            ),
        ] {
            assert!(call.has(&variable), "{variable} is not in {call:?}");
        }
        assert_eq!(call.stdin["name"], "spies");
        assert_eq!(call.stdin["cniVersion"], "1.0.0");
    }
    let (add_a, add_b, del_a) = (&calls[0].stdin, &calls[1].stdin, &calls[3].stdin);
    let runtime = &add_a["runtimeConfig"];
    assert_runtime_arguments(&daemon, runtime);
    // Only the plugin that declares a capability gets it; its own fields arrive as they are.
    assert!(add_b.get("runtimeConfig").is_none(), "{add_b}");
    assert_eq!(add_b["extra"], json!({"kept": 1}));
    assert!(add_a.get("prevResult").is_none(), "{add_a}");
    let result = &add_b["prevResult"];
    assert_eq!(result["ips"][1]["address"], "10.99.0.7/24");
    assert_eq!(&del_a["prevResult"], result);
    assert_eq!(&del_a["runtimeConfig"], runtime);
}

fn assert_runtime_arguments(daemon: &Daemon, runtime: &serde_json::Value) {
    assert_eq!(
        runtime["portMappings"],
        json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}])
    );
    assert_eq!(
        runtime["bandwidth"],
        json!({"ingressRate": 1_000_000, "ingressBurst": u32::MAX})
    );
    assert_eq!(runtime["dns"]["servers"], json!(["10.0.0.10"]));
    assert_eq!(
        runtime["ipRanges"],
        json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd01::/64"}]])
    );
    let annotations = &runtime["io.kubernetes.cri.pod-annotations"];
    assert_eq!(annotations["kubernetes.io/ingress-bandwidth"], "1M");
    let cgroup = runtime["cgroupPath"].as_str().unwrap();
    assert!(cgroup.starts_with(&daemon.place.cgroup()), "{cgroup}");
}

#[test]
fn a_plugin_that_hangs_is_killed_with_everything_it_started() {
    let (daemon, plugins) = spied(SPY);
    let mark = format!("{}-stray", daemon.place.tag);
    // One child in the plugin's group, one in a session of its own that holds the pipes.
    let hang =
        format!("sh -c 'sleep 1000; : {mark}' & setsid sh -c 'sleep 1001; : {mark}' & sleep 1002");
    plugins.act("spy-a", "ADD", &hang);
    let words = ["ADD of network plugin", "spy-a", "did not end within 2 s"];
    fails(
        daemon.try_run(&daemon.pod("hang")),
        Code::DeadlineExceeded,
        &words,
    );
    assert!(daemon.pods().is_empty());
    assert_eq!(plugins.order(), ["spy-a.ADD", "spy-a.DEL"]);
    let left = e2e::evidence::with_command(&mark);
    assert!(left.is_empty(), "{left:?}");
    // The name is free: the next attempt is a new pod.
    plugins.act("spy-a", "ADD", "");
    daemon.run_named("hang").remove();
}

#[test]
fn what_plugins_say_instead_of_a_result_is_shown() {
    let (daemon, plugins) = spied(SPY);
    for (script, words) in [
        ("echo rubbish; exit 0", ["gave no result", "rubbish"]),
        ("exit 0", ["gave no result", "it wrote nothing"]),
        ("echo '[1]'; exit 0", ["gave no result", "no JSON object"]),
        ("echo too bad >&2; exit 3", ["exit status: 3", "too bad"]),
        (
            "echo '{\"code\":7,\"msg\":\"no such bridge\",\"details\":\"look again\"}'; exit 1",
            ["no such bridge", "look again"],
        ),
        ("kill -SEGV $$", ["ADD of network plugin", "signal: 11"]),
        (
            "yes 'for ever and ever'",
            ["more than 1048576 bytes", "was killed"],
        ),
        (
            "echo '{\"cniVersion\":\"1.0.0\"}'; exit 0",
            ["network `spy`", "no address"],
        ),
    ] {
        plugins.act("spy-a", "ADD", script);
        fails(daemon.try_run(&daemon.pod("bad")), Code::Internal, &words);
        assert!(daemon.pods().is_empty(), "{script}");
    }
    plugins.act(
        "spy-a",
        "ADD",
        "yes 'a great many words' | head -c 9000000 >&2; exit 1",
    );
    let long = fails(
        daemon.try_run(&daemon.pod("long")),
        Code::Internal,
        &["many words"],
    );
    assert!(long.len() < 4096, "{} bytes", long.len());
}

#[test]
fn a_pod_stops_though_its_plugin_fails_and_the_rest_is_owed() {
    let (daemon, plugins) = spied(SPY);
    let pod = daemon.run_named("owed");
    pod.start(idle("c"));
    plugins.act("spy-a", "DEL", "echo not now >&2; exit 1");
    pod.stop();
    let owed = || daemon.holdfast(&["debts"]).ok();
    assert!(
        owed().contains(&pod.id[..12]) && owed().contains("not now"),
        "{}",
        owed()
    );
    // The daemon's end changes nothing about it, nor does the pod's.
    daemon.kill9();
    daemon.restart();
    pod.remove();
    assert!(owed().contains("not now"), "{}", owed());
    // Whatever is configured now: it joined the network with that list.
    plugins.configure("10-spies.conflist", &SPY.replace("spy-a", "spy-b"));
    plugins.act("spy-a", "DEL", "");
    until("the debt to be paid", BACKGROUND_DEADLINE, || {
        (!owed().contains(&pod.id[..12])).then_some(())
    });
    let last = plugins.calls().pop().unwrap();
    assert_eq!(last.what, "spy-a.DEL");
    assert!(last.has(&format!("CNI_CONTAINERID={}", pod.id)), "{last:?}");
    // Plugins find what they have made by what is in the namespace: it waits for them.
    let netns = daemon.place.netns();
    let pin = |line: &String| line.starts_with(&format!("CNI_NETNS={}/", netns.display()));
    assert!(last.environment.iter().any(pin), "{last:?}");
}

#[test]
fn a_pod_that_was_cut_off_while_it_joined_is_released() {
    let (daemon, plugins) = spied(SPY);
    let mark = format!("{}-joining", daemon.place.tag);
    plugins.act("spy-a", "ADD", &format!("sh -c 'sleep 1000; : {mark}'"));
    let config = daemon.pod("cut");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| daemon.try_run(&config));
        until("ADD", BACKGROUND_DEADLINE, || {
            (e2e::evidence::with_command(&mark).len() == 1).then_some(())
        });
        daemon.kill9();
        assert!(asked.join().unwrap().is_err());
    });
    assert_eq!(e2e::evidence::with_command(&mark).len(), 1);
    daemon.restart();
    until("DEL", BACKGROUND_DEADLINE, || {
        (plugins.order() == ["spy-a.ADD", "spy-a.DEL"]).then_some(())
    });
    // The plugin that went on without its daemon was ended first: it cannot take an address any more.
    assert!(e2e::evidence::with_command(&mark).is_empty());
    until("nothing to be kept", BACKGROUND_DEADLINE, || {
        let kept = fs::read_dir(daemon.place.root().join("cni")).unwrap();
        (kept.count() == 0).then_some(())
    });
    plugins.act("spy-a", "ADD", "");
    daemon.run(config);
}

#[test]
fn what_plugins_keep_is_released_after_the_machine_was_started_anew() {
    let (daemon, plugins) = start(Options::default());
    plugins.configure("10-chain.conflist", CHAIN);
    let pod = daemon.run_named("lost");
    let kept = daemon.place.root().join("cni");
    let record = fs::read(kept.join(format!("{}.json", pod.id))).unwrap();
    let leases = daemon.place.dir.join("cni/leases/chain");
    let lease = fs::read_to_string(leases.join(pod.ip())).unwrap();
    daemon.kill9();
    // As a pod of the last boot leaves it, whose record was on a tmpfs.
    let id = "5".repeat(64);
    let text = String::from_utf8(record).unwrap();
    let text = text.replace(&pod.id, &id).replace(&pod.id[..12], &id[..12]);
    fs::write(kept.join(format!("{id}.json")), text).unwrap();
    fs::write(leases.join("10.98.0.77"), lease.replace(&pod.id, &id)).unwrap();
    daemon.restart();
    until("the lease to be released", BACKGROUND_DEADLINE, || {
        (plugins.leased().len() == 2 && !leases.join("10.98.0.77").exists()).then_some(())
    });
    until("the record to go", BACKGROUND_DEADLINE, || {
        (fs::read_dir(&kept).unwrap().count() == 1).then_some(())
    });
}

#[test]
fn version_1_1_asks_for_the_status_and_collects() {
    let (daemon, plugins) = spied(&SPY.replace("1.0.0", "1.1.0"));
    let no = r#"echo '{"code":50,"msg":"the agent is not up"}'; exit 1"#;
    plugins.act("spy-a", "STATUS", no);
    let ready = network_ready(&daemon);
    assert_eq!(
        (ready.status, ready.reason.as_str()),
        (false, "NetworkPluginNotReady")
    );
    assert!(ready.message.contains("the agent is not up"), "{ready:?}");
    plugins.act("spy-a", "STATUS", "");
    until("the network to be ready", BACKGROUND_DEADLINE, || {
        network_ready(&daemon).status.then_some(())
    });
    let pod = daemon.run_named("valid");
    daemon.kill9();
    plugins.clear();
    daemon.restart();
    until("GC", BACKGROUND_DEADLINE, || {
        let gc = plugins
            .calls()
            .into_iter()
            .find(|call| call.what == "spy-a.GC")?;
        let valid = json!([{ "containerID": pod.id, "ifname": "eth0" }]);
        assert_eq!(gc.stdin["cni.dev/valid-attachments"], valid);
        // As libcni 1.3.1 calls it too.
        assert_eq!(gc.stdin["cni.dev/attachments"], valid);
        Some(())
    });
    until("CHECK", BACKGROUND_DEADLINE, || {
        plugins
            .order()
            .contains(&"spy-a.CHECK".to_owned())
            .then_some(())
    });
}

#[test]
fn the_configuration_is_shown_as_scripts_know_it() {
    let (daemon, plugins) = spied(SPY);
    let request = StatusRequest { verbose: true };
    let info = || must("Status", call(daemon.clients().runtime.status(request))).info;
    let shown: serde_json::Value = serde_json::from_str(&info()["cniconfig"]).unwrap();
    assert_eq!(shown["Networks"][0]["Config"]["Name"], "spy");
    assert_eq!(shown["Networks"][0]["IFName"], "eth0");
    assert_eq!(info()["lastCNILoadStatus"], "\"OK\"");
    plugins.forget("10-spies.conflist");
    assert!(info()["lastCNILoadStatus"].contains("no network config found"));
}

#[test]
fn without_a_configuration_auto_is_the_bridge() {
    let (daemon, plugins) = start_as("auto", Options::default());
    plugins.spy("spy-a");
    plugins.configure("10-spies.conflist", SPY);
    // A daemon that finds the configuration makes no bridge that nobody uses.
    daemon.terminate();
    let bridge = &daemon.place.bridge;
    inside(&daemon, &format!("ip link del {bridge}")).ok();
    daemon.restart();
    let plugged = daemon.run_named("plugged");
    assert_eq!(plugged.ip(), "10.99.0.7");
    inside(&daemon, &format!("! ip link show {bridge}")).ok();
    plugins.forget("10-spies.conflist");
    assert!(network_ready(&daemon).status);
    let bridged = daemon.run_named("bridged");
    let prefix = daemon.place.subnet4.trim_end_matches("0/24");
    assert!(bridged.ip().starts_with(prefix), "{}", bridged.ip());
    // Both are known to a daemon that finds the one in use and the other configured.
    plugins.configure("10-spies.conflist", SPY);
    daemon.kill9();
    daemon.restart();
    bridged
        .start(idle("c"))
        .sh(&format!("ping -c 1 -W 3 {prefix}1"));
    plugged.remove();
    bridged.remove();
    // The new daemon has looked after the pod that it found, or not yet.
    let mut order = plugins.order();
    order.retain(|call| call != "spy-a.CHECK");
    assert_eq!(order, ["spy-a.ADD", "spy-a.DEL"]);
}
