//! The reference plugins, served by the daemon itself: what `loopback` and others do, without a process.
//!
//! ```text
//!   a call of a plugin ─▶ chosen? of a known edition? is all of its configuration held?
//!                           │ yes                            │ no
//!                           ▼                                ▼
//!                  a thread of its own                the program, as always
//!                  joins the pod's namespace
//! ```
//!
//! What is made is what the program would make: the same addresses, files, interfaces and result. So the program can
//! undo what was made here, and the other way round, and a pod may be made by one and released by the other.
//!
//! A configuration that has anything that is not known here goes to the program, which also says best what is wrong
//! with it: nothing has been done by then. Steps are announced like everybody's, and DEL is complete from any of them.

mod bandwidth;
mod bridge;
mod edition;
mod error;
mod fields;
mod host_local;
mod job;
mod joined;
mod loopback;
mod masquerade;
mod message;
mod place;
mod plugin;
mod pod;
mod portmap;
mod ptp;
mod range;
mod rules;
mod served;
mod store;
mod tables;
mod veth;

pub use plugin::NativePlugin;
pub(super) use served::{Asked, Known, Natives};
