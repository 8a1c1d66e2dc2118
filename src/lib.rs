//! Holdfast.

pub mod cgroup;
pub mod disk;
