//! The plugin `bridge` with addresses of `host-local`.

use e2e::cni::{Release, inside, start_with};
use e2e::daemon::Options;

use super::{By, Case, assert_equal, serve, served};

/// The configurations of `bridge` with `host-local` that are served.
const BRIDGES: &[Case] = &[
    Case::of(
        r#"{"type":"bridge","bridge":"cb0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES",
          "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],
          "ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/64"}]]}}"#,
        1,
    ),
    Case::of(
        r#"{"type":"bridge","bridge":"cb0","isDefaultGateway":true,"forceAddress":true,"mtu":1400,
          "hairpinMode":true,"ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/24",
          "rangeStart":"10.98.0.20","rangeEnd":"10.98.0.30","gateway":"10.98.0.25"}},{"type":"loopback"},
          {"type":"portmap","capabilities":{"portMappings":true},"snat":true},
          {"type":"bandwidth","capabilities":{"bandwidth":true}}"#,
        4,
    ),
    Case::of(
        r#"{"type":"bridge","bridge":"cb0","promiscMode":true,"dns":{"nameservers":["192.0.2.1"],"search":["a.b"]},
          "ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"192.0.2.0/24","gw":"10.98.0.1"}],
          "ranges":[[{"subnet":"10.98.0.0/30"},{"subnet":"10.98.1.0/30"}]]}}"#,
        1,
    ),
    Case::of(
        r#"{"type":"bridge","bridge":"cb0","isDefaultGateway":true,"portIsolation":true,"ipam":{"type":"host-local",
          "dataDir":"LEASES","ranges":[[{"subnet":"fd98::/64"}],[{"subnet":"10.98.0.0/16"}]]}}"#,
        1,
    ),
    // Prefixes that end within a byte. (With two sets of one family and ipMasq DEL of the programs fails: the second jump
    // keeps the chain.)
    Case::of(
        r#"{"type":"bridge","bridge":"cb0","ipMasq":true,"ipam":{"type":"host-local","dataDir":"LEASES",
          "ranges":[[{"subnet":"10.98.0.0/20"}],[{"subnet":"fd98::/60"}]]}}"#,
        1,
    ),
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
