//! Pulls over bad lines, and with every form of credentials.

use std::fs;
use std::thread;
use std::time::Duration;

use cri_api::runtime::v1::{AuthConfig, PullImageRequest};
use e2e::daemon::Options;
use e2e::proxy::{Line, Proxy};
use e2e::registry::{PASSWORD, Registry, USER};
use e2e::request::{self, BUSYBOX};
use e2e::{Daemon, call, fails, must, program};
use tonic::{Code, Status};

const LAYERS: &str = "registry.holdfast.test/layers/";

/// Writes where the test images are: mirrors in order, then the registry itself.
fn hosts(daemon: &Daemon, addresses: &[&str]) {
    let url = |address: &str| format!("http://{address}/v2/registry.holdfast.test");
    let (server, mirrors) = addresses.split_last().unwrap();
    let mut text = format!("server = \"{}\"\noverride_path = true\n", url(server));
    for mirror in mirrors {
        text += &format!("[host.\"{}\"]\n  override_path = true\n", url(mirror));
    }
    let dir = daemon.place.hosts().join("registry.holdfast.test");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), text).unwrap();
}

/// A daemon that reaches the registry over a bad line.
fn behind(line: Line, options: Options) -> (Daemon, Proxy) {
    let daemon = Daemon::with(options.without_registry());
    let proxy = Proxy::start(Registry::plain().address(), line);
    hosts(&daemon, &[&proxy.address()]);
    (daemon, proxy)
}

#[test]
fn a_download_that_breaks_is_resumed() {
    let line = Line::Breaks {
        connections: 3,
        after: 200_000,
    };
    let (daemon, proxy) = behind(line, Options::default());
    daemon.pull(BUSYBOX);
    let size = daemon.image(BUSYBOX).unwrap().size;
    assert!(size > 700_000, "{size}: too small for this test");
    assert!(proxy.connections() > 3, "{}", proxy.connections());
    // What came before a break did not come again.
    assert!(
        proxy.passed() < size + 200_000,
        "{} of {size}",
        proxy.passed()
    );
    daemon
        .run_named("resumed")
        .start(request::idle("c"))
        .sh("probe args");
}

#[test]
fn a_download_that_stalls_is_resumed() {
    let line = Line::Stalls {
        connections: 2,
        after: 300_000,
    };
    let options = Options::default().set("image.stall_timeout", "1s");
    let (daemon, proxy) = behind(line, options);
    daemon.pull(BUSYBOX);
    assert!(proxy.connections() > 2, "{}", proxy.connections());
}

#[test]
fn a_line_that_only_stalls_is_given_up() {
    let line = Line::Stalls {
        connections: u32::MAX,
        after: 20_000,
    };
    let options = Options::default().set("image.stall_timeout", "300ms");
    let (daemon, _proxy) = behind(line, options);
    let words = ["RegistryUnavailable", "sent nothing", "image.stall_timeout"];
    fails(daemon.try_pull(BUSYBOX), Code::Unknown, &words);
    assert!(daemon.images().is_empty());
}

/// A byte now and then is no progress (containerd#11650).
#[test]
fn a_download_below_the_floor_is_given_up() {
    let floor = |rate: &str| {
        Options::default()
            .set("image.min_download_rate", rate)
            .set("image.download_rate_window", "1s")
    };
    let (daemon, _proxy) = behind(Line::Slow(40_000), floor("200KiB"));
    let words = ["RegistryUnavailable", "image.min_download_rate"];
    fails(daemon.try_pull(BUSYBOX), Code::Unknown, &words);
    let (daemon, _proxy) = behind(Line::Slow(600_000), floor("1KiB"));
    daemon.pull(BUSYBOX);
}

#[test]
fn a_layer_of_two_pulls_at_once_comes_once() {
    // Slow enough for the two to meet.
    let (daemon, proxy) = behind(Line::Slow(1_000_000), Options::default());
    thread::scope(|scope| {
        for name in ["links", "whiteouts"] {
            let daemon = &daemon;
            scope.spawn(move || daemon.pull(&format!("{LAYERS}{name}:1")));
        }
    });
    let size = daemon.image(&format!("{LAYERS}links:1")).unwrap().size;
    assert!(
        proxy.passed() < size + size / 2,
        "{} of {size}",
        proxy.passed()
    );
}

#[test]
fn a_pull_goes_on_when_its_caller_goes_away() {
    let (daemon, _proxy) = behind(Line::Slow(1_000_000), Options::default());
    let mut request = tonic::Request::new(PullImageRequest {
        image: Some(request::image_spec(BUSYBOX)),
        ..PullImageRequest::default()
    });
    request.set_timeout(Duration::from_millis(100));
    let status = call(daemon.clients().images.pull_image(request)).unwrap_err();
    let codes = [Code::DeadlineExceeded, Code::Cancelled];
    assert!(codes.contains(&status.code()), "{status}");
    assert_eq!(daemon.image(BUSYBOX), None);
    call::until("the image to be there", Duration::from_secs(30), || {
        daemon.image(BUSYBOX)
    });
}

