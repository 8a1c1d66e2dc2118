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

pub use serve::{Config, ConfigError, DEFAULT_PATH, StartError, run, runtime};
