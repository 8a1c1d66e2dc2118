//! The expressions that rules are made of: `enum nft_*_attributes` of linux/netfilter/nf_tables.h.

use crate::netlink::Attributes;

/// NFT_REG_1, a 16-byte register that begins where NFT_REG32_00 does.
const REGISTER: u32 = 1;
/// NFT_REG32_00, the first of the 4-byte registers.
const WORD: u32 = 8;
/// NFT_META_OIFNAME, NFT_META_IIFNAME, NFT_META_NFPROTO and NFT_META_L4PROTO.
const META_OIFNAME: u32 = 7;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// The key NFT_META_MARK of `meta`.
const META_MARK: u32 = 3;

/// The address family of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The number of the family, NFPROTO_IPV4 or NFPROTO_IPV6.
    fn protocol(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// Length of an address in bytes.
    pub(super) fn length(self) -> u32 {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    /// The offset of the address in the header.
    fn offset(self, side: Side) -> u32 {
        match (self, side) {
            (Family::V4, Side::Source) => 12,
            (Family::V4, Side::Destination) => 16,
            (Family::V6, Side::Source) => 8,
            (Family::V6, Side::Destination) => 24,
        }
    }
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// Whether two values are to be equal (nf_tables' NFT_CMP_EQ and NFT_CMP_NEQ).
#[derive(Debug, Clone, Copy)]
pub(super) enum Compare {
    Equal = 0,
    Different = 1,
}

/// The interface by which a packet comes or goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interface {
    In,
    Out,
}

/// The verdict on a packet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// Drops the packet, NF_DROP.
    Drop,
    /// Lets the packet pass, NF_ACCEPT.
    Accept,
    /// NFT_RETURN: back to the calling chain.
    Return,
    /// Goes on in another chain, NFT_JUMP.
    Jump(&'a str),
}

/// The expressions of one rule.
pub(super) struct Rule<'a, 'b>(pub(super) &'a mut Attributes<'b>);

impl Rule<'_, '_> {
    /// Adds an element to the list: its name and its data.
    pub(super) fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.0.nest(1, &[], |element| {
            element.string(1, name);
            element.nest(2, &[], fill);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |data| {
            data.u32_be(1, register);
            data.u32_be(2, key);
        });
    }

    pub(super) fn compare(&mut self, how: Compare, value: &[u8]) {
        self.expression("cmp", |data| {
            data.u32_be(1, REGISTER);
            data.u32_be(2, how as u32);
            data.nest(3, &[], |operand| operand.bytes(1, value));
        });
    }

    /// register = (register & mask) ^ 0.
    pub(super) fn mask(&mut self, mask: &[u8]) {
        let zero = vec![0; mask.len()];
        self.expression("bitwise", |data| {
            data.u32_be(1, REGISTER);
            data.u32_be(2, REGISTER);
            data.u32_be(3, u32::try_from(mask.len()).unwrap_or(0));
            data.nest(4, &[], |operand| operand.bytes(1, mask));
            data.nest(5, &[], |operand| operand.bytes(1, &zero));
        });
    }

    /// Loads bytes of a header into a register.
    fn payload(&mut self, base: u32, (offset, length): (u32, u32), register: u32) {
        self.expression("payload", |data| {
            data.u32_be(1, register);
            data.u32_be(2, base);
            data.u32_be(3, offset);
            data.u32_be(4, length);
        });
    }

    fn load_address(&mut self, family: Family, side: Side, register: u32) {
        // NFT_PAYLOAD_NETWORK_HEADER.
        self.payload(1, (family.offset(side), family.length()), register);
    }

    /// Loads the first bytes of an address.
    pub(super) fn load_part(&mut self, family: Family, side: Side, length: u32) {
        self.payload(1, (family.offset(side), length), REGISTER);
    }

    /// Loads the number of the transport protocol.
    pub(super) fn load_transport(&mut self) {
        self.meta(META_L4PROTO, REGISTER);
    }

    /// Loads the mark of the packet.
    pub(super) fn load_mark(&mut self) {
        self.meta(META_MARK, REGISTER);
    }

    /// Loads the destination port, which TCP, UDP and SCTP have in bytes 2 and 3.
    pub(super) fn load_destination_port(&mut self) {
        // NFT_PAYLOAD_TRANSPORT_HEADER.
        self.payload(2, (2, 2), REGISTER);
    }

    /// The packet is of a family.
    pub(super) fn family(&mut self, family: Family) {
        self.meta(META_NFPROTO, REGISTER);
        self.compare(Compare::Equal, &[family.protocol()]);
    }

    /// An address of the packet lies in a network.
    pub(super) fn in_network(&mut self, family: Family, side: Side, network: (&[u8], u8)) {
        let (network, prefix) = network;
        self.load_address(family, side, REGISTER);
        let mask: Vec<u8> = (0..network.len())
            .map(|index| {
                let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
                u8::try_from(0xff00_u16 >> bits & 0xff).unwrap_or(0)
            })
            .collect();
        self.mask(&mask);
        self.compare(Compare::Equal, network);
    }

    /// The interface that the packet comes in by or goes out by.
    pub(super) fn interface(&mut self, which: Interface, how: Compare, name: &str) {
        self.meta(
            match which {
                Interface::In => META_IIFNAME,
                Interface::Out => META_OIFNAME,
            },
            REGISTER,
        );
        let mut padded = [0; 16];
        let length = name.len().min(15);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        self.compare(how, &padded);
    }

    /// The destination is an address of this machine.
    pub(super) fn local_destination(&mut self) {
        /// The type of the destination address: NFT_FIB_RESULT_ADDRTYPE and NFTA_FIB_F_DADDR.
        const ADDRESS_TYPE: u32 = 3;
        const DESTINATION: u32 = 2;
        self.expression("fib", |data| {
            data.u32_be(1, REGISTER);
            data.u32_be(2, ADDRESS_TYPE);
            data.u32_be(3, DESTINATION);
        });
        self.compare(Compare::Equal, &u32::from(libc::RTN_LOCAL).to_ne_bytes());
    }

    /// The connection's destination was translated.
    pub(super) fn is_destination_translated(&mut self) {
        /// NFT_CT_STATUS, and IPS_DST_NAT of it.
        const STATUS: u32 = 2;
        const DESTINATION_NAT: u32 = 1 << 5;
        self.expression("ct", |data| {
            data.u32_be(1, REGISTER);
            data.u32_be(2, STATUS);
        });
        self.mask(&DESTINATION_NAT.to_ne_bytes());
        self.compare(Compare::Different, &[0; 4]);
    }

    /// Ends the rule with a verdict.
    pub(super) fn verdict(&mut self, verdict: Verdict<'_>) {
        let (code, chain) = match verdict {
            Verdict::Drop => (0_i32, None),
            Verdict::Accept => (1, None),
            Verdict::Return => (-5, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
        };
        self.expression("immediate", |data| {
            // NFT_REG_VERDICT.
            data.u32_be(1, 0);
            data.nest(2, &[], |value| {
                value.nest(2, &[], |verdict| {
                    verdict.u32_be(1, code.cast_unsigned());
                    if let Some(chain) = chain {
                        verdict.string(2, chain);
                    }
                });
            });
        });
    }

    /// The source becomes the address of the interface that the packet leaves by.
    pub(super) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    /// The destination becomes what a map has for the packet: its protocol, its destination when the map has
    /// those in its keys, and its destination port. A packet that the map has nothing for goes on.
    pub(super) fn translate_destination(&mut self, map: &str, family: Family, keys: Keys) {
        let mut next = WORD;
        self.meta(META_L4PROTO, next);
        next += 1;
        if keys == Keys::WithAddress {
            self.load_address(family, Side::Destination, next);
            next += family.length() / 4;
        }
        // NFT_PAYLOAD_TRANSPORT_HEADER: TCP, UDP and SCTP have the destination port in bytes 2 and 3.
        self.payload(2, (2, 2), next);
        self.expression("lookup", |data| {
            data.string(1, map);
            data.u32_be(2, WORD);
            data.u32_be(3, WORD);
        });
        self.expression("nat", |data| {
            // NFT_NAT_DNAT.
            data.u32_be(1, 1);
            data.u32_be(2, u32::from(family.protocol()));
            data.u32_be(3, WORD);
            data.u32_be(5, WORD + family.length() / 4);
        });
    }
}

/// The fields that make up the keys of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Keys {
    /// Protocol, address of the host, port.
    WithAddress,
    /// Keys of protocol and port.
    AnyAddress,
}
