//! Black-box tests of Holdfast: what they share.
//!
//! A test starts a daemon of its own with [`Daemon::start`], speaks to it over its socket, and compares what it
//! says with what the kernel says ([`evidence`]). When the daemon goes out of scope everything is removed
//! through the CRI and [`leaks`] compares the machine with before: whatever is left fails the test.
//!
//! ```text
//!   test ── Daemon ── Pod ── Container      over the socket, as a kubelet would
//!     └──── evidence                        past the daemon: /proc, cgroup files, mount tables
//! ```
//!
//! Nothing here may use a module of the daemon: a mistake must not be able to hide on both sides. Failures
//! panic with the caller's place, because that is what a test wants.

#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs and write files where the product must not"
)]

pub mod call;
pub mod client;
pub mod cni;
pub mod daemon;
pub mod disk;
pub mod evidence;
pub mod fault;
pub mod leaks;
pub mod log;
pub mod machine;
pub mod place;
pub mod pod;
pub mod program;
pub mod proxy;
pub mod reboot;
pub mod reference;
pub mod registry;
pub mod request;
pub mod skip;
pub mod websocket;

pub use call::{call, fails, must};
pub use daemon::{Daemon, Options};
pub use pod::{Container, Pod};
pub use request::BUSYBOX;
