//! What every process of Holdfast may use: ids, system calls, cgroups, how errors are
//! printed, and the places where tests fail.
//!
//! All unsafe code of Holdfast is in [`sys`]. Nothing here knows of pods.

pub mod cgroup;
mod error_chain;
pub mod fault;
pub mod id;
pub mod sys;

pub use error_chain::error_chain;
