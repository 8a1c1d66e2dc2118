//! Rules of iptables in nf_tables, as `iptables` itself puts them there (iptables-nft, iptables(8)): masquerading for one
//! address, as network plugins ask `iptables` for it.
//!
//! ```text
//!   table ip nat { chain POSTROUTING { … ; -s ADDRESS -j CHAIN }
//!                  chain CHAIN { -d NETWORK -j ACCEPT ; ! -d MULTICAST -j MASQUERADE } }
//! ```
//!
//! `iptables-save` shows them, and `iptables -D` removes them. A jump is found by the number that the kernel gave it, so
//! that the cost does not grow with the number of pods; where that is not known, all jumps are looked at.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::expression::{Compare, Family, Rule, Side, Verdict};
use super::transaction::{
    DELETE_CHAIN, DELETE_RULE, GET_CHAIN, GET_RULE, INET, NEW_CHAIN, NEW_RULE, NEW_TABLE,
    commit_by, nfgen, start,
};
use crate::link::octets;
use crate::netlink::{Batch, Flags, NetlinkError, NetlinkSocket, attributes};

const TABLE: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";
/// NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC and NF_ACCEPT.
const HOOK: u32 = 4;
const PRIORITY: u32 = 100;
const ACCEPT: u32 = 1;
/// NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_EXPRESSIONS and NFTA_RULE_COMPAT.
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_COMPAT: u16 = 5;
/// How often a removal is tried again that others have overtaken.
const ATTEMPTS: usize = 5;

/// A socket for rules. It is kept open: when one is closed that has changed rules, the kernel first waits until what
/// they were before is freed, which takes 15 ms.
pub(crate) type Socket = NetlinkSocket<OwnedFd>;

/// Opens a socket for rules of the calling thread's network namespace.
///
/// # Errors
/// [`NetlinkError::Socket`].
pub(crate) fn open() -> Result<Socket, NetlinkError> {
    NetlinkSocket::open(SockProtocol::NetlinkNetFilter)
}

/// An address with the length of its network's prefix.
pub(crate) type Masked = (IpAddr, u8);

/// The rules for one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masquerade<'a> {
    /// The pod's own chain.
    pub(crate) chain: &'a str,
    /// What `iptables-save` shows beside each rule; 255 bytes at most.
    pub(crate) comment: &'a str,
}

