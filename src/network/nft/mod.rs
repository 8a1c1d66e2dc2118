//! The bridge's nf_tables table, over netlink: no binary is needed, and every change is one transaction.
//!
//! ```text
//! table inet holdfast-BRIDGE {
//!   map host4 { inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }   one address of the host
//!   map any4  { inet_proto . inet_service : ipv4_addr . inet_service }               all of them
//!   map host6, any6                                                                  the same for IPv6
//!   chain guard       { type filter hook prerouting priority raw;    what a pod sends to 127.0.0.0/8: drop }
//!   chain prerouting  { type nat    hook prerouting priority dstnat; fib daddr type local jump ports }
//!   chain output      { type nat    hook output     priority dstnat; fib daddr type local jump ports }
//!   chain ports       { dnat by host4, any4, host6, any6; never for ::1 }
//!   chain postrouting { type nat    hook postrouting priority srcnat;
//!     masquerade what leaves the bridge's subnets, what comes from 127.0.0.0/8, and what a pod sends to a pod
//!     through a port of the host }
//! }
//! ```
//!
//! A packet costs the same however many ports are led into pods: they are elements of hash maps. The rules are
//! put in place at the daemon's start and never change; the maps outlive the daemon, so that ports go on
//! working while it is replaced.

mod expression;
mod ports;
mod rules;

use nix::sys::socket::SockProtocol;

use super::names;
use super::netlink::{Batch, Flags, NetlinkError, NetlinkSocket};
use super::subnet::Subnet;

pub(super) use ports::{add_ports, remove_ports, replace_ports};

/// NFNL_SUBSYS_NFTABLES in the upper half of a message type; the kinds are those of `enum nf_tables_msg_types`.
const NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = NFTABLES;
const DELETE_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const NEW_RULE: u16 = NFTABLES | 6;
const DELETE_RULE: u16 = NFTABLES | 8;
const NEW_SET: u16 = NFTABLES | 9;
const NEW_ELEMENT: u16 = NFTABLES | 12;
const DELETE_ELEMENT: u16 = NFTABLES | 14;
/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// NFPROTO_INET: one table for both families (Linux 5.2 for nat chains).
const INET: u8 = 1;

/// Puts the bridge's table in place. Ports that an earlier daemon led into pods stay in their maps; a table of
/// another shape, which an earlier version made, is replaced.
pub(super) fn install(bridge: &str, subnets: &[Subnet]) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    let mut batch = begin(&table);
    rules::push(&mut batch, &table, bridge, subnets);
    if commit(batch).is_ok() {
        return Ok(());
    }
    let mut batch = begin(&table);
    push_table(&mut batch, DELETE_TABLE, &table);
    push_table(&mut batch, NEW_TABLE, &table);
    rules::push(&mut batch, &table, bridge, subnets);
    commit(batch)
}

/// Removes the bridge's table; a missing one is success.
pub(super) fn remove(bridge: &str) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    // Deleting needs the table to exist, so it is made first: all in one transaction, as `nft` does it.
    let mut batch = begin(&table);
    push_table(&mut batch, DELETE_TABLE, &table);
    commit(batch)
}

/// A transaction on a table that is made when missing.
fn begin(table: &str) -> Batch {
    let mut batch = Batch::new();
    push_mark(&mut batch, BEGIN);
    push_table(&mut batch, NEW_TABLE, table);
    batch
}

fn commit(mut batch: Batch) -> Result<(), NetlinkError> {
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
