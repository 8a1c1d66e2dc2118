//! From an OCI runtime Spec to the flat launch plan of [`holdfast_wire::plan`].
//!
//! ```text
//!   Spec ──┬─ compile ─▶ ContainerPlan
//!          ├─ exec ────▶ ExecPlan
//!   Spec ──┴─ pause ───▶ PausePlan
//! ```
//!
//! This module is pure but for a cache of compiled seccomp filters. It never ignores a part of a Spec that
//! the launcher cannot do: that is an error which names the field.

mod compile;
mod devices;
mod hooks;
mod mounts;
mod pause;
mod process;
pub(crate) mod seccomp;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use compile::{
    CgroupHierarchy, CgroupMounts, ExecRequest, IMAGE_MOUNT, ImageTree, PlanContext, PlanError,
    Stdin, compile, exec,
};
pub(crate) use hooks::hooks;
pub(crate) use mounts::check_options;
pub(crate) use pause::pause;
pub(crate) use seccomp::{FilterError, FilterPart};

use compile::{process_of, refuse, refuse_any};
