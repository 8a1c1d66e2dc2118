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
//! A packet costs the same however many ports are mapped to pods: they are elements of hash maps. Each daemon
//! writes the rules once; the maps outlive it, so that ports go on working while it is replaced.

mod expression;
mod ports;
mod rules;
mod transaction;
pub(super) mod xtables;

use super::names;
use super::netlink::NetlinkError;
use super::subnet::Subnet;

use transaction::{DELETE_TABLE, NEW_TABLE, begin, commit, push_table};

pub(super) use ports::{add_ports, remove_ports, replace_ports};

/// Puts the bridge's table in place. Ports that an earlier daemon mapped to pods stay in their maps; a table of
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
    commit(batch).map(drop)
}

/// Removes the bridge's table; a missing one is success.
pub(super) fn remove(bridge: &str) -> Result<(), NetlinkError> {
    let table = names::table(bridge);
    // Deleting needs the table to exist, so it is made first: all in one transaction, as `nft` does it.
    let mut batch = begin(&table);
    push_table(&mut batch, DELETE_TABLE, &table);
    commit(batch).map(drop)
}
