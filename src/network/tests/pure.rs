use std::collections::HashSet;
use std::net::IpAddr;

use super::super::ipam::{Ipam, IpamError};
use super::super::netns::{self, NetnsName};
use super::super::subnet::{Subnet, SubnetError};
use super::super::{BridgeNetwork, BridgeSettings, NetworkError, names};
use holdfast_disk::Dir;

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn ipam(dir: &tempfile::TempDir, subnets: &[&str]) -> Ipam {
    let subnets: Vec<Subnet> = subnets.iter().map(|text| subnet(text)).collect();
    Ipam::open(Dir::open_root(dir.path()).unwrap(), &subnets).unwrap()
}

fn ips(ipam: &Ipam, owner: &str) -> Vec<String> {
    let leases = ipam.lease(owner).unwrap();
    leases
        .iter()
        .map(|(address, _)| address.to_string())
        .collect()
}

#[test]
fn subnets_are_parsed_and_refused_with_a_remedy() {
    assert_eq!(subnet("10.88.0.0/16").gateway().to_string(), "10.88.0.1");
    assert_eq!(
        subnet("10.88.0.0/16").broadcast().unwrap().to_string(),
        "10.88.255.255"
    );
    assert_eq!(subnet("fd00::/64").gateway().to_string(), "fd00::1");
    assert_eq!(subnet("0.0.0.0/0").offsets().start, 2);
    assert_eq!(subnet("::/0").offsets().start, 2);
    for bad in [
        "",
        "10.0.0.0",
        "10.0.0.0/33",
        "x/8",
        "10.0.0.0/-1",
        "fd00::/129",
    ] {
        assert!(
            matches!(bad.parse::<Subnet>(), Err(SubnetError::Malformed(_))),
            "{bad}"
        );
    }
    assert!(matches!(
        "10.0.0.0/31".parse::<Subnet>(),
        Err(SubnetError::TooSmall(_))
    ));
    let error = "10.0.0.7/24".parse::<Subnet>().unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/24"), "{error}");
}

#[test]
fn network_gateway_and_broadcast_are_never_leased() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = ipam(&dir, &["10.0.0.0/29", "fd00::/125"]);
    let mut given = HashSet::new();
    for number in 0..5 {
        for address in ips(&ipam, &format!("pod{number}")) {
            assert!(given.insert(address));
        }
    }
    for never in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "fd00::", "fd00::1"] {
        assert!(!given.contains(never), "{never} was leased");
    }
    let full = ipam.lease("pod5").unwrap_err();
    assert!(
        matches!(full, IpamError::Exhausted { leased: 5, .. }),
        "{full:?}"
    );
    assert!(full.to_string().contains("10.0.0.0/29") && full.to_string().contains("larger"));
    assert!(ipam.addresses("pod5").is_empty());
}

