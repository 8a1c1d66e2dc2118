//! Holdfast: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.

pub mod cli;
pub mod cri;
pub mod disk;
pub mod id;
pub mod plan;
pub mod spec;
pub mod wire;
