//! The plugin `loopback`, and which configurations are served at all.

use std::fs;

use e2e::cni::{Release, start_with};
use e2e::daemon::Options;

use super::{By, Case, assert_equal, serve, served};

/// The plugin `loopback` before and after another one.
const LOOPBACK: &[Case] = &[Case::of(
    r#"{"type":"loopback"},{"type":"ptp","ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/24"}},
      {"type":"loopback"}"#,
    3,
)];

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
