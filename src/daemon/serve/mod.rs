//! The daemon as a whole: configuration, start in the right order, end.
//!
//! ```text
//!   config ─▶ log ─▶ lock of the root ─▶ images ─▶ pods (recovery) ─▶ socket ─▶ READY ─▶ … ─▶ shutdown
//!                                                                                  └─ watchdog
//! ```
//!
//! Reading the configuration has no side effects. The parts start in this order, so that no request is answered
//! before all running pods are known again. This module must never end a pod. A daemon that stops leaves all pods
//! running, and the next daemon takes them over.

mod authority;
mod config;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod logging;
mod metrics;
mod quantity;
mod shutdown;
mod socket;
mod startup;
mod watchdog;

pub use config::{Config, ConfigError, DEFAULT_PATH};
pub(crate) use logging::LogError;
pub(crate) use socket::SocketError;
pub(crate) use startup::{run, runtime};

#[cfg(test)]
mod tests;