#[test]
fn an_exhausted_second_subnet_gives_the_first_address_back() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = ipam(&dir, &["10.0.0.0/24", "fd00::/126"]);
    ips(&ipam, "a");
    ips(&ipam, "b");
    assert!(ipam.lease("c").is_err());
    assert!(ipam.addresses("c").is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn leases_repeat_survive_and_go_round() {
    let dir = tempfile::tempdir().unwrap();
    let first = ipam(&dir, &["10.0.0.0/24", "fd00::/64"]);
    assert_eq!(ips(&first, "a"), ["10.0.0.2", "fd00::2"]);
    assert_eq!(ips(&first, "a"), ["10.0.0.2", "fd00::2"]);
    assert_eq!(ips(&first, "b"), ["10.0.0.3", "fd00::3"]);
    first.release("a").unwrap();
    first.release("a").unwrap();
    // A freed address comes back last.
    assert_eq!(ips(&first, "c"), ["10.0.0.4", "fd00::4"]);
    drop(first);
    let second = ipam(&dir, &["10.0.0.0/24", "fd00::/64"]);
    assert_eq!(ips(&second, "b"), ["10.0.0.3", "fd00::3"]);
    assert_eq!(ips(&second, "d"), ["10.0.0.5", "fd00::5"]);
    assert_eq!(second.reconcile(&["b"].into()).unwrap(), 4);
    assert!(second.addresses("c").is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn foreign_files_and_old_subnets_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    for (name, owner) in [("README", "x"), ("192.168.0.9", "old"), ("10.0.0.2", "")] {
        let file = std::fs::File::create(dir.path().join(name)).unwrap();
        std::io::Write::write_all(&mut &file, owner.as_bytes()).unwrap();
    }
    let ipam = ipam(&dir, &["10.0.0.0/24"]);
    assert_eq!(ips(&ipam, "old"), ["10.0.0.3"]);
    ipam.release("old").unwrap();
    assert!(!dir.path().join("192.168.0.9").exists());
    // A lease that was cut short belongs to nobody and is freed.
    assert_eq!(ipam.reconcile(&HashSet::new()).unwrap(), 1);
    assert!(dir.path().join("README").exists());
    for bad in ["", "a b", "a\n", &"x".repeat(257)] {
        assert!(matches!(ipam.lease(bad), Err(IpamError::Owner)), "{bad:?}");
    }
}

#[test]
fn a_big_subnet_is_used_to_the_last_address_without_long_searches() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let ipam = ipam(&dir, &["10.0.0.0/20"]);
    let started = std::time::Instant::now();
    let mut given: HashSet<IpAddr> = HashSet::new();
    for number in 0..4093 {
        given.insert(ipam.lease(&format!("pod{number}")).unwrap()[0].0);
    }
    assert_eq!(given.len(), 4093);
    assert!(ipam.lease("one more").is_err());
    ipam.release("pod7").unwrap();
    assert_eq!(ips(&ipam, "again"), ["10.0.0.9"]);
    println!("4093 leases in {:?}", started.elapsed());
}

#[test]
fn names_are_short_distinct_and_stable() {
    let one = names::host_interface("hf0", "pod-a");
    assert_eq!(one.len(), names::NAME_MAX);
    assert!(names::is_interface_name(&one));
    assert_eq!(one, names::host_interface("hf0", "pod-a"));
    assert_ne!(one, names::host_interface("hf0", "pod-b"));
    assert_ne!(one, names::host_interface("hf1", "pod-a"));
    assert!(one.starts_with(&names::host_prefix("hf0")));
    let all: HashSet<String> = (0..20_000)
        .map(|number| names::host_interface("hf0", &format!("{number:064x}")))
        .collect();
    assert_eq!(all.len(), 20_000);
    for bad in ["", "a/b", "..", "-x", "lo", "sixteen-letters!", "a b"] {
        assert!(!names::is_interface_name(bad), "{bad:?}");
    }
    let mac = names::mac_of("10.0.0.2");
    assert_eq!(mac[0] & 3, 2, "locally administered, unicast");
}

#[test]
fn wrong_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let right = BridgeSettings {
        name: "hf0".to_owned(),
        subnet4: Some(subnet("10.0.0.0/24")),
        subnet6: None,
        mtu: None,
        state_dir: dir.path().join("leases"),
        netns_dir: dir.path().join("netns"),
    };
    let wrong = [
        BridgeSettings {
            name: "a/b".to_owned(),
            ..right.clone()
        },
        BridgeSettings {
            subnet4: None,
            ..right.clone()
        },
        BridgeSettings {
            subnet6: Some(subnet("10.0.0.0/24")),
            ..right.clone()
        },
        BridgeSettings {
            mtu: Some(100),
            ..right
        },
    ];
    for settings in wrong {
        let refused = BridgeNetwork::new(settings);
        assert!(
            matches!(refused, Err(NetworkError::Settings { .. })),
            "{refused:?}"
        );
    }
    assert!(!dir.path().join("leases").exists());
}

#[test]
fn pin_names_are_plain() {
    for bad in ["", "a/b", "..", ".hidden", "a b", &"x".repeat(256)] {
        assert!(NetnsName::new(bad).is_err(), "{bad:?}");
    }
    assert!(
        netns::list(std::path::Path::new("/no/such/dir"), "x")
            .unwrap()
            .is_empty()
    );
}
