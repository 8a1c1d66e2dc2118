//! `holdfast run`: from a manifest to running containers.
//!
//! ```text
//!   manifest ──▶ images (provide) ──▶ directories ──▶ RunPodSandbox ──▶ keeper until all run ──▶ id on stdout
//!                                                                          │ --watch, --rm      │ else, if needed
//!                                                                          ▼                    ▼
//!                                                              session: logs and news     keep: a process
//! ```
//!
//! What this module must never do: leave something behind of a run that failed halfway. A pod that was there
//! before is not touched then.

mod arguments;
mod directories;
mod drive;
mod follow;
mod interrupt;
mod keep;
mod keeper;
mod manifest;
mod prepare;
mod provide;
mod removal;
mod report;
mod roots;
mod screen;
mod session;
mod start;

pub(crate) use arguments::RunArgs;
pub(crate) use keep::{KeepArgs, keep};
pub(crate) use prepare::{GRACE_SECONDS, prepare};
pub(crate) use removal::{RemovalError, remove_pod, stop_container, stop_pod};
pub(crate) use roots::RootArgs;
pub(crate) use start::run;
