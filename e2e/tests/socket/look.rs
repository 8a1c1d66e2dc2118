//! Namespaces made visible: what `holdfast ns`, `enter`, `tree` and `why` say, beside what the kernel says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cri_api::runtime::v1::{
    IdMapping, NamespaceMode, PodSandboxConfig, SecurityProfile, UserNamespace,
};
use e2e::call::until;
use e2e::program::{installed, run, sh};
use e2e::request::{ContainerParts, PodParts, container, idle, shell};
use e2e::{Daemon, evidence, skip};
use serde_json::Value;

const KINDS: [&str; 8] = ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user", "time"];

fn json(daemon: &Daemon, args: &[&str]) -> Value {
    let text = daemon.holdfast(&[args, &["-o", "json"]].concat()).ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A process of the document of `ns POD`.
fn process<'a>(document: &'a Value, name: &str) -> &'a Value {
    let processes = document["pods"][0]["processes"].as_array().unwrap();
    let found = processes.iter().find(|process| process["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {document}"))
}

#[test]
fn the_matrix_is_what_the_kernel_says() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("matrix");
    let (a, b) = (pod.start(idle("a")), pod.start(idle("b")));
    let document = json(&daemon, &["ns", "matrix"]);
    for (name, pid) in [("pause", pod.pause()), ("a", a.pid()), ("b", b.pid())] {
        let process = process(&document, name);
        assert_eq!(process["pid"], pid);
        for kind in KINDS {
            let shown = &process["namespaces"][kind]["inode"];
            assert_eq!(*shown, evidence::namespace(pid, kind), "{name} {kind}");
        }
    }
    let of = |kind: &str| process(&document, "b")["namespaces"][kind].clone();
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(of(kind)["of"], "pause", "{kind}");
        assert_eq!(
            of(kind)["sharedWith"],
            serde_json::json!(["e2e/matrix/pause", "e2e/matrix/a"])
        );
    }
    for kind in ["pid", "mnt"] {
        assert_eq!(of(kind)["of"], "own", "{kind}");
        assert_eq!(of(kind)["sharedWith"], serde_json::json!([]));
    }
    assert_eq!(of("user")["of"], "machine");
    // The same in the table: a shared one has a mark, and nothing is coloured where nobody looks.
    let table = daemon.holdfast(&["ns", "matrix"]).ok();
    let net = evidence::namespace(b.pid(), "net");
    assert!(
        table.contains(&format!("{net} =")) && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn a_namespace_of_another_container_is_named_by_it() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("target");
    let main = pod.start(idle("main"));
    let mut debug = idle("debug");
    let options = debug.namespaces();
    options.pid = NamespaceMode::Target.into();
    options.target_id.clone_from(&main.id);
    pod.start(debug);
    let document = json(&daemon, &["ns", "target"]);
    assert_eq!(
        process(&document, "debug")["namespaces"]["pid"]["of"],
        "e2e/target/main"
    );
    assert!(daemon.holdfast(&["ns", "target"]).ok().contains("=main"));
}

#[test]
fn the_node_is_listed_as_lsns_lists_it() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("node");
    let c = pod.start(idle("c"));
    let document = json(&daemon, &["ns"]);
    let listed = document["namespaces"].as_array().unwrap();
    for (pid, kind) in [(pod.pause(), "net"), (c.pid(), "pid"), (c.pid(), "mnt")] {
        let inode = evidence::namespace(pid, kind);
        let ours = listed.iter().find(|one| one["inode"] == inode).unwrap();
        let lsns = sh(&format!(
            "lsns -n -o NS,NPROCS -t {kind} | awk '$1 == {inode} {{ print $2 }}'"
        ));
        assert_eq!(ours["processes"].to_string(), lsns.trim(), "{kind}");
        assert_eq!(ours["type"], kind);
        assert_eq!(ours["pods"], serde_json::json!(["e2e/node"]));
    }
    let inode = evidence::namespace(c.pid(), "net");
    let net = listed.iter().find(|one| one["inode"] == inode).unwrap();
    let pin = net["pinnedAt"].as_str().unwrap();
    assert!(Path::new(pin).exists() && pin.contains("netns"), "{pin}");
    assert_eq!(net["heldBy"], "e2e/node/pause");
}

/// Rectangles of a picture that are filled with one colour: left edge, middle, colour.
fn filled(svg: &str) -> Vec<(u32, u32, [u8; 3])> {
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let rect = |line: &str| {
        let number = |name: &str| attribute(line, name)?.parse::<f64>().ok();
        let fill = attribute(line, "fill")?;
        let part = |at: usize| u8::from_str_radix(fill.get(at..at + 2)?, 16).ok();
        let (x, y) = (number("x")? + 4.0, number("y")? + number("height")? / 2.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "pixels of a small picture"
        )]
        Some((x as u32, y as u32, [part(1)?, part(3)?, part(5)?]))
    };
    svg.lines()
        .filter(|line| line.starts_with("<rect "))
        .filter_map(rect)
        .collect()
}

