//! holdfastd: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.
//!
//! ```text
//!   serve ─▶ cri ─▶ stream ─▶ pod ─▶ plan · spec · systemd
//! ```

pub mod cri;
pub mod plan;
pub mod pod;
pub mod serve;
pub mod spec;
pub mod stream;
pub mod systemd;
