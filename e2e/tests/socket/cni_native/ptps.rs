//! The plugin `ptp` with IPv4 addresses of `host-local`.

use e2e::cni::{Release, inside, start_with};
use e2e::daemon::Options;

use super::{By, Case, assert_equal, serve, served};

const PTPS: &[Case] = &[
    Case {
        ports: &[(18080, 80, 0, ""), (18081, 81, 1, "")],
        ..Case::of(
            r#"{"type":"ptp","ipMasq":true,"mtu":1400,"dns":{"nameservers":["192.0.2.1"],"search":["a.b"]},
              "ipam":{"type":"host-local","dataDir":"LEASES","subnet":"10.98.0.0/20",
              "routes":[{"dst":"0.0.0.0/0"},{"dst":"192.0.2.0/24","gw":"10.98.0.1"}]}},
              {"type":"portmap","capabilities":{"portMappings":true}}"#,
            2,
        )
    },
    Case::of(
        r#"{"type":"ptp","dns":{},"ipam":{"type":"host-local","dataDir":"LEASES",
          "ranges":[[{"subnet":"10.98.0.0/30"},{"subnet":"10.98.1.0/24","gateway":"10.98.1.254"}]]}}"#,
        1,
    ),
];

#[test]
fn ptps_of_debian() {
    assert_equal(Release::Debian, &["0.3.1", "1.0.0"], PTPS);
}

#[test]
fn ptps_of_today() {
    assert_equal(Release::Built, &["0.4.0", "1.1.0"], PTPS);
}

/// IPv6 is not served, with whichever else it comes.
#[test]
fn ptps_that_go_to_the_program() {
    let (daemon, plugins) = start_with(Release::Built, "cni", Options::default());
    serve(&daemon, By::Daemon);
    for ranges in [
        r#"[[{"subnet":"fd98::/64"}]]"#,
        r#"[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/64"}]]"#,
    ] {
        let list = format!(
            r#"{{"cniVersion":"1.0.0","name":"net","plugins":[{{"type":"ptp",
              "ipam":{{"type":"host-local","dataDir":"LEASES","ranges":{ranges}}}}}]}}"#
        );
        plugins.configure("10-net.conflist", &list);
        let pod = daemon.run_named("other");
        assert_eq!(served(&daemon, &pod.id, "ADD"), 0, "{list}");
        pod.remove();
        assert!(plugins.leased().is_empty(), "{list}");
        let _ = inside(&daemon, "nft flush ruleset");
    }
}