/// The family of a table in nf_tables' numbers.
fn table_family(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

impl Masquerade<'_> {
    /// Adds the rules for addresses, and gives the numbers of the jumps to them. The chain must not exist.
    ///
    /// # Errors
    /// [`NetlinkError`]; nothing is added to the family that it is about.
    pub(crate) fn add(
        &self,
        socket: &mut Socket,
        all: &[Masked],
    ) -> Result<Vec<u64>, NetlinkError> {
        let mut handles = Vec::new();
        for family in [Family::V4, Family::V6] {
            let ours: Vec<Masked> = all
                .iter()
                .filter(|(ip, _)| family_of(*ip) == family)
                .copied()
                .collect();
            if ours.is_empty() {
                continue;
            }
            let mut batch = start();
            self.push_chains(&mut batch, family);
            self.push_rules(&mut batch, family, &ours);
            let told = commit_by(socket, batch)?;
            handles.extend(told.iter().filter_map(|message| handle(message)));
        }
        Ok(handles)
    }

    fn push_chains(&self, batch: &mut Batch, family: Family) {
        let header = nfgen(table_family(family), 0);
        batch.push(
            (NEW_TABLE, Flags::Create),
            ("create nf_tables table", TABLE),
            &header,
            |table| table.string(1, TABLE),
        );
        // In the order in which the program makes them, which is that of lists.
        batch.push(
            (NEW_CHAIN, Flags::Create),
            ("create nf_tables chain", self.chain),
            &header,
            |chain| {
                chain.string(1, TABLE);
                chain.string(3, self.chain);
            },
        );
        batch.push(
            (NEW_CHAIN, Flags::Create),
            ("create nf_tables chain", POSTROUTING),
            &header,
            |chain| {
                chain.string(1, TABLE);
                chain.string(3, POSTROUTING);
                chain.nest(4, &[], |place| {
                    place.u32_be(1, HOOK);
                    place.u32_be(2, PRIORITY);
                });
                chain.u32_be(5, ACCEPT);
                chain.string(7, "nat");
            },
        );
    }

    fn push_rules(&self, batch: &mut Batch, family: Family, all: &[Masked]) {
        let multicast: Masked = match family {
            Family::V4 => ([224, 0, 0, 0].into(), 4),
            Family::V6 => ([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8),
        };
        let own = (self.chain, Flags::Append);
        let mut networks = Vec::new();
        for (number, (ip, prefix)) in all.iter().enumerate() {
            let network = (masked(*ip, *prefix), *prefix);
            if !networks.contains(&network) {
                networks.push(network);
                self.push_rule(batch, (family, own), &|rule| {
                    rule.address(family, (Side::Destination, Compare::Equal), network);
                    rule.comment(self.comment);
                    rule.counter();
                    rule.verdict(Verdict::Accept);
                });
            }
            if number == 0 {
                self.push_rule(batch, (family, own), &|rule| {
                    rule.address(family, (Side::Destination, Compare::Different), multicast);
                    rule.comment(self.comment);
                    rule.counter();
                    rule.masquerade_target(family);
                });
            }
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            self.push_rule(batch, (family, (POSTROUTING, Flags::AppendTold)), &|rule| {
                rule.address(family, (Side::Source, Compare::Equal), (*ip, whole));
                rule.comment(self.comment);
                rule.counter();
                rule.verdict(Verdict::Jump(self.chain));
            });
        }
    }

    fn push_rule(
        &self,
        batch: &mut Batch,
        (family, (chain, flags)): (Family, (&str, Flags)),
        fill: &dyn Fn(&mut Rule<'_, '_>),
    ) {
        batch.push(
            (NEW_RULE, flags),
            ("add a rule to nf_tables chain", chain),
            &nfgen(table_family(family), 0),
            |rule| {
                rule.string(RULE_TABLE, TABLE);
                rule.string(RULE_CHAIN, chain);
                rule.nest(RULE_EXPRESSIONS, &[], |list| fill(&mut Rule(list)));
                rule.nest(RULE_COMPAT, &[], |compat| {
                    compat.u32_be(1, 0);
                    compat.u32_be(2, 0);
                });
            },
        );
    }

    /// Removes the rules of both families, as far as there are any. `known` are numbers that jumps probably have.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn remove(&self, socket: &mut Socket, known: &[u64]) -> Result<(), NetlinkError> {
        for family in [Family::V4, Family::V6] {
            for attempt in 1.. {
                if !self.exists(socket, family)? {
                    break;
                }
                let known = if attempt == 1 { known } else { &[] };
                let jumps = self.jumps(socket, family, known)?;
                match commit_by(socket, self.removal(family, &jumps)) {
                    Ok(_) => break,
                    // Others may have removed one of them, or added one.
                    Err(error)
                        if attempt < ATTEMPTS
                            && matches!(error.errno(), Some(Errno::ENOENT | Errno::EBUSY)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn removal(&self, family: Family, jumps: &[u64]) -> Batch {
        let header = nfgen(table_family(family), 0);
        let mut batch = start();
        for jump in jumps {
            batch.push(
                (DELETE_RULE, Flags::Plain),
                ("remove a rule of nf_tables chain", POSTROUTING),
                &header,
                |rule| {
                    rule.string(RULE_TABLE, TABLE);
                    rule.string(RULE_CHAIN, POSTROUTING);
                    rule.bytes(RULE_HANDLE, &jump.to_be_bytes());
                },
            );
        }
        batch.push(
            (DELETE_RULE, Flags::Plain),
            ("empty nf_tables chain", self.chain),
            &header,
            |rules| {
                rules.string(RULE_TABLE, TABLE);
                rules.string(RULE_CHAIN, self.chain);
            },
        );
        batch.push(
            (DELETE_CHAIN, Flags::Plain),
            ("delete nf_tables chain", self.chain),
            &header,
            |chain| {
                chain.string(1, TABLE);
                chain.string(3, self.chain);
            },
        );
        batch
    }

    fn exists(&self, socket: &mut Socket, family: Family) -> Result<bool, NetlinkError> {
        let mut batch = Batch::new();
        batch.push(
            (GET_CHAIN, Flags::Plain),
            ("look up nf_tables chain", self.chain),
            &nfgen(table_family(family), 0),
            |chain| {
                chain.string(1, TABLE);
                chain.string(3, self.chain);
            },
        );
        match socket.run_acknowledged(batch, &[0]) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// The numbers of the rules that jump to the pod's chain.
    fn jumps(
        &self,
        socket: &mut Socket,
        family: Family,
        known: &[u64],
    ) -> Result<Vec<u64>, NetlinkError> {
        let to_us = |message: &&Vec<u8>| contains(message, self.chain.as_bytes());
        let mut found = Vec::new();
        for jump in known {
            match socket.run_acknowledged(asking(family, Some(*jump)), &[0]) {
                Ok(rules) => found.extend(rules.iter().filter(to_us).filter_map(|of| handle(of))),
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        if found.is_empty() {
            let all = socket.dump(asking(family, None))?;
            found.extend(all.iter().filter(to_us).filter_map(|of| handle(of)));
        }
        Ok(found)
    }
}

/// Removes the rules of a pod in the table that plugins with the backend nftables masquerade by: those whose comment
/// begins with a text. A table that is not there has none.
///
/// # Errors
/// [`NetlinkError`].
pub(crate) fn remove_commented(socket: &mut Socket, text: &str) -> Result<(), NetlinkError> {
    const TABLE: &str = "cni_plugins_masquerade";
    const CHAIN: &str = "masq_checks";
    let ask = |kind: u16, flags: Flags| {
        let mut batch = Batch::new();
        batch.push(
            (kind, flags),
            ("list the rules of nf_tables chain", CHAIN),
            &nfgen(INET, 0),
            |of| {
                of.string(RULE_TABLE, TABLE);
                let name = if kind == GET_CHAIN { 3 } else { RULE_CHAIN };
                of.string(name, CHAIN);
            },
        );
        batch
    };
    match socket.run_acknowledged(ask(GET_CHAIN, Flags::Plain), &[0]) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(()),
        found => found?,
    };
    let all = socket.dump(ask(GET_RULE, Flags::Dump))?;
    let ours = all
        .iter()
        .filter(|message| contains(message, text.as_bytes()));
    let mut batch = start();
    for rule in ours.filter_map(|message| handle(message)) {
        batch.push(
            (DELETE_RULE, Flags::Plain),
            ("remove a rule of nf_tables chain", CHAIN),
            &nfgen(INET, 0),
            |of| {
                of.string(RULE_TABLE, TABLE);
                of.string(RULE_CHAIN, CHAIN);
                of.bytes(RULE_HANDLE, &rule.to_be_bytes());
            },
        );
    }
    if batch.len() > 1 {
        commit_by(socket, batch)?;
    }
    Ok(())
}

/// Asks for one rule of the chain POSTROUTING, or all of them.
fn asking(family: Family, handle: Option<u64>) -> Batch {
    let mut batch = Batch::new();
    let flags = if handle.is_some() {
        Flags::Plain
    } else {
        Flags::Dump
    };
    batch.push(
        (GET_RULE, flags),
        ("list the rules of nf_tables chain", POSTROUTING),
        &nfgen(table_family(family), 0),
        |rule| {
            rule.string(RULE_TABLE, TABLE);
            rule.string(RULE_CHAIN, POSTROUTING);
            if let Some(handle) = handle {
                rule.bytes(RULE_HANDLE, &handle.to_be_bytes());
            }
        },
    );
    batch
}

/// The number of a rule, in a message about it with its netlink header.
fn handle(message: &[u8]) -> Option<u64> {
    let mut all = attributes(message.get(20..)?);
    let (_, value) = all.find(|(kind, _)| *kind == RULE_HANDLE)?;
    value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn contains(message: &[u8], text: &[u8]) -> bool {
    message.windows(text.len()).any(|window| window == text)
}

/// The address of an address' network.
fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let keep = |bits: u32| u32::from(prefix).min(bits);
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - keep(32)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - keep(128)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl Rule<'_, '_> {
    /// An address of the packet lies in a network or does not: as many bytes are loaded as the prefix has, and a mask is
    /// applied where it ends within one.
    fn address(&mut self, family: Family, (side, how): (Side, Compare), (ip, prefix): Masked) {
        let bytes = octets(ip);
        if prefix % 8 == 0 {
            let length = usize::from(prefix / 8);
            self.load_part(family, side, u32::from(prefix / 8));
            self.compare(how, &bytes[..length]);
        } else {
            self.load_part(family, side, family.length());
            let kept = octets(masked(
                match family {
                    Family::V4 => [0xff; 4].into(),
                    Family::V6 => [0xff; 16].into(),
                },
                prefix,
            ));
            self.mask(&kept);
            self.compare(how, &bytes);
        }
    }

    /// The match `comment`, which matches always (`struct xt_comment_info`).
    fn comment(&mut self, text: &str) {
        let mut data = [0; 256];
        let length = text.len().min(255);
        data[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.expression("match", |of| {
            of.string(1, "comment");
            of.u32_be(2, 0);
            of.bytes(3, &data);
        });
    }

    fn counter(&mut self) {
        self.expression("counter", |of| {
            of.bytes(1, &[0; 8]);
            of.bytes(2, &[0; 8]);
        });
    }

    /// The target `MASQUERADE`: with one range that names nothing (`struct nf_nat_ipv4_multi_range_compat`, aligned),
    /// or `struct nf_nat_range`.
    fn masquerade_target(&mut self, family: Family) {
        let mut v4 = [0; 24];
        v4[..4].copy_from_slice(&1_u32.to_ne_bytes());
        let data: &[u8] = match family {
            Family::V4 => &v4,
            Family::V6 => &[0; 40],
        };
        self.expression("target", |of| {
            of.string(1, "MASQUERADE");
            of.u32_be(2, 0);
            of.bytes(3, data);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what iptables 1.8.9 sends for `-s 10.98.0.3 -j CHAIN -m comment --comment c`.
    #[test]
    fn a_jump_is_written_as_iptables_writes_it() {
        let rules = Masquerade {
            chain: "CNI-5a1527d2fe74c1a342e29c75",
            comment: "c",
        };
        let mut batch = Batch::new();
        rules.push_rules(
            &mut batch,
            Family::V4,
            &[("10.98.0.3".parse().unwrap(), 24)],
        );
        // Of its three rules the last one, and of that the expressions without the chain's name.
        let bytes = batch.bytes_of(2);
        assert_eq!(bytes.len(), 592);
        let load = [
            0x34, 0, 1, 0x80, 0x0c, 0, 1, 0, b'p', b'a', b'y', b'l', b'o', b'a', b'd', 0, 0x24, 0,
            2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 1, 8, 0, 3, 0, 0, 0, 0, 0x0c, 8,
            0, 4, 0, 0, 0, 0, 4, 0x2c, 0, 1, 0x80, 8, 0, 1, 0, b'c', b'm', b'p', 0, 0x20, 0, 2,
            0x80, 8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 0, 0x0c, 0, 3, 0x80, 8, 0, 1, 0, 10,
            98, 0, 3,
        ];
        assert!(contains(bytes, &load), "{bytes:02x?}");
    }

    #[test]
    fn networks_of_addresses() {
        for (ip, prefix, network) in [
            ("10.98.3.4", 24, "10.98.3.0"),
            ("10.98.3.4", 20, "10.98.0.0"),
            ("10.98.3.4", 32, "10.98.3.4"),
            ("fd98::1:2", 112, "fd98::1:0"),
        ] {
            assert_eq!(masked(ip.parse().unwrap(), prefix).to_string(), network);
        }
    }
}
