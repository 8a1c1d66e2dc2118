//! Ports of the host that lead to a pod, as the plugin `portmap` asks `iptables` for them.
//!
//! ```text
//!   PREROUTING, OUTPUT     destination is local ─▶ CNI-HOSTPORT-DNAT
//!   CNI-HOSTPORT-DNAT      one of the pod's ports ─▶ the pod's chain
//!   the pod's chain        from the pod's network or 127.0.0.1 ─▶ CNI-HOSTPORT-SETMARK
//!                          port ─▶ DNAT
//!   POSTROUTING            ─▶ CNI-HOSTPORT-MASQ: masquerades what is marked
//! ```
//!
//! The rules of the shared chains are looked for before each addition, because anybody may have removed them. They are
//! known by their numbers, so that this costs the same however many rules there are beside them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::chain::{self, Base, Masked, Socket, family_of, handle, numbered, rules, table_family};
use super::form::{Form, form};
use super::rule::{MULTIPORTS, masked, push_rule};
use crate::hostport::{HostPort, Protocol};
use crate::netlink::{Batch, Flags, NetlinkError};
use crate::nft::expression::{Compare, Family, Rule, Side};
use crate::nft::transaction::{commit_by, start};

/// The chain that leads to those of pods.
pub(crate) const TO_PODS: &str = "CNI-HOSTPORT-DNAT";
/// The chain that marks what has to be masqueraded, and the one that masquerades what is marked.
const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";

/// How packets are masqueraded that would not find back: the pod's own, and the host's to 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark<'a> {
    /// A bit of the mark, 0 to 31.
    Bit(u8),
    /// Somebody else's chain marks and masquerades them.
    Chain(&'a str),
}

/// The rules for one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortRules<'a> {
    /// The pod's own chain.
    pub(crate) chain: &'a str,
    /// The comment that `iptables-save` shows beside the rules that lead to the port; 255 bytes at most.
    pub(crate) comment: &'a str,
    pub(crate) ports: &'a [HostPort],
    pub(crate) mark: Option<Mark<'a>>,
    /// Everything that comes by these ports is masqueraded.
    pub(crate) masquerades_all: bool,
}

/// The rules that all pods share, by the numbers that the kernel gave them.
#[derive(Debug, Default)]
pub(crate) struct SharedRules(HashMap<(u8, SharedRule), u64>);

/// A rule that all pods share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SharedRule {
    SetMark(u8),
    Masquerade(u8),
    Postrouting,
    Prerouting,
    Output,
}

/// A rule of a pod's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OwnRule<'a> {
    protocol: Protocol,
    port: u16,
    from: Option<Masked>,
    at: Option<IpAddr>,
    does: Does<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does<'a> {
    Jump(&'a str),
    Lead(SocketAddr),
}

impl SharedRule {
    fn chain(self) -> &'static str {
        match self {
            SharedRule::SetMark(_) => SET_MARK,
            SharedRule::Masquerade(_) => MASQUERADE,
            SharedRule::Postrouting => Base::Postrouting.name(),
            SharedRule::Prerouting => Base::Prerouting.name(),
            SharedRule::Output => Base::Output.name(),
        }
    }

    fn push(self, batch: &mut Batch, family: Family) {
        let flags = match self {
            // Before the masquerading of pods' networks, which accepts what goes to a pod.
            SharedRule::Postrouting => Flags::Create,
            _ => Flags::Append,
        };
        push_rule(batch, (family, None), (self.chain(), flags), &|rule| {
            self.fill(rule, family);
        });
    }

    fn fill(self, rule: &mut Rule<'_, '_>, family: Family) {
        let bits = |bit: u8| 1_u32.checked_shl(u32::from(bit)).unwrap_or(0);
        match self {
            SharedRule::SetMark(bit) => {
                rule.comment("CNI portfwd masquerade mark");
                rule.counter();
                rule.mark_target(bits(bit));
            }
            SharedRule::Masquerade(bit) => {
                rule.marked(bits(bit));
                rule.counter();
                rule.masquerade_target(family);
            }
            SharedRule::Postrouting => {
                rule.comment("CNI portfwd requiring masquerade");
                rule.counter();
                rule.jump(MASQUERADE);
            }
            SharedRule::Prerouting | SharedRule::Output => {
                rule.local_destination_type();
                rule.counter();
                rule.jump(TO_PODS);
            }
        }
    }
}

