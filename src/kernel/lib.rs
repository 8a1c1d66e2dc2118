//! What every process of Holdfast may use: ids, system calls, cgroups, and the places where tests fail.
//!
//! All unsafe code of Holdfast is in [`sys`]. Nothing here knows of pods.

pub mod cgroup;
pub mod fault;
pub mod id;
pub mod sys;
