//! `holdfast images`, `pull`, `rmi` and `image import`.

mod archive;
mod import;
mod list;
mod progress;
mod pull;
mod remove;
mod status;

pub(crate) use import::ImageCommand;
pub(crate) use list::ListArgs;
pub(crate) use pull::PullArgs;
pub(crate) use remove::RemoveArgs;

pub(super) use import::run;
pub(super) use list::list;
pub(super) use pull::{fetch, pull};
pub(super) use remove::remove;
pub(super) use status::{named, status};