impl SharedRules {
    /// Whether a rule is there. One that was seen before is asked for by its number.
    fn has(
        &mut self,
        socket: &mut Socket,
        family: Family,
        wanted: SharedRule,
    ) -> Result<bool, NetlinkError> {
        let mut batch = Batch::new();
        wanted.push(&mut batch, family);
        let wanted_form = form(batch.bytes_of(0));
        let is_it = |message: &Vec<u8>| form(message) == wanted_form;
        let (key, chain) = ((table_family(family), wanted), wanted.chain());
        if let Some(number) = self.0.get(&key)
            && numbered(socket, family, (chain, *number))?
                .iter()
                .any(is_it)
        {
            return Ok(true);
        }
        let all = rules(socket, family, chain)?;
        let found = all.iter().find(|message| is_it(message));
        match found.and_then(|message| handle(message)) {
            Some(number) => _ = self.0.insert(key, number),
            None => _ = self.0.remove(&key),
        }
        Ok(found.is_some())
    }
}

impl PortRules<'_> {
    /// Adds the rules for one address, and gives the numbers of those that lead to the pod's chain, which must not exist
    /// in the address' family.
    ///
    /// # Errors
    /// [`NetlinkError`]; nothing is added then.
    pub(crate) fn add(
        &self,
        socket: &mut Socket,
        pod: Masked,
        known: &mut SharedRules,
    ) -> Result<Vec<u64>, NetlinkError> {
        let family = family_of(pod.0);
        let mut batch = start();
        let mut push = |batch: &mut Batch, wanted: SharedRule| -> Result<(), NetlinkError> {
            if !known.has(socket, family, wanted)? {
                wanted.push(batch, family);
            }
            Ok(())
        };
        // In the order in which the program makes them, which is that of lists.
        chain::push_table(&mut batch, family);
        if let Some(Mark::Bit(bit)) = self.mark {
            chain::push_chain(&mut batch, family, SET_MARK);
            push(&mut batch, SharedRule::SetMark(bit))?;
            chain::push_chain(&mut batch, family, MASQUERADE);
            push(&mut batch, SharedRule::Masquerade(bit))?;
            chain::push_base(&mut batch, family, Base::Postrouting);
            push(&mut batch, SharedRule::Postrouting)?;
        }
        chain::push_chain(&mut batch, family, TO_PODS);
        chain::push_base(&mut batch, family, Base::Prerouting);
        push(&mut batch, SharedRule::Prerouting)?;
        chain::push_base(&mut batch, family, Base::Output);
        push(&mut batch, SharedRule::Output)?;
        chain::push_chain(&mut batch, family, self.chain);
        for rule in self.own(pod) {
            self.push_own(&mut batch, family, rule);
        }
        self.push_jumps(&mut batch, family);
        let told = commit_by(socket, batch)?;
        Ok(told.iter().filter_map(|message| handle(message)).collect())
    }

    /// Describes the rules that are missing for one address, in the pod's chain and among the rules that lead to this
    /// chain.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn missing(
        &self,
        socket: &mut Socket,
        pod: Masked,
    ) -> Result<Option<String>, NetlinkError> {
        let family = family_of(pod.0);
        let mut own = Batch::new();
        for rule in self.own(pod) {
            self.push_own(&mut own, family, rule);
        }
        let mut jumps = Batch::new();
        self.push_jumps(&mut jumps, family);
        for (chain, wanted) in [(self.chain, own), (TO_PODS, jumps)] {
            let found = rules(socket, family, chain)?;
            let found: Vec<Form> = found.iter().map(|message| form(message)).collect();
            let is_there = |number: usize| found.contains(&form(wanted.bytes_of(number)));
            let count = (0..wanted.len())
                .filter(|number| !is_there(*number))
                .count();
            if count > 0 {
                let (of, to) = (wanted.len(), pod.0);
                return Ok(Some(format!(
                    "{count} of {of} rules that lead ports of the host to {to} are missing in chain {chain} of table nat"
                )));
            }
        }
        Ok(None)
    }

    /// The rules of the pod's chain. Equal ones are one, as the program looks before it adds.
    fn own(&self, pod: Masked) -> Vec<OwnRule<'_>> {
        let (ip, prefix) = pod;
        let mut all: Vec<OwnRule<'_>> = Vec::new();
        // Of a prefix of no bits nothing is left to be compared.
        let network = Some((masked(ip, prefix), prefix));
        let network = network.filter(|(_, prefix)| *prefix > 0 && !self.masquerades_all);
        let marks = match self.mark {
            None => None,
            Some(Mark::Bit(_)) => Some(SET_MARK),
            Some(Mark::Chain(chain)) => Some(chain),
        };
        for port in self.ports {
            if port.host_ip.is_some_and(|at| at.is_ipv4() != ip.is_ipv4()) {
                continue;
            }
            let rule = OwnRule {
                protocol: port.protocol,
                port: port.host_port,
                from: None,
                at: port.host_ip.filter(|at| !at.is_unspecified()),
                does: Does::Lead(SocketAddr::new(ip, port.pod_port)),
            };
            if let Some(chain) = marks {
                let does = Does::Jump(chain);
                let from = network;
                all.push(OwnRule { from, does, ..rule });
                if ip.is_ipv4() && !self.masquerades_all {
                    let from = Some((Ipv4Addr::LOCALHOST.into(), 32));
                    all.push(OwnRule { from, does, ..rule });
                }
            }
            all.push(rule);
        }
        let mut once: Vec<OwnRule<'_>> = Vec::with_capacity(all.len());
        for rule in all {
            if !once.contains(&rule) {
                once.push(rule);
            }
        }
        once
    }

    fn push_own(&self, batch: &mut Batch, family: Family, of: OwnRule<'_>) {
        let place = (self.chain, Flags::Append);
        push_rule(batch, (family, Some(of.protocol)), place, &|rule| {
            rule.transport(of.protocol);
            if let Some(from) = of.from {
                rule.address(family, (Side::Source, Compare::Equal), from);
            }
            if let Some(at) = of.at {
                let whole = if at.is_ipv4() { 32 } else { 128 };
                rule.address(family, (Side::Destination, Compare::Equal), (at, whole));
            }
            rule.destination_port(of.protocol, of.port);
            rule.counter();
            match of.does {
                Does::Jump(chain) => rule.jump(chain),
                Does::Lead(to) => rule.destination_target(to),
            }
        });
    }

    /// The rules that lead to the pod's chain: of all ports, whatever their address.
    fn push_jumps(&self, batch: &mut Batch, family: Family) {
        let mut ports: BTreeMap<&str, (Protocol, Vec<u16>)> = BTreeMap::new();
        for port in self.ports {
            let of = ports.entry(port.protocol.as_str());
            let (_, all) = of.or_insert((port.protocol, Vec::new()));
            all.push(port.host_port);
        }
        let mut done: Vec<(Protocol, &[u16])> = Vec::new();
        for (protocol, ports) in ports.values() {
            for part in ports.chunks(MULTIPORTS) {
                if done.contains(&(*protocol, part)) {
                    continue;
                }
                done.push((*protocol, part));
                let place = (TO_PODS, Flags::AppendTold);
                push_rule(batch, (family, Some(*protocol)), place, &|rule| {
                    rule.transport(*protocol);
                    rule.comment(self.comment);
                    rule.destination_ports(part);
                    rule.counter();
                    rule.jump(self.chain);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, host_port: u16, at: Option<&str>) -> HostPort {
        HostPort {
            protocol,
            host_ip: at.map(|at| at.parse().unwrap()),
            host_port,
            pod_port: 80,
        }
    }

    fn rules_of<'a>(ports: &'a [HostPort], mark: Option<Mark<'a>>) -> PortRules<'a> {
        PortRules {
            chain: "CNI-DN-3ce8a0924fdef86d56ad1",
            comment: "c",
            ports,
            mark,
            masquerades_all: false,
        }
    }

    /// The length of each rule's expressions as iptables 1.8.9 sends them for the same arguments.
    #[test]
    fn rules_are_as_long_as_those_of_iptables() {
        let ports = [port(Protocol::Sctp, 8082, None)];
        let rules = rules_of(&ports, None);
        let mut batch = Batch::new();
        let own = rules.own(("10.98.0.3".parse().unwrap(), 24));
        rules.push_own(&mut batch, Family::V4, own[0]);
        rules.push_jumps(&mut batch, Family::V4);
        // Without header, table, chain (two names of 28 and 17 characters) and protocol.
        assert_eq!(batch.bytes_of(0).len(), 20 + 8 + 36 + 560 + 20);
        let jump_name = 36 - 12;
        assert_eq!(batch.bytes_of(1).len(), 20 + 8 + 24 + 584 + jump_name + 20);
    }

    #[test]
    fn rules_of_a_pod_by_family_and_once() {
        let ports = [
            port(Protocol::Tcp, 8080, None),
            port(Protocol::Tcp, 8080, None),
            port(Protocol::Udp, 8081, Some("192.0.2.1")),
            port(Protocol::Tcp, 8082, Some("::")),
        ];
        let of = |ip: &str, prefix, mark| {
            let rules = rules_of(&ports, mark);
            rules.own((ip.parse().unwrap(), prefix)).len()
        };
        let marks = Some(Mark::Bit(13));
        assert_eq!(of("10.98.0.3", 24, marks), 6);
        assert_eq!(of("10.98.0.3", 24, None), 2);
        assert_eq!(of("fd98::3", 64, marks), 4);
        let rules = rules_of(&ports, marks);
        let own = rules.own(("10.98.0.3".parse().unwrap(), 24));
        assert_eq!(own[0].from, Some(("10.98.0.0".parse().unwrap(), 24)));
        assert_eq!(own[3].at, Some("192.0.2.1".parse().unwrap()));
        let all = PortRules {
            masquerades_all: true,
            ..rules
        };
        assert_eq!(all.own(("10.98.0.3".parse().unwrap(), 24)).len(), 4);
    }

    /// Whatever the order of attributes and whatever was counted.
    #[test]
    fn shared_rules_are_known_again() {
        let message = |rule: SharedRule| {
            let mut batch = Batch::new();
            rule.push(&mut batch, Family::V4);
            batch.bytes_of(0).to_vec()
        };
        let counted = {
            let mut counted = message(SharedRule::Output);
            let name = b"counter\0";
            let at = counted.windows(8).position(|part| part == name).unwrap();
            // The last byte of the number of bytes.
            counted[at + 8 + 4 + 11] = 7;
            counted
        };
        assert_ne!(counted, message(SharedRule::Output));
        assert_eq!(form(&counted), form(&message(SharedRule::Output)));
        assert_eq!(form(&message(SharedRule::Output)).len(), 3);
        for other in [
            SharedRule::SetMark(13),
            SharedRule::Postrouting,
            SharedRule::Masquerade(13),
        ] {
            assert_ne!(form(&message(other)), form(&message(SharedRule::Output)));
        }
        let set = |bit| form(&message(SharedRule::SetMark(bit)));
        assert_ne!(set(13), set(14));
    }
}
