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
//! - [`hostport`] knows which ports of the host lead into which pod; the bridge's nftables table leads them.
//! - [`cni`] is the other network: that of the plugins which are installed on the machine.
//!
//! But for those of `cni`, which wait for processes asynchronously, all functions block for as long as the kernel takes, which is well under a millisecond, or until the
//! socket's deadline; an async caller runs them on its blocking pool. Only threads of [`cni`] that end there enter a
//! namespace; all else works inside one only through a socket that was opened there.

mod bandwidth;
mod bridge;
pub mod cni;
mod conntrack;
pub mod hostport;
pub mod ipam;
mod link;
mod names;
pub mod netlink;
pub mod netns;
mod nft;
mod publish;
mod reaper;
mod shape;
mod subnet;
mod sysctl;

#[cfg(test)]
mod tests;

pub use bandwidth::{Bandwidth, BandwidthError};
pub use bridge::{Attachment, BridgeNetwork, BridgeSettings, NetworkError};
pub use hostport::{HostPort, HostPortError, Protocol};
pub use link::{InterfaceStats, interface_stats, loopback_up};
pub use names::is_interface_name;
pub use netns::{NetnsError, NetnsName};
pub use publish::Published;
pub use subnet::{Subnet, SubnetError};
