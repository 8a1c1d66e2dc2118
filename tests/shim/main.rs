//! The shim against the kernel: a real one is spawned, as the daemon does it, and driven over its socket.
//! Needs root; says so loudly and passes when it is not.

mod containers;
mod execs;
mod harness;
mod logs;
mod pods;
