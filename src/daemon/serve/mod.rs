//! The daemon as a whole: configuration, start in the right order, end.
//!
//! ```text
//!   config ─▶ log ─▶ lock of the root ─▶ images ─▶ pods (recovery) ─▶ socket ─▶ READY ─▶ … ─▶ shutdown
//!                                                                                  └─ watchdog
//! ```
//!
//! Reading the configuration has no side effects; what starts, starts in this order, so that nobody is
//! answered before what runs is known again. What this module must never do: end a pod. A daemon that stops
//! leaves everything running, and the next one takes it over.

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
