//! Control groups: create, limit, measure, watch and kill, with the cgroupfs driver.
//!
//! One [`Hierarchy`] value stands for every cgroup tree of the machine (the v1 trees, the v2 tree, or
//! both), one [`Cgroup`] for the same path in all of them. Everything is done through directory
//! descriptors: a path is walked once, when the group is created or opened, and from then on a group is
//! its descriptors, so that a group removed and made again by someone else is never mistaken for ours.
//!
//! ```text
//!   Hierarchy ── create(path, limits) ──▶ Cgroup ── entries() ──▶ descriptors for the shim's clone
//!       │                                   │  apply · limits · stats · kill · processes
//!       ├─ open(path) ─────────────────────▶│
//!       └─ remove(path): children first, idempotent
//! ```
//!
//! Three layouts are served: v2 alone, v1 alone, and hybrid (v1 controllers with a v2 tree that has few or
//! none). Which tree holds a controller is asked per controller, so a layout between these works too.
//!
//! This module must never touch a group above the path it was given, except to switch controllers on for
//! its children (v2) or to fill an empty cpuset (v1), and never removes a parent unless asked by name. It
//! uses no async runtime, because the shim reads the same files.

mod controller;
mod create;
mod detail;
mod device_filter;
mod devices;
mod error;
mod events;
mod file;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod group;
mod hierarchy;
mod kill;
mod limits;
mod mounts;
mod path;
mod psi;
mod readback;
mod refusal;
mod remove;
mod settings;
mod stat_files;
mod stats;
mod update;
mod weight;
mod write;

#[cfg(test)]
mod tests;

pub use controller::Controller;
pub use detail::{Detail, DeviceIo, HugepageStats, MemoryDetail};
pub use devices::{DeviceKind, DeviceRule, DeviceVerdict};
pub use error::CgroupError;
pub use events::OomWatch;
pub use group::{Cgroup, Entry, Role};
pub use hierarchy::{Driver, Hierarchy, Mode};
pub use limits::{Ceiling, Limits};
pub use path::CgroupPath;
pub use psi::{Pressure, PressureLine};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};
