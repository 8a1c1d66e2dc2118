//! Networks of CNI plugins (Container Network Interface, versions 0.1.0 to 1.1.0).
//!
//! ```text
//!   add: read the first list ─▶ record what DEL needs ─▶ ADD a ─▶ ADD b ─▶ … ─▶ record the result
//!                                        │                    prevResult
//!   del: recorded list and result ─▶ DEL … ─▶ DEL b ─▶ DEL a ─▶ forget the record
//! ```
//!
//! - The configuration directory is read anew for each pod, so a change needs no restart.
//! - The record is on disk before the first plugin runs and goes after the last DEL. A pod that was cut off in
//!   its making, or whose machine lost power, is thereby released by whoever finds the record.
//! - A plugin has a deadline, bounded output and a process group of its own, and is killed with everything it
//!   started.
//!
//! - The reference plugins are served without their programs (`native`).
//!
//! Only the threads of `native` enter a namespace, and each of them ends there. This module must not retry: whoever
//! calls it knows what is owed.

mod call;
mod config;
mod error;
mod exclusion;
mod field;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod garbage;
mod leftover;
mod native;
mod network;
mod number;
mod outcome;
mod pod;
#[cfg(test)]
mod tests;
mod verb;
mod verdict;
mod verdicts;
mod version;

pub use config::{NetworkList, Plugin};
pub use error::CniError;
pub use native::NativePlugin;
pub use network::{CniNetwork, CniSettings};
pub use pod::CniPod;
pub use verb::Verb;
pub use version::CniVersion;
