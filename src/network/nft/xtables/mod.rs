//! Rules of iptables in nf_tables, as `iptables` itself puts them there (iptables-nft, iptables(8)), for what network
//! plugins ask `iptables` for.
//!
//! ```text
//!   table ip nat { chain POSTROUTING { … ; -s ADDRESS -j CHAIN }              [`Masquerade`]
//!                  chain CHAIN { -d NETWORK -j ACCEPT ; ! -d MULTICAST -j MASQUERADE }
//!                  chain CNI-HOSTPORT-DNAT { … ; --dports PORTS -j CHAIN }    [`PortRules`]
//!                  chain CHAIN { --dport PORT -j DNAT --to-destination POD } }
//! ```
//!
//! `iptables-save` shows them, and `iptables -D` removes them. A jump is found by the number that the kernel gave it, so
//! that the cost does not grow with the number of pods; where that is not known, all jumps are looked at.

mod chain;
mod form;
mod masquerade;
mod ports;
mod rule;

pub(crate) use chain::{Masked, OwnChain, Socket, has_chain, open};
pub(crate) use masquerade::{Masquerade, remove_commented};
pub(crate) use ports::{Mark, PortRules, SharedRules, TO_PODS};
