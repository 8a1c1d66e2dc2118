//! Holdfast: a Kubernetes CRI runtime. `ARCHITECTURE.md` explains the processes and the layers.
//!
//! The shim is built without the feature `daemon`, and then of the modules that it needs alone.

pub mod cgroup;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod cri;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
pub mod disk;
pub mod fault;
pub mod id;
#[cfg(feature = "daemon")]
pub mod image;
pub mod launch;
#[cfg(feature = "daemon")]
pub mod network;
#[cfg(feature = "daemon")]
pub mod plan;
#[cfg(feature = "daemon")]
pub mod pod;
pub mod shim;
#[cfg(feature = "daemon")]
pub mod spec;
#[cfg(feature = "daemon")]
pub mod stream;
pub mod sys;
#[cfg(feature = "daemon")]
pub mod systemd;
pub mod wire;
