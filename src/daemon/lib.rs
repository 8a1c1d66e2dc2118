//! holdfastd: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.
//!
//! ```text
//!   serve ─▶ cri ─▶ stream ─▶ pod ─▶ plan · spec · systemd
//! ```

mod cri;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod plan;
mod pod;
mod serve;
mod spec;
mod stream;
mod systemd;

use std::error::Error;

pub use serve::{Config, ConfigError, DEFAULT_PATH};

/// Makes the async runtime of the daemon.
///
/// # Errors
/// Threads cannot be made.
pub fn runtime() -> Result<tokio::runtime::Runtime, Box<dyn Error>> {
    Ok(serve::runtime()?)
}

/// Starts the daemon and serves until it is asked to end.
///
/// # Errors
/// The daemon cannot start. Nothing that runs is touched then.
pub async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    Ok(serve::run(config).await?)
}
