//! Images that cannot be had: each failure has its code and its words, and leaves nothing.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cri_api::runtime::v1::{ImageStatusRequest, PullImageRequest};
use e2e::daemon::Options;
use e2e::leaks::Snapshot;
use e2e::registry::Registry;
use e2e::request::BUSYBOX;
use e2e::{Daemon, call, fails};
use tonic::Code;

const BAD: &str = "registry.holdfast.test/bad/";

/// A pull that fails, after which the disk is as before.
fn refused(daemon: &Daemon, image: &str, code: Code, words: &[&str]) {
    let before = Snapshot::take(&daemon.place);
    let text = fails(daemon.try_pull(image), code, words);
    assert!(
        text.contains(image.split('@').next().unwrap()),
        "the image is not named: {text}"
    );
    assert_eq!(daemon.image(image), None, "{image}");
    call::until(
        &format!("nothing left of {image}"),
        Duration::from_secs(5),
        || {
            let left = before.difference(&Snapshot::take(&daemon.place));
            left.is_empty().then_some(())
        },
    );
}

#[test]
fn corrupt_layers_are_refused() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    refused(&daemon, &format!("{BAD}gzip:1"), Code::DataLoss, &["layer"]);
    refused(&daemon, &format!("{BAD}tar:1"), Code::DataLoss, &["layer"]);
    refused(
        &daemon,
        &format!("{BAD}truncated:1"),
        Code::DataLoss,
        &["layer"],
    );
    refused(
        &daemon,
        &format!("{BAD}short-tar:1"),
        Code::DataLoss,
        &["layer"],
    );
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    refused(
        &daemon,
        &format!("{BAD}digest:1"),
        Code::DataLoss,
        &["sha256:"],
    );
    refused(
        &daemon,
        &format!("{BAD}diff-id:1"),
        Code::DataLoss,
        &["diff id", "sha256:"],
    );
    // From the registry itself: where a mirror is asked first, the last host's answer decides.
    let direct = format!("{}/{BAD}size:1", Registry::plain().address());
    refused(
        &daemon,
        &direct,
        Code::DataLoss,
        &["shorter than the manifest says"],
    );
}

#[test]
fn broken_documents_are_refused() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    refused(
        &daemon,
        &format!("{BAD}config:1"),
        Code::DataLoss,
        &["config"],
    );
    refused(
        &daemon,
        &format!("{BAD}layers:1"),
        Code::DataLoss,
        &["layers"],
    );
}

#[test]
fn what_the_registry_does_not_have_is_not_found() {
    let daemon = Daemon::start();
    daemon.pull(BUSYBOX);
    refused(
        &daemon,
        "registry.holdfast.test/no/such/image:1",
        Code::NotFound,
        &[],
    );
    refused(
        &daemon,
        "registry.holdfast.test/busybox:no-such-tag",
        Code::NotFound,
        &["no-such-tag"],
    );
    let digest = format!("registry.holdfast.test/busybox@sha256:{}", "0".repeat(64));
    refused(&daemon, &digest, Code::NotFound, &["0000"]);
    refused(
        &daemon,
        &format!("{BAD}missing:1"),
        Code::NotFound,
        &["sha256:"],
    );
}

#[test]
fn another_machines_image_is_refused_by_its_architecture() {
    let daemon = Daemon::start();
    refused(
        &daemon,
        "registry.holdfast.test/index/foreign:1",
        Code::FailedPrecondition,
        &["linux/"],
    );
}

#[test]
fn references_that_are_none_are_invalid() {
    let daemon = Daemon::start();
    let long = format!("registry.holdfast.test/{}", "x".repeat(5000));
    let cases = [
        "",
        " ",
        "a/UPPER",
        "a//b",
        "../../etc",
        "-x",
        "x:",
        "x@sha256:12",
        "x@md5:00",
        "a b",
        "registry.holdfast.test/busybox:t\u{e4}g",
        "http://registry.holdfast.test/busybox",
        &long,
    ];
    for name in cases {
        fails(daemon.try_pull(name), Code::InvalidArgument, &[]);
    }
    let none = PullImageRequest::default();
    fails(
        call(daemon.clients().images.pull_image(none)),
        Code::InvalidArgument,
        &["image"],
    );
    let none = ImageStatusRequest::default();
    fails(
        call(daemon.clients().images.image_status(none)),
        Code::InvalidArgument,
        &["image"],
    );
    assert!(daemon.images().is_empty());
}

fn hosts(daemon: &Daemon, text: &str) {
    let dir = daemon.place.hosts().join("registry.holdfast.test");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), text).unwrap();
}

#[test]
fn an_unreachable_registry_is_unavailable() {
    let daemon = Daemon::with(Options::default().without_registry());
    hosts(&daemon, "server = \"http://127.0.0.1:1\"\n");
    refused(
        &daemon,
        BUSYBOX,
        Code::Unknown,
        &["RegistryUnavailable", "127.0.0.1:1"],
    );
    // A registry that takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    hosts(
        &daemon,
        &format!("server = \"http://{}\"\n", silent.local_addr().unwrap()),
    );
    let patient = Options::default()
        .without_registry()
        .set("image.stall_timeout", "1s");
    let other = Daemon::with(patient);
    hosts(
        &other,
        &format!("server = \"http://{}\"\n", silent.local_addr().unwrap()),
    );
    let start = Instant::now();
    refused(&other, BUSYBOX, Code::Unknown, &["RegistryUnavailable"]);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused() {
    let daemon = Daemon::with(Options::default().without_registry());
    let address = Registry::tls().address();
    hosts(
        &daemon,
        &format!("server = \"https://{address}/v2/registry.holdfast.test\"\n"),
    );
    let status = daemon.try_pull(BUSYBOX).unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
    assert!(
        status.message().to_lowercase().contains("certificate"),
        "{status}"
    );
}

#[test]
fn a_broken_hosts_file_is_named() {
    let daemon = Daemon::with(Options::default().without_registry());
    hosts(&daemon, "server = 5\nnonsense [\n");
    let status = daemon.try_pull(BUSYBOX).unwrap_err();
    assert!(status.message().contains("hosts.toml"), "{status}");
}

#[test]
fn after_failures_the_good_image_is_pulled() {
    let daemon = Daemon::with(Options::default().without_registry());
    hosts(&daemon, "server = \"http://127.0.0.1:1\"\n");
    assert!(daemon.try_pull(BUSYBOX).is_err());
    Registry::plain().write_hosts(&daemon.place.hosts());
    daemon.pull(BUSYBOX);
}

#[test]
fn a_container_of_an_image_that_is_not_there_is_refused() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("absent");
    let config = e2e::request::container("c", "registry.holdfast.test/never/pulled:1", &["true"]);
    fails(
        daemon.try_create(&pod.id, &pod.config, &config),
        Code::NotFound,
        &["never/pulled", "pull"],
    );
}
