//! The masquerade rule, by nf_tables over netlink: no binary is needed, and the table is replaced in one
//! transaction.
//!
//! ```text
//! table inet holdfast-BRIDGE {
//!   chain postrouting {
//!     type nat hook postrouting priority srcnat;
//!     meta nfproto ipv4  ip  saddr SUBNET4  oifname != BRIDGE  masquerade
//!     meta nfproto ipv6  ip6 saddr SUBNET6  oifname != BRIDGE  masquerade
//!   }
//! }
//! ```

use nix::sys::socket::SockProtocol;

use super::link::octets;
use super::names;
use super::netlink::{Attributes, Batch, Flags, NetlinkError, NetlinkSocket};
use super::subnet::Subnet;

/// NFNL_SUBSYS_NFTABLES in the upper half of a message type.
const NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const NEW_RULE: u16 = NFTABLES | 6;
/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// NFPROTO_INET: one table for both families (Linux 5.2 for nat chains).
const INET: u8 = 1;
/// Priority of source NAT chains (NF_IP_PRI_NAT_SRC).
const SOURCE_NAT: u32 = 100;
/// NF_INET_POST_ROUTING.
const POSTROUTING: u32 = 4;
const CHAIN: &str = "postrouting";
/// NFT_REG_1, a 16-byte register.
const REGISTER: u32 = 1;
/// NFT_META_OIFNAME and NFT_META_NFPROTO.
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;

/// Whether two values are to be equal (nf_tables' NFT_CMP_EQ and NFT_CMP_NEQ).
#[derive(Debug, Clone, Copy)]
enum Compare {
    Equal = 0,
    Different = 1,
}

/// Puts the bridge's table in place, instead of whatever an earlier daemon left under its name.
pub(super) fn install(bridge: &str, subnets: &[Subnet]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = Batch::new();
    push_mark(&mut batch, BEGIN);
    // Deleting needs the table to exist, so it is made first: all in one transaction, as `nft` does it.
    push_table(&mut batch, NEW_TABLE, &table);
    push_table(&mut batch, DELETE_TABLE, &table);
    push_table(&mut batch, NEW_TABLE, &table);
    push_chain(&mut batch, &table);
    for subnet in subnets {
        push_rule(&mut batch, &table, bridge, subnet);
    }
    run(batch)
}

/// Removes the bridge's table; a missing one is success.
pub(super) fn remove(bridge: &str) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = Batch::new();
    push_mark(&mut batch, BEGIN);
    push_table(&mut batch, NEW_TABLE, &table);
    push_table(&mut batch, DELETE_TABLE, &table);
    run(batch)
}

fn run(mut batch: Batch) -> Result<(), NetlinkError> {
    // The last request of the transaction is acknowledged when all of it is committed; the end mark, which
    // the kernel does not answer, comes behind it.
    let last = batch.len() - 1;
    push_mark(&mut batch, END);
    NetlinkSocket::open(SockProtocol::NetlinkNetFilter)?
        .run_acknowledged(batch, &[last])
        .map(drop)
}

/// `struct nfgenmsg`: family, version, and a number in network byte order.
fn nfgen(family: u8, number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [family, 0, high, low]
}

fn push_mark(batch: &mut Batch, kind: u16) {
    batch.push(
        (kind, Flags::Plain),
        ("begin or end", "an nf_tables transaction"),
        &nfgen(0, NFTABLES >> 8),
        |_| {},
    );
}

fn push_table(batch: &mut Batch, kind: u16, table: &str) {
    let (operation, flags) = match kind {
        NEW_TABLE => ("create nf_tables table", Flags::Create),
        _ => ("delete nf_tables table", Flags::Plain),
    };
    batch.push(
        (kind, flags),
        (operation, table),
        &nfgen(INET, 0),
        |attrs| {
            attrs.string(1, table);
        },
    );
}

fn push_chain(batch: &mut Batch, table: &str) {
    batch.push(
        (NEW_CHAIN, Flags::Create),
        ("create the postrouting chain of nf_tables table", table),
        &nfgen(INET, 0),
        |chain| {
            chain.string(1, table);
            chain.string(3, CHAIN);
            chain.nest(4, &[], |hook| {
                hook.u32_be(1, POSTROUTING);
                hook.u32_be(2, SOURCE_NAT);
            });
            chain.string(7, "nat");
        },
    );
}

fn push_rule(batch: &mut Batch, table: &str, bridge: &str, subnet: &Subnet) {
    batch.push(
        (NEW_RULE, Flags::Append),
        ("add the masquerade rule to nf_tables table", table),
        &nfgen(INET, 0),
        |rule| {
            rule.string(1, table);
            rule.string(2, CHAIN);
            rule.nest(4, &[], |list| expressions(list, bridge, subnet));
        },
    );
}

fn expressions(list: &mut Attributes<'_>, bridge: &str, subnet: &Subnet) {
    let network = octets(subnet.network());
    // NFPROTO_IPV4 is 2, NFPROTO_IPV6 is 10; the source address stands at offset 12 or 8 of the header.
    let (protocol, offset) = if subnet.is_ipv6() { (10, 8) } else { (2, 12) };
    meta(list, META_NFPROTO);
    compare(list, Compare::Equal, &[protocol]);
    expression(list, "payload", |data| {
        data.u32_be(1, REGISTER);
        // NFT_PAYLOAD_NETWORK_HEADER.
        data.u32_be(2, 1);
        data.u32_be(3, offset);
        data.u32_be(4, u32::try_from(network.len()).unwrap_or(0));
    });
    mask(list, network.len(), subnet.prefix());
    compare(list, Compare::Equal, &network);
    meta(list, META_OIFNAME);
    let mut name = [0; 16];
    name[..bridge.len().min(15)].copy_from_slice(&bridge.as_bytes()[..bridge.len().min(15)]);
    compare(list, Compare::Different, &name);
    expression(list, "masq", |_| {});
}

/// One element of a rule's expression list: its name and its data.
fn expression(list: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    list.nest(1, &[], |element| {
        element.string(1, name);
        element.nest(2, &[], fill);
    });
}

fn meta(list: &mut Attributes<'_>, key: u32) {
    expression(list, "meta", |data| {
        data.u32_be(1, REGISTER);
        data.u32_be(2, key);
    });
}

fn compare(list: &mut Attributes<'_>, how: Compare, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.u32_be(1, REGISTER);
        data.u32_be(2, how as u32);
        data.nest(3, &[], |operand| operand.bytes(1, value));
    });
}

/// register = (register & mask) ^ 0.
fn mask(list: &mut Attributes<'_>, length: usize, prefix: u8) {
    let mask: Vec<u8> = (0..length)
        .map(|index| {
            let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
            u8::try_from(0xff00_u16 >> bits & 0xff).unwrap_or(0)
        })
        .collect();
    let zero = vec![0; length];
    expression(list, "bitwise", |data| {
        data.u32_be(1, REGISTER);
        data.u32_be(2, REGISTER);
        data.u32_be(3, u32::try_from(length).unwrap_or(0));
        data.nest(4, &[], |operand| operand.bytes(1, &mask));
        data.nest(5, &[], |operand| operand.bytes(1, &zero));
    });
}
