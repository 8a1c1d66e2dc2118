//! The server's side of SPDY/3.1, as far as kubelets, kubectl and crictl use it. Only the client opens streams.
//!
//! ```text
//!   bytes ──▶ Decoder ──▶ reader ──▶ inboxes of streams ──▶ exec · attach · port-forward
//!   bytes ◀── Encoder ◀── writer ◀── outbox of the connection ◀──┘
//! ```
//!
//! This module must never buffer without a limit, whatever the client sends or does not read.

mod connection;
mod frame;
mod header;

#[cfg(test)]
mod tests;

pub(super) use connection::{ConnectionError, Opened, serve};
pub(super) use header::value;
