//! Holdfast: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.

pub mod cgroup;
pub mod cli;
pub mod cri;
pub mod daemon;
pub mod disk;
pub mod id;
pub mod image;
pub mod launch;
pub mod network;
pub mod plan;
pub mod pod;
pub mod shim;
pub mod spec;
pub mod sys;
pub mod wire;
