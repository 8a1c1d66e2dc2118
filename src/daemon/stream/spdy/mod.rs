//! SPDY/3.1 as far as kubelets, kubectl and crictl speak it: one side of a connection on which the client opens
//! streams.
//!
//! ```text
//!   bytes ──▶ Decoder ──▶ reader ──▶ inboxes of streams ──▶ exec · attach · port-forward
//!   bytes ◀── Encoder ◀── writer ◀── outbox of the connection ◀──┘
//! ```
//!
//! The server opens no stream of its own. What it must never do: buffer without a limit, whatever the client
//! sends or does not read.

mod connection;
mod frame;
mod header;

#[cfg(test)]
mod tests;

pub(super) use connection::{ConnectionError, Opened, serve};
pub(super) use header::value;
