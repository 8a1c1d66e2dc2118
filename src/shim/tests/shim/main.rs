//! The shim against the kernel: a real one is spawned, as the daemon does it, and driven over its socket.
//! Needs root; says so loudly and passes when it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends at what it did not expect"
)]

mod containers;
mod execs;
mod harness;
mod logs;
mod pods;
mod users;
mod versions;
