//! The parts of a rule as iptables 1.8.9 writes them: expressions of nf_tables where it has such, and the matches and
//! targets of xtables for all else.

use std::net::{IpAddr, SocketAddr};

use super::chain::{Masked, RULE_CHAIN, RULE_TABLE, TABLE, table_family};
use crate::hostport::Protocol;
use crate::link::octets;
use crate::netlink::{Attributes, Batch, Flags};
use crate::nft::expression::{Compare, Family, Rule, Side, Verdict};
use crate::nft::transaction::{NEW_RULE, nfgen};

/// The attributes NFTA_RULE_EXPRESSIONS and NFTA_RULE_COMPAT of a rule.
pub(super) const RULE_EXPRESSIONS: u16 = 4;
const RULE_COMPAT: u16 = 5;
/// The most ports that one match `multiport` has (XT_MULTI_PORTS).
pub(super) const MULTIPORTS: usize = 15;

/// A function that fills a rule.
pub(super) type Fill<'a> = &'a dyn Fn(&mut Rule<'_, '_>);

/// Adds a rule to a chain; matches of xtables want to be told its protocol.
pub(super) fn push_rule(
    batch: &mut Batch,
    (family, protocol): (Family, Option<Protocol>),
    (chain, flags): (&str, Flags),
    fill: Fill<'_>,
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
                compat.u32_be(1, protocol.map_or(0, |of| u32::from(of.number())));
                compat.u32_be(2, 0);
            });
        },
    );
}

/// The address of an address' network.
pub(super) fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
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
    pub(super) fn address(
        &mut self,
        family: Family,
        (side, how): (Side, Compare),
        (ip, prefix): Masked,
    ) {
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

    /// The packet is of a transport protocol.
    pub(super) fn transport(&mut self, protocol: Protocol) {
        self.load_transport();
        self.compare(Compare::Equal, &[protocol.number()]);
    }

    /// The packet goes to a port.
    pub(super) fn destination_port(&mut self, protocol: Protocol, port: u16) {
        match protocol {
            Protocol::Tcp | Protocol::Udp => {
                self.load_destination_port();
                self.compare(Compare::Equal, &port.to_be_bytes());
            }
            Protocol::Sctp => self.sctp(port),
        }
    }

    /// The match `sctp` for a destination port (`struct xt_sctp_info`, aligned).
    fn sctp(&mut self, port: u16) {
        const LENGTH: usize = 296;
        /// The member `flag_info` with its four entries of three bytes, and `flags` with XT_SCTP_DEST_PORTS.
        const CHUNK_TYPES: [usize; 4] = [268, 271, 274, 277];
        const FLAGS: usize = 284;
        const DESTINATION: u32 = 2;
        let mut data = [0; LENGTH];
        data[..2].copy_from_slice(&port.to_ne_bytes());
        data[2..4].copy_from_slice(&port.to_ne_bytes());
        for at in CHUNK_TYPES {
            data[at] = 0xff;
        }
        data[FLAGS..FLAGS + 4].copy_from_slice(&DESTINATION.to_ne_bytes());
        self.extension("match", ("sctp", 0), &data);
    }

    /// The match `multiport` for destination ports (`struct xt_multiport_v1`).
    pub(super) fn destination_ports(&mut self, ports: &[u16]) {
        /// The flag XT_MULTIPORT_DESTINATION of the match.
        const DESTINATION: u8 = 1;
        let mut data = [0; 48];
        let ports = &ports[..ports.len().min(MULTIPORTS)];
        data[0] = DESTINATION;
        data[1] = u8::try_from(ports.len()).unwrap_or(0);
        for (place, port) in data[2..].chunks_exact_mut(2).zip(ports) {
            place.copy_from_slice(&port.to_ne_bytes());
        }
        self.extension("match", ("multiport", 1), &data);
    }

    /// The match `addrtype` for destinations that are this machine's (`struct xt_addrtype_info_v1`, XT_ADDRTYPE_LOCAL).
    pub(super) fn local_destination_type(&mut self) {
        self.extension("match", ("addrtype", 1), &[0, 0, 4, 0, 0, 0, 0, 0]);
    }

    /// Bits of the packet's mark are set.
    pub(super) fn marked(&mut self, bits: u32) {
        self.load_mark();
        self.mask(&bits.to_ne_bytes());
        self.compare(Compare::Equal, &bits.to_ne_bytes());
    }

    /// The match `comment`, which matches always (`struct xt_comment_info`).
    pub(super) fn comment(&mut self, text: &str) {
        let mut data = [0; 256];
        let length = text.len().min(255);
        data[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.extension("match", ("comment", 0), &data);
    }

    pub(super) fn counter(&mut self) {
        self.expression("counter", |of| {
            of.bytes(1, &[0; 8]);
            of.bytes(2, &[0; 8]);
        });
    }

    /// Goes on in another chain.
    pub(super) fn jump(&mut self, chain: &str) {
        self.verdict(Verdict::Jump(chain));
    }

    /// The target `MASQUERADE`: with one range that names nothing (`struct nf_nat_ipv4_multi_range_compat`, aligned),
    /// or `struct nf_nat_range`.
    pub(super) fn masquerade_target(&mut self, family: Family) {
        let mut v4 = [0; 24];
        v4[..4].copy_from_slice(&1_u32.to_ne_bytes());
        let data: &[u8] = match family {
            Family::V4 => &v4,
            Family::V6 => &[0; 40],
        };
        self.extension("target", ("MASQUERADE", 0), data);
    }

    /// The target `DNAT` with an address and a port (`struct nf_nat_range2`, aligned).
    pub(super) fn destination_target(&mut self, to: SocketAddr) {
        /// The flags NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED.
        const ADDRESS_AND_PORT: u32 = 3;
        let (ip, port) = (octets(to.ip()), to.port().to_be_bytes());
        let mut data = [0; 48];
        data[..4].copy_from_slice(&ADDRESS_AND_PORT.to_ne_bytes());
        for at in [4, 20] {
            data[at..at + ip.len()].copy_from_slice(&ip);
        }
        for at in [36, 38] {
            data[at..at + 2].copy_from_slice(&port);
        }
        self.extension("target", ("DNAT", 2), &data);
    }

    /// The target `MARK`, which sets bits of the packet's mark (`struct xt_mark_tginfo2`).
    pub(super) fn mark_target(&mut self, bits: u32) {
        let bits = bits.to_ne_bytes();
        self.extension("target", ("MARK", 2), &[bits, bits].concat());
    }

    /// A match or a target of xtables, with its revision.
    fn extension(&mut self, kind: &str, (name, revision): (&str, u32), data: &[u8]) {
        self.expression(kind, |of: &mut Attributes<'_>| {
            of.string(1, name);
            of.u32_be(2, revision);
            of.bytes(3, data);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
