//! Holdfast: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.

pub mod disk;
pub mod id;
pub mod image;
pub mod wire;
