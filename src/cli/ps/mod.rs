//! `holdfast ps` and `holdfast pods`: lists with the flags and the columns of crictl.
//!
//! What this module must never do: ask for anything but the two lists; they are cheap, and a list that looks
//! at each object is not.

mod containers;
mod filter;
mod pods;

pub(crate) use containers::PsArgs;
pub(crate) use pods::PodsArgs;

pub(super) use containers::{containers, state_name};
pub(super) use filter::Label;
pub(super) use pods::{pods, state_name as pod_state_name};