#[test]
fn the_picture_can_be_rendered() {
    let Some(rsvg) = installed("rsvg-convert") else {
        return skip::report(
            &skip::test_name(),
            "rsvg-convert (librsvg2-bin) is not installed",
        );
    };
    let daemon = Daemon::start();
    let pod = daemon.run_named("picture");
    for name in ["web", "log", "db"] {
        pod.start(idle(name));
    }
    let svg = daemon.holdfast(&["ns", "picture", "-o", "svg"]).ok();
    let (file, image) = (
        daemon.place.dir.join("pod.svg"),
        daemon.place.dir.join("pod.png"),
    );
    fs::write(&file, &svg).unwrap();
    run(rsvg, [file.as_os_str(), "-o".as_ref(), image.as_os_str()]).ok();
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(&image).unwrap()))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.width, 1240);
    let samples = info.color_type.samples();
    let fields = filled(&svg);
    // The pause has net, ipc, uts and a mnt of its own, a container at least pid, mnt and cgroup.
    assert!(fields.len() >= 13, "{fields:?}");
    for (x, y, colour) in fields {
        let at = (y * info.width + x) as usize * samples;
        assert_eq!(pixels[at..at + 3], colour, "at {x} {y}");
    }
    for name in ["web", "log", "db", "pause", &pod.ip()] {
        assert!(svg.contains(name), "{name}");
    }
}

#[test]
fn the_graph_can_be_laid_out() {
    let Some(dot) = installed("dot") else {
        return skip::report(&skip::test_name(), "dot (graphviz) is not installed");
    };
    let daemon = Daemon::start();
    let pod = daemon.run_named("graph");
    let c = pod.start(idle("c"));
    let file = daemon.place.dir.join("pod.dot");
    fs::write(&file, daemon.holdfast(&["ns", "graph", "-o", "dot"]).ok()).unwrap();
    let plain = run(dot, ["-Tplain".as_ref(), file.as_os_str()]).ok();
    let edges = plain
        .lines()
        .filter(|line| line.starts_with("edge"))
        .count();
    let net = format!("net_{}", evidence::namespace(c.pid(), "net"));
    // Both processes have net, ipc, uts and mnt that are not the machine's; the container pid and cgroup too.
    assert!(edges >= 10 && plain.contains(&net), "{plain}");
}

#[test]
fn entering_one_namespace_leaves_the_machines_tools() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("enter");
    // An image that has one program and no shell.
    let image = "registry.holdfast.test/probe:1";
    daemon.provide(image);
    pod.start(container("bare", image, &["/bin/probe", "signals"]));
    let addresses =
        daemon.holdfast(&["enter", "enter/bare", "--net", "--", "ip", "-br", "address"]);
    assert!(addresses.ok().contains(&pod.ip()));
    let by_pod = daemon.holdfast(&["enter", "enter", "--net", "--", "cat", "/proc/self/net/dev"]);
    assert!(by_pod.ok().contains("eth0"));
    let said = daemon.holdfast(&["enter", "enter/bare"]).fails(1);
    assert!(said.contains("/bin/sh") && said.contains("image"), "{said}");
    let said = daemon.holdfast(&["enter", "enter"]).fails(1);
    assert!(said.contains("POD/CONTAINER"), "{said}");
}

#[test]
fn entering_everything_is_being_there() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("inside");
    let mut config = idle("c");
    config.working_dir = "/tmp".to_owned();
    config
        .envs
        .push(e2e::request::variable("FROM", "the container"));
    let c = pod.start(config);
    let inside = |script: &str| {
        let command = ["enter", "inside/c", "--", "sh", "-c", script];
        daemon.holdfast(&command)
    };
    assert_eq!(
        inside("hostname; pwd; echo $FROM").ok(),
        "inside\n/tmp\nthe container\n"
    );
    let links = "for kind in net ipc uts pid mnt cgroup; do stat -Lc %i /proc/self/ns/$kind; done";
    let wanted = ["net", "ipc", "uts", "pid", "mnt", "cgroup"]
        .map(|kind| format!("{}\n", evidence::namespace(c.pid(), kind)));
    assert_eq!(inside(links).ok(), wanted.concat());
    inside("exit 7").fails(7);
    inside("kill -TERM $$").fails(143);
    let printed = daemon
        .holdfast(&["enter", "inside/c", "--print", "--", "echo", "a b"])
        .ok();
    assert_eq!(sh(&printed), "a b\n", "{printed}");
    c.stop(0);
    let said = daemon.holdfast(&["enter", "inside/c"]).fails(1);
    assert!(said.contains("is not running"), "{said}");
}

fn user_namespace(daemon: &Daemon, name: &str) -> PodSandboxConfig {
    let range = IdMapping {
        host_id: 700_000,
        container_id: 0,
        length: 65_536,
    };
    let mut config = daemon.pod(name);
    config.namespaces().userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    });
    config
}

