//! The protocol between the daemon and a shim.
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
//! Pods outlive the daemon that started them. A shim program tells in its [`Greeting`] which versions of the protocol it
//! speaks, the pod's record keeps them, and every daemon speaks the newest version that both know
//! ([`Protocols::common`]). A shim answers in the version of the last request.
//!
//! - Messages are postcard, which numbers variants by position and names no fields. So variants are appended, and the
//!   fields of a variant stay as they are. Whoever appends one raises [`Protocol::CURRENT`], and [`Request::since`] or
//!   [`Event::since`] names that version: a shim or a daemon that does not know the variant never gets it. A reply
//!   answers a request, and so needs no version of its own.
//! - Launch plans get fields by the rule in `growing.rs`.
//! - A packet of a version that is not spoken, or that is not understood, changes nothing. The daemon says so to
//!   whoever asks, and leaves the pod as it is.
//!
//! `tests/protocol-1.txt` has the bytes of all messages and plans of version 1. They keep their meaning.

mod exit_record;
mod exit_status;
mod failure;
mod frame;
mod greeting;
mod growing;
mod message;
pub mod plan;
mod protocol;

#[cfg(test)]
mod tests;

pub use exit_record::{decode_exit, encode_exit};
pub use exit_status::ExitStatus;
pub use failure::{Cause, Failure, MountedObject, Object, Step};
pub use frame::{FrameError, MAX_DESCRIPTORS, MAX_PACKET, decode, encode};
pub use greeting::Greeting;
pub use growing::{Growing, decode_plan, encode_plan};
pub use message::{
    AttachedInput, CgroupSlot, ContainerReport, Event, ExecStdio, FromShim, IpFamily, PauseReport,
    Phase, Reply, Request, ToShim,
};
pub use protocol::{Protocol, Protocols, UnspokenProtocol};

/// The packet that asks the server of shims for a new one. Descriptors: a listening `SOCK_SEQPACKET` socket, then the
/// pod's state directory.
pub const NEW_POD: &[u8; 7] = b"new pod";
