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

/// Starts the daemon and serves until it is asked to end.
///
/// # Errors
/// The daemon cannot start. Nothing that runs is touched then.
pub fn run(config: Config) -> Result<(), Box<dyn Error>> {
    // Here and not in main.rs: async code is compiled where it is run, and in both it would be compiled twice.
    let runtime = serve::runtime()?;
    let result = runtime.block_on(serve::run(config));
    // A blocking thread that hangs in the kernel must not hold up the end.
    runtime.shutdown_background();
    Ok(result?)
}
