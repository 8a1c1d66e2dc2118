//! Masquerading of addresses of a pod, as network plugins ask `iptables` for it.

use nix::errno::Errno;

use super::chain::{
    self, Base, FAMILIES, Masked, OwnChain, RULE_CHAIN, RULE_HANDLE, RULE_TABLE, Socket, contains,
    family_of, handle,
};
use super::rule::{masked, push_rule};
use crate::netlink::{Batch, Flags, NetlinkError};
use crate::nft::expression::{Compare, Family, Side, Verdict};
use crate::nft::transaction::{DELETE_RULE, GET_CHAIN, GET_RULE, INET, commit_by, nfgen, start};

/// The rules for one pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masquerade<'a> {
    /// The pod's own chain.
    pub(crate) chain: &'a str,
    /// The comment that `iptables-save` shows beside each rule; 255 bytes at most.
    pub(crate) comment: &'a str,
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
        for family in FAMILIES {
            let ours: Vec<Masked> = all
                .iter()
                .filter(|(ip, _)| family_of(*ip) == family)
                .copied()
                .collect();
            if ours.is_empty() {
                continue;
            }
            let mut batch = start();
            // In the order in which the program makes them, which is that of lists.
            chain::push_table(&mut batch, family);
            chain::push_chain(&mut batch, family, self.chain);
            chain::push_base(&mut batch, family, Base::Postrouting);
            self.push_rules(&mut batch, family, &ours);
            let told = commit_by(socket, batch)?;
            handles.extend(told.iter().filter_map(|message| handle(message)));
        }
        Ok(handles)
    }

    fn push_rules(&self, batch: &mut Batch, family: Family, all: &[Masked]) {
        let multicast: Masked = match family {
            Family::V4 => ([224, 0, 0, 0].into(), 4),
            Family::V6 => ([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8),
        };
        let own = (self.chain, Flags::Append);
        let to_own = (Base::Postrouting.name(), Flags::AppendTold);
        let mut networks = Vec::new();
        for (number, (ip, prefix)) in all.iter().enumerate() {
            let network = (masked(*ip, *prefix), *prefix);
            if !networks.contains(&network) {
                networks.push(network);
                push_rule(batch, (family, None), own, &|rule| {
                    rule.address(family, (Side::Destination, Compare::Equal), network);
                    rule.comment(self.comment);
                    rule.counter();
                    rule.verdict(Verdict::Accept);
                });
            }
            if number == 0 {
                push_rule(batch, (family, None), own, &|rule| {
                    rule.address(family, (Side::Destination, Compare::Different), multicast);
                    rule.comment(self.comment);
                    rule.counter();
                    rule.masquerade_target(family);
                });
            }
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            push_rule(batch, (family, None), to_own, &|rule| {
                rule.address(family, (Side::Source, Compare::Equal), (*ip, whole));
                rule.comment(self.comment);
                rule.counter();
                rule.jump(self.chain);
            });
        }
    }

    /// Removes the rules of both families, as far as there are any. `known` are numbers that jumps probably have.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn remove(&self, socket: &mut Socket, known: &[u64]) -> Result<(), NetlinkError> {
        let own = OwnChain {
            name: self.chain,
            parent: Base::Postrouting.name(),
        };
        own.remove(socket, known)
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
}
