//! Holdfast.

pub mod cgroup;
