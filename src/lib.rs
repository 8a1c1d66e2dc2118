//! Holdfast: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.

pub mod id;
pub mod launch;
pub mod shim;
pub mod sys;
pub mod wire;
