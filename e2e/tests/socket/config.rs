//! The configuration file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::daemon::Options;
use e2e::place::Place;
use e2e::program::{Ran, built, finish};
use e2e::{Daemon, evidence};

fn holdfastd(args: &[&str]) -> Ran {
    let mut command = Command::new(built("holdfastd"));
    command.args(args).stdin(Stdio::null());
    finish(command)
}

/// The configuration in force, or the reason why it cannot be read.
fn print(path: &Path) -> Ran {
    holdfastd(&["--config", &path.display().to_string(), "--print-config"])
}

#[test]
fn unknown_keys_are_errors_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(
        &path,
        "root_dir = \"/var/lib/x\"\n\n[network]\nbrigde = \"typo\"\n",
    )
    .unwrap();
    let text = print(&path).fails(1);
    assert!(
        text.contains("config.toml:4") && text.contains("brigde"),
        "{text}"
    );
    fs::write(&path, "rot_dir = \"/x\"\n").unwrap();
    let text = print(&path).fails(1);
    assert!(
        text.contains("config.toml:1") && text.contains("rot_dir"),
        "{text}"
    );
    fs::write(&path, "\n\n\nroot_dir = 5\n").unwrap();
    assert!(print(&path).fails(1).contains("config.toml:4"));
    fs::write(&path, "root_dir = \"unclosed\nx").unwrap();
    let text = print(&path).fails(1);
    assert!(
        text.contains("config.toml:1") || text.contains("config.toml:2"),
        "{text}"
    );
}

#[test]
fn drop_ins_are_merged_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let drop_ins = dir.path().join("config.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&path, "[network]\nbridge = \"base\"\nmtu = 1400\n").unwrap();
    fs::write(
        drop_ins.join("20-b.toml"),
        "[network]\nbridge = \"second\"\n",
    )
    .unwrap();
    fs::write(
        drop_ins.join("10-a.toml"),
        "[network]\nbridge = \"first\"\n[log]\nlevel = \"warn\"\n",
    )
    .unwrap();
    fs::write(drop_ins.join("ignored.txt"), "nonsense").unwrap();
    let shown = print(&path).ok();
    assert!(shown.contains("bridge = \"second\""), "{shown}");
    assert!(
        shown.contains("mtu = 1400") && shown.contains("level = \"warn\""),
        "{shown}"
    );
    fs::write(drop_ins.join("30-c.toml"), "[log]\n\nlevl = \"x\"\n").unwrap();
    let text = print(&path).fails(1);
    assert!(text.contains("30-c.toml:3"), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, "").unwrap();
    let shown = print(&path).ok();
    fs::write(&path, &shown).unwrap();
    assert_eq!(print(&path).ok(), shown);
}

#[test]
fn the_sample_of_deploy_is_a_configuration() {
    let sample = e2e::program::source("deploy/config.toml");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::copy(sample, &path).unwrap();
    print(&path).ok();
}

#[test]
fn impossible_values_are_refused_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let cases = [
        ("root_dir = \"relative\"", "root_dir"),
        ("root_dir = \"/\"", "root_dir"),
        ("run_dir = \"/var/../x\"", "run_dir"),
        ("[network]\nsubnet4 = \"10.0.0.0/40\"", "subnet"),
        ("[network]\nsubnet4 = \"fd00::/64\"", "subnet4"),
        ("[network]\nkind = \"magic\"", "config.toml:2"),
        ("[cgroup]\nparent = \"../x\"", "cgroup.parent"),
    ];
    for (text, word) in cases {
        fs::write(&path, text).unwrap();
        let said = print(&path).fails(1);
        assert!(said.contains(word), "{text}: {said}");
    }
    let missing = dir.path().join("no-such.toml");
    assert!(print(&missing).fails(1).contains("no-such.toml"));
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_leaves_nothing() {
    let place = Place::new();
    Options::default()
        .without_registry()
        .set("shim", "/no/such/shim")
        .write(&place);
    let ran = holdfastd(&["--config", &place.config().display().to_string()]);
    e2e::leaks::clean(&place);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("/no/such/shim"), "{}", ran.stderr);
}

#[test]
fn the_default_limit_of_tasks_is_the_configured_one() {
    let daemon = Daemon::with(Options::default().set("cgroup.pids_limit", 123));
    let run = daemon.run_named("pids").start(e2e::request::idle("c"));
    assert_eq!(
        evidence::cgroup(run.pid(), "pids").read("pids.max", "pids.max"),
        "123"
    );
}

#[test]
fn the_socket_is_for_root_only() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    let mode = fs::metadata(daemon.place.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
