//! What the daemon and a shim say to each other.
//!
//! The two talk over a `SOCK_SEQPACKET` unix socket: one message a packet, descriptors by `SCM_RIGHTS`.
//! Every packet starts with the protocol's version. This module knows types and bytes; it never touches a
//! socket, starts nothing and decides nothing.
//!
//! ```text
//!   holdfastd ── Request (id, body, descriptors) ──▶ shim
//!   holdfastd ◀─ Reply   (id, body, descriptors) ─── shim      one for each request, in any order
//!   holdfastd ◀─ Event   (body) ──────────────────── shim      exits; repeated until acknowledged
//! ```
//!
//! Launch plans are larger than a packet should be. They travel as a sealed memfd, the first descriptor of
//! their request.
//!
//! Compatibility: variants and fields are only ever appended as new variants; [`PROTOCOL`] is raised when
//! the meaning of an existing one changes. postcard numbers variants by position.

mod frame;
mod message;
pub mod plan;

#[cfg(test)]
mod tests;

pub use frame::{FrameError, MAX_DESCRIPTORS, MAX_PACKET, decode, encode};
pub use message::{
    AttachedInput, CgroupSlot, ContainerReport, Event, ExecStdio, ExitStatus, Failure, FromShim,
    IpFamily, PauseReport, Phase, Reply, Request, Step, ToShim,
};

/// Version of the protocol that this build speaks.
pub const PROTOCOL: u16 = 1;
