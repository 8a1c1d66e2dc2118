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
//! # Versions
//!
//! Pods outlive the daemon that started them, so a daemon speaks to each shim in the shim's version, which it
//! learns from the shim program when it starts one ([`Greeting`]) and keeps in the pod's record. A shim answers
//! in the version of the last request. Both speak [`Protocol::OLDEST`] to [`Protocol::CURRENT`].
//!
//! - Nothing that has a number moves: postcard numbers variants by position and fields have none, so variants are
//!   appended and fields are never added, removed or reordered, in plans as well.
//! - Whatever is appended raises [`Protocol::CURRENT`], and [`Request::since`] and [`Event::since`] name it: a shim or
//!   a daemon that does not know it never gets it. So does a change of what something means.
//! - A plan that needs another shape gets a new type; the old one stays while its version is spoken.
//! - Whoever gets what he does not understand changes nothing, says so, and leaves the pod alone.
//!
//! `recorded/` has a conversation of each version that is spoken: the bytes must go on meaning the same.

mod frame;
mod greeting;
mod message;
pub mod plan;
mod protocol;

#[cfg(test)]
mod tests;

pub use frame::{
    FrameError, MAX_DESCRIPTORS, MAX_PACKET, decode, decode_exit, decode_plan, encode, encode_exit,
    encode_plan,
};
pub use greeting::Greeting;
pub use message::{
    AttachedInput, CgroupSlot, ContainerReport, Event, ExecStdio, ExitStatus, Failure, FromShim,
    IpFamily, PauseReport, Phase, Reply, Request, Step, ToShim,
};
pub use protocol::{Protocol, UnspokenProtocol};
