//! The tour: every command in the head of every manifest of pods/, run as `holdfast tour` runs it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use e2e::Daemon;
use e2e::daemon::Options;
use e2e::program::{Ran, built, finish, sh, source};

/// What is to be seen at each stop, beside that no command fails.
const SEEN: [(&str, &[&str]); 21] = [
    ("two-containers", &["hello from a", "httpd", "LISTEN"]),
    ("shared-memory", &["written by writer"]),
    ("shared-pid", &["holdfast-pause", "by SIGTERM"]),
    ("host-network", &["host", "lo:"]),
    ("user-namespace", &["uid=0(root)", "holdfast-shim"]),
    ("users", &["uid=1000", "the root is read-only"]),
    (
        "capabilities",
        &[
            "refused: it lacks NET_ADMIN",
            "done: it has NET_ADMIN",
            "refused: it lacks even CHOWN",
            "has no capability",
        ],
    ),
    (
        "seccomp",
        &["refused by the filter", "Seccomp:\t2", "Seccomp:\t0"],
    ),
    ("masked-paths", &["hidden from it: ", "\n0\n", "refused"]),
    ("volumes", &["written by writer", "the reader cannot write"]),
    ("limits", &["at most 16; fork fails beyond it", "0.50 CPUs"]),
    ("oom", &["more memory than its limit"]),
    (
        "cpu-throttling",
        &["0.10 CPUs: 10 ms of every 100 ms", "It had to wait in"],
    ),
    ("exit-codes", &["exit code 0", "exit code 3", "by SIGTERM"]),
    (
        "init-order",
        &[
            "first",
            "sidecar starts",
            "second, the sidecar runs already",
            "main",
        ],
    ),
    ("debug-target", &["=application", "of the application"]),
    ("sysctls", &["4096"]),
    ("join-network", &["=two-containers/pause", "hello from a"]),
    ("time-namespace", &["100 days"]),
    ("unshare", &["a note of plain", "loner"]),
    ("debootstrap", &["/bin/ls"]),
];

/// `holdfast tour ...` with all directories of pods in the daemon's place.
fn tour(daemon: &Daemon, args: &[&str]) -> Ran {
    let dir = &daemon.place.dir;
    let mut command = Command::new(built("holdfast"));
    command
        .arg("tour")
        .args(args)
        .env("HOLDFAST_SOCKET", daemon.place.socket())
        .env("HOLDFAST_LOG_ROOT", dir.join("logs"))
        .env("HOLDFAST_VOLUME_ROOT", dir.join("volumes"))
        .env("HOLDFAST_MEMORY_VOLUME_ROOT", dir.join("memory"))
        .env("TMPDIR", dir)
        .stdin(Stdio::null());
    finish(command)
}

fn daemon() -> Daemon {
    let all = ["join-network", "time-offsets", "namespaces"].map(toml::Value::from);
    let daemon = Daemon::with(Options::default().set("experiments.allow", all.to_vec()));
    let memory = daemon.place.dir.join("memory");
    fs::create_dir_all(&memory).unwrap();
    sh(&format!("mount -t tmpfs none {}", memory.display()));
    daemon
}

fn end(daemon: &Daemon) {
    assert!(daemon.pods().is_empty(), "the tour leaves pods");
    let left: Vec<_> = fs::read_dir(&daemon.place.dir)
        .unwrap()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("holdfast-tour")
        })
        .collect();
    assert!(left.is_empty(), "the tour leaves {left:?}");
    sh(&format!(
        "umount {}",
        daemon.place.dir.join("memory").display()
    ));
}

/// The output of a whole tour by the title of the stop.
fn sections(output: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut title = String::new();
    for line in output.lines() {
        if let Some((number, name)) = line.split_once("  ")
            && number
                .split_once('/')
                .is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
        {
            name.clone_into(&mut title);
        }
        sections
            .entry(title.clone())
            .or_default()
            .push_str(&format!("{line}\n"));
    }
    sections
}

fn title(name: &str) -> String {
    let manifest = fs::read_to_string(source("pods").join(format!("{name}.yaml"))).unwrap();
    manifest
        .lines()
        .next()
        .unwrap()
        .trim_start_matches("# ")
        .to_owned()
}

#[test]
fn every_stop_shows_what_it_says() {
    let daemon = daemon();
    let mut stops: Vec<_> = SEEN.map(|(name, _)| name).to_vec();
    match super::import::debootstrap() {
        Ok(archive) => {
            let archive = archive.display().to_string();
            daemon
                .holdfast(&["image", "import", &archive, "localhost/debian:stable"])
                .ok();
        }
        // The other stops are seen all the same; the test of imports says aloud that it was left out.
        Err(_) => stops.retain(|name| *name != "debootstrap"),
    }
    let ran = tour(&daemon, &["--yes"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(
        !ran.stdout.contains('\u{1b}'),
        "nobody looks, and there are colours"
    );
    let sections = sections(&ran.stdout);
    for (name, words) in SEEN.iter().filter(|(name, _)| stops.contains(name)) {
        let section = &sections[&title(name)];
        assert!(!section.contains("Skipped"), "{section}");
        for word in *words {
            assert!(section.contains(word), "no {word:?} at {name}: {section}");
        }
    }
    end(&daemon);
}

#[test]
fn what_a_node_does_not_allow_is_left_out_and_said() {
    let daemon = Daemon::start();
    let ran = tour(&daemon, &["--yes", "time-namespace", "debootstrap"]);
    let said = ran.ok();
    assert!(said.contains("allow = [\"time-offsets\"]"), "{said}");
    assert!(
        said.contains("there is no image localhost/debian:stable"),
        "{said}"
    );
    let said = tour(&daemon, &["--yes", "nowhere"]).fails(1);
    assert!(
        said.contains("nowhere") && said.contains("tour --list"),
        "{said}"
    );
    assert!(tour(&daemon, &["--list"]).ok().contains("two-containers"));
}

#[test]
fn the_text_of_the_tour_is_that_of_today() {
    let text = fs::read_to_string(source("docs/tour.md")).unwrap();
    for (name, _) in SEEN {
        let manifest = fs::read_to_string(source("pods").join(format!("{name}.yaml"))).unwrap();
        assert!(
            text.contains(&title(name)),
            "docs/tour.md does not stop at {name}"
        );
        let head = manifest.lines().take_while(|line| line.starts_with('#'));
        for line in head.filter_map(|line| line.strip_prefix("#   ")) {
            let command = line.split_once("   ").map_or(line, |(command, _)| command);
            let runs = command.starts_with("holdfast") && !command.starts_with("holdfast image");
            assert!(
                !runs || text.contains(&format!("$ {command}")),
                "docs/tour.md lacks {command:?}"
            );
        }
    }
}
