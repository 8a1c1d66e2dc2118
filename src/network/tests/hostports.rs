use std::net::IpAddr;

use super::super::hostport::{HostPort, HostPortError, PortBook, Protocol};

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn port(host_ip: &str, host_port: u16, pod_port: u16) -> HostPort {
    HostPort {
        protocol: Protocol::Tcp,
        host_ip: (!host_ip.is_empty()).then(|| host_ip.parse().unwrap()),
        host_port,
        pod_port,
    }
}

fn taken(outcome: Result<Vec<super::super::hostport::PortMapping>, HostPortError>) -> String {
    match outcome {
        Err(HostPortError::Taken { owner, .. }) => owner,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_port_of_all_addresses_is_one_of_each_family() {
    let mut book = PortBook::default();
    let mapping = book
        .enter("a", &ips(&["10.0.0.2", "fd00::2"]), &[port("", 80, 8080)])
        .unwrap();
    let mapping: Vec<String> = mapping.iter().map(ToString::to_string).collect();
    assert_eq!(
        mapping,
        [
            "tcp 0.0.0.0 port 80 to 10.0.0.2:8080",
            "tcp :: port 80 to [fd00::2]:8080"
        ]
    );
    let only4 = book
        .enter("b", &ips(&["10.0.0.3"]), &[port("", 81, 80)])
        .unwrap();
    assert_eq!(only4.len(), 1);
    let refused = book.enter("c", &ips(&["10.0.0.4"]), &[port("::1", 82, 80)]);
    assert!(
        matches!(refused, Err(HostPortError::Family { port: 82, .. })),
        "{refused:?}"
    );
}

#[test]
fn all_addresses_exclude_each_one_and_the_other_way_round() {
    let mut book = PortBook::default();
    let here = ips(&["10.0.0.2", "fd00::2"]);
    book.enter("one", &here, &[port("192.0.2.1", 80, 80)])
        .unwrap();
    book.enter("all", &here, &[port("", 81, 80)]).unwrap();
    assert_eq!(taken(book.enter("x", &here, &[port("", 80, 80)])), "one");
    assert_eq!(
        taken(book.enter("x", &here, &[port("0.0.0.0", 80, 80)])),
        "one"
    );
    assert_eq!(
        taken(book.enter("x", &here, &[port("192.0.2.1", 81, 80)])),
        "all"
    );
    assert_eq!(taken(book.enter("x", &here, &[port("::1", 81, 80)])), "all");
    // Another address, family or protocol is another port; a refused pod has taken nothing.
    book.enter("x", &here, &[port("192.0.2.2", 80, 80), port("::", 80, 80)])
        .unwrap();
    let udp = HostPort {
        protocol: Protocol::Udp,
        ..port("", 81, 80)
    };
    book.enter("y", &here, &[udp]).unwrap();
    assert_eq!(book.remove("all").len(), 2);
    book.enter("z", &here, &[port("", 81, 80)]).unwrap();
}

#[test]
fn a_pod_may_repeat_itself_but_not_contradict() {
    let mut book = PortBook::default();
    let here = ips(&["10.0.0.2"]);
    let same = [port("", 80, 80), port("", 80, 80)];
    assert_eq!(book.enter("a", &here, &same).unwrap().len(), 1);
    assert_eq!(book.enter("a", &here, &same).unwrap().len(), 1);
    assert_eq!(book.all_mappings().len(), 1);
    let twice = book.enter("b", &here, &[port("", 81, 80), port("", 81, 81)]);
    assert!(
        matches!(twice, Err(HostPortError::Twice { port: 81, .. })),
        "{twice:?}"
    );
    // One address of it may lead elsewhere: the kernel looks at that first.
    book.enter("b", &here, &[port("", 81, 80), port("127.0.0.1", 81, 81)])
        .unwrap();
    assert!(book.mappings_of_owner("c").is_empty() && book.remove("c").is_empty());
}

#[test]
fn pods_released_before_the_book_was_filled_are_remembered_until_then() {
    let mut book = PortBook::default();
    book.note_release("early");
    assert!(book.begin_filling().contains("early"));
    book.note_release("late");
    assert!(book.begin_filling().is_empty());
}
