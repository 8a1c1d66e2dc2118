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
mod context;
mod devices;
mod hooks;
mod mounts;
mod pause;
mod plan_error;
mod process;
pub(crate) mod seccomp;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use compile::{ExecRequest, compile, exec};
pub(crate) use context::{CgroupHierarchy, CgroupMounts, ImageTree, PlanContext, Stdin};
pub(crate) use hooks::hooks;
pub(crate) use mounts::check_options;
pub(crate) use pause::pause;
pub(crate) use plan_error::PlanError;
pub(crate) use seccomp::{FilterError, FilterPart};
