//! What the kubelet makes of errors: each goes through the client library that kubelets use.

use std::fs;
use std::process::{Command, Stdio};

use e2e::daemon::Options;
use e2e::program::{self, finish, installed};
use e2e::request::BUSYBOX;
use e2e::{Daemon, skip};
use serde_json::Value;

/// Builds the Go program with k8s.io/cri-client; the module's cache makes the second time quick.
fn client() -> String {
    let program = program::cache().join("bin/cri-client");
    let program = program.display().to_string();
    let mut go = Command::new("go");
    go.args(["build", "-o", &program, "."])
        .current_dir(program::source("e2e/tools/cri-client"))
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null());
    finish(go).ok();
    program
}

fn verdict(client: &str, daemon: &Daemon, args: &[&str]) -> Value {
    let endpoint = format!("unix://{}", daemon.place.socket().display());
    let mut command = Command::new(client);
    command.arg(endpoint).args(args).stdin(Stdio::null());
    serde_json::from_str(&finish(command).ok()).unwrap()
}

fn hosts(daemon: &Daemon, server: &str) {
    let dir = daemon.place.hosts().join("registry.holdfast.test");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), format!("server = \"{server}\"\n")).unwrap();
}

/// A pod whose registry was down said ErrImagePull with a raw RPC error: the code UNAVAILABLE stood in front of
/// the word that the kubelet looks for.
#[test]
fn reasons_of_failed_pulls() {
    if installed("go").is_none() {
        skip!("Go, which builds the kubelet's client, is not in PATH");
    }
    let client = client();
    let daemon = Daemon::with(Options::default().without_registry());
    let cases = [
        // Nobody listens.
        (
            "http://127.0.0.1:1",
            BUSYBOX,
            "RegistryUnavailable",
            "Unknown",
        ),
        (
            "https://127.0.0.1:1",
            BUSYBOX,
            "RegistryUnavailable",
            "Unknown",
        ),
        // The name does not resolve (RFC 6761, "invalid.").
        (
            "http://registry.invalid",
            BUSYBOX,
            "RegistryUnavailable",
            "Unknown",
        ),
        ("", "127.0.0.1:1/none:1", "RegistryUnavailable", "Unknown"),
        // A reference that no registry is asked for keeps its code, and so the general reason.
        ("", "UPPER:1", "ErrImagePull", "InvalidArgument"),
    ];
    for (server, image, reason, code) in cases {
        if !server.is_empty() {
            hosts(&daemon, server);
        }
        let verdict = verdict(&client, &daemon, &["pull", image]);
        assert_eq!(verdict["reason"], reason, "{server} {image}: {verdict}");
        assert_eq!(verdict["code"], code, "{server} {image}: {verdict}");
    }
}

#[test]
fn reasons_of_pulls_that_the_registry_answers() {
    if installed("go").is_none() {
        skip!("Go, which builds the kubelet's client, is not in PATH");
    }
    let client = client();
    let daemon = Daemon::start();
    for (image, code) in [
        ("registry.holdfast.test/no/such/image:1", "NotFound"),
        ("registry.holdfast.test/bad/gzip:1", "DataLoss"),
        (
            "registry.holdfast.test/index/foreign:1",
            "FailedPrecondition",
        ),
    ] {
        let verdict = verdict(&client, &daemon, &["pull", image]);
        assert_eq!(verdict["reason"], "ErrImagePull", "{verdict}");
        assert_eq!(verdict["code"], code, "{verdict}");
    }
    // Volumes of images are judged by the message alone.
    daemon.pull(BUSYBOX);
    let pod = daemon.run_named("reasons");
    let absent = "registry.holdfast.test/never:1";
    for args in [
        vec!["volume", &pod.id, BUSYBOX, absent],
        vec!["volume", &pod.id, BUSYBOX, BUSYBOX, "no/such/directory"],
    ] {
        let verdict = verdict(&client, &daemon, &args);
        assert_eq!(verdict["reason"], "ImageVolumeMountFailed", "{verdict}");
    }
}