#[test]
fn root_inside_is_somebody_else_outside() {
    let daemon = Daemon::start();
    let pod = daemon.run(user_namespace(&daemon, "mapped"));
    pod.start(idle("c"));
    let tree = json(&daemon, &["tree", "mapped"]);
    let children = tree["children"].as_array().unwrap();
    let c = children
        .iter()
        .find(|child| child["container"] == "c")
        .unwrap();
    assert_eq!((&c["uid"], &c["uidInside"]), (&700_000.into(), &0.into()));
    let inside = daemon.holdfast(&[
        "enter",
        "mapped/c",
        "--",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map",
    ]);
    let inside = inside.ok();
    assert!(
        inside.starts_with("0\n") && inside.contains("700000"),
        "{inside}"
    );
    let why = daemon.holdfast(&["why", "mapped/c"]).ok();
    assert!(
        why.contains("users 0 to 65535 inside are 700000 to 765535 on the node"),
        "{why}"
    );
    assert!(
        why.contains("runs as user 0 inside, 700000 on the node"),
        "{why}"
    );
}

#[test]
fn the_tree_has_every_process_with_both_numbers() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("tree");
    let c = pod.start(shell("c", "sleep 1000002 & exec sleep 1000001"));
    // The shell runs before it has forked.
    let limit = Duration::from_secs(20);
    let tree = until("the shell has forked", limit, || {
        let tree = json(&daemon, &["tree", "tree"]);
        tree.to_string().contains("sleep 1000002\"").then_some(tree)
    });
    assert!(
        tree["command"].as_str().unwrap().contains("holdfast-shim"),
        "{tree}"
    );
    let children = tree["children"].as_array().unwrap();
    assert_eq!(children[0]["container"], "pause");
    let first = children
        .iter()
        .find(|child| child["container"] == "c")
        .unwrap();
    assert_eq!(
        (&first["pid"], &first["pidInside"]),
        (&c.pid().into(), &1.into())
    );
    let second = &first["children"][0];
    assert_eq!(second["command"], "sleep 1000002");
    let outside = i32::try_from(second["pid"].as_i64().unwrap()).unwrap();
    let numbers = evidence::status(outside, "NSpid");
    let last = numbers.split_whitespace().last().unwrap();
    assert_eq!(second["pidInside"].to_string(), last);
    let people = daemon.holdfast(&["tree", "tree"]).ok();
    assert!(people.contains("└─ sleep 1000002"), "{people}");
}

/// The files of a source such as `/a/{b,c}; /d of /e/f`.
fn files(source: &str) -> Vec<String> {
    let words = source
        .split([' ', ';'])
        .filter(|word| word.starts_with('/'));
    let expand = |word: &str| match word.split_once('{') {
        Some((head, names)) => {
            let names = names.trim_end_matches('}').split(',');
            names.map(|name| format!("{head}{name}")).collect()
        }
        None => vec![word.trim_end_matches(',').to_owned()],
    };
    words.flat_map(expand).collect()
}

#[test]
fn every_reason_has_a_file_of_the_kernel() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("why");
    let mut config = idle("c");
    let resources = config.resources();
    resources.memory_limit_in_bytes = 64 << 20;
    resources.cpu_quota = 50_000;
    resources.cpu_period = 100_000;
    resources.unified.insert("pids.max".into(), "77".into());
    config.security().seccomp = Some(SecurityProfile::default());
    config.security().masked_paths = vec!["/proc/keys".into()];
    config.security().readonly_paths = vec!["/proc/sys".into()];
    pod.start(config);
    let document = json(&daemon, &["why", "why/c"]);
    let facts = document["facts"].as_array().unwrap();
    let mut checked = 0;
    for fact in facts {
        for file in files(fact["source"].as_str().unwrap()) {
            assert!(Path::new(&file).exists(), "{file} of {fact}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{document}");
    let says = |words: &str| {
        let found = facts
            .iter()
            .any(|fact| fact["says"].as_str().unwrap().contains(words));
        assert!(found, "{words}: {document:#}");
    };
    says("memory: at most 67.1 MB");
    says("cpu: at most 0.50 CPUs: 50 ms of every 100 ms");
    says("at most 77; fork fails beyond it");
    says("net: the pod's, held by the pause");
    says("its host name is \"why\"");
    says("14 of 41 capabilities");
    says("(SYS_ADMIN)");
    says("1 seccomp filter(s)");
    says("its root is an overlay");
    says("hidden from it: /proc/keys");
    says("/proc/sys");
}

#[test]
fn what_has_ended_is_explained_too() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("ended");
    let (three, _) = pod.finish(shell("three", "exit 3"));
    let mut hungry = shell("hungry", "head -c 100m /dev/zero | tail -c 99m");
    hungry.resources().memory_limit_in_bytes = 16 << 20;
    pod.finish(hungry);
    let said = daemon.holdfast(&["why", &three.id]).ok();
    assert!(said.contains("with exit code 3"), "{said}");
    let said = daemon.holdfast(&["why", "ended/hungry"]).ok();
    assert!(said.contains("more memory than its limit"), "{said}");
    let said = daemon.holdfast(&["why", "ended/nobody"]).fails(1);
    assert!(
        said.contains("nobody") && said.contains("holdfast ps -a"),
        "{said}"
    );
}
