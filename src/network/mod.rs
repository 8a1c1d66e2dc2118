//! The network of a pod: its namespace, its addresses and the built-in bridge.
//!
//! ```text
//!   pod A netns          host netns                          pod B netns
//!   ┌─────────┐          ┌───────────────────────────┐       ┌─────────┐
//!   │ lo      │          │  bridge (gateway address) │       │      lo │
//!   │ eth0 ◀──┼── veth ──┼─▶ hf… ──┐     ┌── hf… ◀───┼─ veth ┼──▶ eth0 │
//!   └─────────┘          │         └──▶──┘           │       └─────────┘
//!                        │  nftables: masquerade     │
//!                        └───────────────────────────┘
//! ```
//!
//! - [`netns`] pins a pod's namespace under /run/netns, so that people and CNI plugins see it.
//! - [`ipam`] leases addresses, durably, one small file each.
//! - [`BridgeNetwork`] joins the namespaces by veth pairs; everything it makes is named after its bridge, so
//!   that two daemons on one machine do not meet.
//! - CNI plugins and host ports belong here too, as `cni` and `hostport`, beside the bridge.
//!
//! All functions block for as long as the kernel takes, which is well under a millisecond, or until the
//! socket's deadline; an async caller runs them on its blocking pool. This module must never enter a
//! namespace itself: it works inside one only through a socket that was opened there.

mod bridge;
pub mod ipam;
mod link;
mod names;
pub mod netlink;
pub mod netns;
mod nft;
mod reaper;
mod subnet;
mod sysctl;

#[cfg(test)]
mod tests;

pub use bridge::{Attachment, BridgeNetwork, BridgeSettings, NetworkError};
pub use link::{InterfaceStats, interface_stats, loopback_up};
pub use netns::{NetnsError, NetnsName};
pub use subnet::{Subnet, SubnetError};
