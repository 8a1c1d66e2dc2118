//! The chains, maps and rules of a bridge's table.

use super::expression::{Compare, Family, Interface, Rule, Side, Verdict};
use super::ports::{MAPS, push_map};
use super::transaction::{DELETE_RULE, INET, NEW_CHAIN, NEW_RULE, nfgen};
use crate::link::octets;
use crate::netlink::{Batch, Flags};
use crate::subnet::Subnet;

/// Where packets pass: NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT and NF_INET_POST_ROUTING.
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Priorities: NF_IP_PRI_RAW is before connection tracking, which makes answers to translated connections out
/// of packets; then NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
const RAW: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;

/// A chain: its name, and its type, hook and priority when packets come to it by themselves.
type Chain = (&'static str, Option<(&'static str, u32, i32)>);

const CHAINS: [Chain; 5] = [
    ("guard", Some(("filter", PREROUTING, RAW))),
    ("ports", None),
    ("prerouting", Some(("nat", PREROUTING, DESTINATION_NAT))),
    ("output", Some(("nat", OUTPUT, DESTINATION_NAT))),
    ("postrouting", Some(("nat", POSTROUTING, SOURCE_NAT))),
];

/// Makes chains and maps as far as they are missing, and the rules anew.
pub(super) fn push(batch: &mut Batch, table: &str, bridge: &str, subnets: &[Subnet]) {
    for chain in CHAINS {
        push_chain(batch, table, chain);
    }
    for (number, map) in MAPS.iter().enumerate() {
        push_map(batch, table, (number, map));
    }
    let mut add = |chain: &str, fill: &dyn Fn(&mut Rule<'_, '_>)| {
        push_rule(batch, (table, chain), fill);
    };
    add("guard", &|rule| {
        rule.interface(Interface::In, Compare::Equal, bridge);
        rule.family(Family::V4);
        rule.in_network(Family::V4, Side::Destination, LOOPBACK4);
        rule.verdict(Verdict::Drop);
    });
    for chain in ["prerouting", "output"] {
        add(chain, &|rule| {
            rule.local_destination();
            rule.verdict(Verdict::Jump("ports"));
        });
    }
    add("ports", &|rule| {
        // The kernel sends nothing from ::1 to another interface: a refused connection is better than a lost
        // one.
        rule.family(Family::V6);
        rule.in_network(Family::V6, Side::Destination, LOOPBACK6);
        rule.verdict(Verdict::Return);
    });
    for (name, family, keys) in MAPS {
        add("ports", &|rule| {
            rule.family(family);
            rule.translate_destination(name, family, keys);
        });
    }
    for subnet in subnets {
        let (family, network) = (family_of(subnet), octets(subnet.network()));
        let from_pods = |rule: &mut Rule<'_, '_>| {
            rule.family(family);
            rule.in_network(family, Side::Source, (&network, subnet.prefix()));
        };
        add("postrouting", &|rule| {
            from_pods(rule);
            rule.interface(Interface::Out, Compare::Different, bridge);
            rule.masquerade();
        });
        // The answer of the other pod, or of the pod itself, would not come back through the host.
        add("postrouting", &|rule| {
            from_pods(rule);
            rule.interface(Interface::Out, Compare::Equal, bridge);
            rule.is_destination_translated();
            rule.masquerade();
        });
    }
    add("postrouting", &|rule| {
        rule.family(Family::V4);
        rule.in_network(Family::V4, Side::Source, LOOPBACK4);
        rule.interface(Interface::Out, Compare::Equal, bridge);
        rule.masquerade();
    });
}

const LOOPBACK4: (&[u8], u8) = (&[127, 0, 0, 0], 8);
const LOOPBACK6: (&[u8], u8) = (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 128);

fn family_of(subnet: &Subnet) -> Family {
    if subnet.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    }
}

/// Makes a chain unless it is there, and empties it.
fn push_chain(batch: &mut Batch, table: &str, (name, base): Chain) {
    batch.push(
        (NEW_CHAIN, Flags::Create),
        ("create nf_tables chain", &format!("{table} {name}")),
        &nfgen(INET, 0),
        |chain| {
            chain.string(1, table);
            chain.string(3, name);
            if let Some((kind, hook, priority)) = base {
                chain.nest(4, &[], |place| {
                    place.u32_be(1, hook);
                    place.u32_be(2, priority.cast_unsigned());
                });
                chain.string(7, kind);
            }
        },
    );
    batch.push(
        (DELETE_RULE, Flags::Plain),
        ("empty nf_tables chain", &format!("{table} {name}")),
        &nfgen(INET, 0),
        |rules| {
            rules.string(1, table);
            rules.string(2, name);
        },
    );
}

fn push_rule(batch: &mut Batch, (table, chain): (&str, &str), fill: &dyn Fn(&mut Rule<'_, '_>)) {
    batch.push(
        (NEW_RULE, Flags::Append),
        ("add a rule to nf_tables chain", &format!("{table} {chain}")),
        &nfgen(INET, 0),
        |rule| {
            rule.string(1, table);
            rule.string(2, chain);
            rule.nest(4, &[], |list| fill(&mut Rule(list)));
        },
    );
}