#[test]
fn a_pull_that_dies_with_the_daemon_leaves_nothing() {
    let (daemon, proxy) = behind(Line::Slow(400_000), Options::default());
    let entries = |name: &str| {
        let dir = daemon.place.root().join("images").join(name);
        fs::read_dir(dir).unwrap().count()
    };
    thread::scope(|scope| {
        scope.spawn(|| daemon.try_pull(BUSYBOX).unwrap_err());
        call::until("a layer to be under way", Duration::from_secs(20), || {
            (entries("staging") > 0 && proxy.passed() > 200_000).then_some(())
        });
        daemon.kill9();
    });
    assert!(entries("staging") > 0);
    daemon.restart();
    assert!(daemon.images().is_empty());
    call::until("the leftovers to be gone", Duration::from_secs(5), || {
        let left = entries("staging") + entries("layers") + entries("blobs") + entries("trash");
        (left == 0).then_some(())
    });
    daemon.pull(BUSYBOX);
}

fn pull_with(daemon: &Daemon, auth: AuthConfig) -> Result<String, Status> {
    let request = PullImageRequest {
        image: Some(request::image_spec(BUSYBOX)),
        auth: Some(auth),
        sandbox_config: None,
    };
    call(daemon.clients().images.pull_image(request)).map(|answer| answer.image_ref)
}

fn password() -> AuthConfig {
    AuthConfig {
        username: USER.into(),
        password: PASSWORD.into(),
        ..AuthConfig::default()
    }
}

/// A token from the token server, as `docker login` and credential helpers get theirs.
fn token(field: &str) -> String {
    let script = "import base64, json, sys, urllib.request\n\
                  url, user, field = sys.argv[1:]\n\
                  query = '?service=holdfast-test&offline_token=true&scope=repository:registry.holdfast.test/busybox:pull'\n\
                  request = urllib.request.Request(url + query)\n\
                  request.add_header('Authorization', 'Basic ' + base64.b64encode(user.encode()).decode())\n\
                  sys.stdout.write(json.load(urllib.request.urlopen(request))[field])";
    let url = Registry::token().token_url();
    let user = format!("{USER}:{PASSWORD}");
    program::run("python3", ["-c", script, &url, &user, field]).ok()
}

#[test]
fn pulls_with_a_refresh_token() {
    let (registry, _turn) = Registry::token_alone();
    let daemon = Daemon::with(Options::default().registry(registry));
    let identity = |token: String| AuthConfig {
        identity_token: token,
        ..AuthConfig::default()
    };
    let refused = pull_with(&daemon, identity("wrong-token".to_owned()));
    let text = fails(refused, Code::PermissionDenied, &["credentials"]);
    assert!(!text.contains("wrong-token"), "{text}");
    let refresh = token("refresh_token");
    must("pull", pull_with(&daemon, identity(refresh.clone())));
    assert!(!daemon.log().contains(&refresh), "the token is in the log");
}

#[test]
fn pulls_with_a_bearer_token() {
    let (registry, _turn) = Registry::token_alone();
    let daemon = Daemon::with(Options::default().registry(registry));
    let bearer = |token: String| AuthConfig {
        registry_token: token,
        ..AuthConfig::default()
    };
    let refused = pull_with(&daemon, bearer("wrong-token".to_owned()));
    let text = fails(refused, Code::PermissionDenied, &["credentials"]);
    assert!(!text.contains("wrong-token"), "{text}");
    let token = token("token");
    must("pull", pull_with(&daemon, bearer(token.clone())));
    assert!(!daemon.log().contains(&token), "the token is in the log");
}

#[test]
fn credentials_of_another_server_are_not_used() {
    let daemon = Daemon::with(Options::default().registry(Registry::basic()));
    let for_server = |address: &str| AuthConfig {
        server_address: address.to_owned(),
        ..password()
    };
    let elsewhere = pull_with(&daemon, for_server("https://elsewhere.test/v1/"));
    fails(elsewhere, Code::PermissionDenied, &["credentials"]);
    must(
        "pull",
        pull_with(&daemon, for_server("registry.holdfast.test")),
    );
}

/// Both registries would take the credentials; they are shown to the one that the image names only.
#[test]
fn a_mirror_does_not_get_the_credentials_of_the_registry() {
    let daemon = Daemon::with(Options::default().without_registry());
    let mirror = Proxy::start(Registry::basic().address(), Line::Good);
    let registry = Proxy::start(Registry::basic().address(), Line::Good);
    hosts(&daemon, &[&mirror.address(), &registry.address()]);
    must("pull", pull_with(&daemon, password()));
    assert!(
        mirror.asked().contains("get /v2/"),
        "the mirror was not asked"
    );
    assert!(
        !mirror.asked().contains("authorization:"),
        "{}",
        mirror.asked()
    );
    assert!(registry.asked().contains("authorization:"));
}

#[test]
fn a_header_of_the_hosts_file_authenticates() {
    let daemon = Daemon::with(Options::default().without_registry());
    let url = format!(
        "http://{}/v2/registry.holdfast.test",
        Registry::basic().address()
    );
    let basic = program::sh(&format!("printf {USER}:{PASSWORD} | base64 -w0"));
    let dir = daemon.place.hosts().join("registry.holdfast.test");
    fs::create_dir_all(&dir).unwrap();
    let text = format!(
        "server = \"{url}\"\noverride_path = true\n[header]\n  authorization = \"Basic {basic}\"\n"
    );
    fs::write(dir.join("hosts.toml"), text).unwrap();
    daemon.pull(BUSYBOX);
    assert!(!daemon.log().contains(&basic), "the header is in the log");
}
