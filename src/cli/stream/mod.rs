//! The client's side of exec, attach and port-forward: WebSocket to the address that the daemon gives.
//!
//! ```text
//!   Exec, Attach, PortForward ──▶ URL ── connection ──▶ WebSocket, one channel a stream
//!                                            │
//!        stdin, window size ── session ──────┼──────── stdout, stderr, outcome
//!                                terminal: raw while a session lasts
//! ```
//!
//! What this module must never do: leave the terminal raw, whatever ends the session; or let one stream wait
//! for another, because the other side may be waiting for just that one.

mod connection;
mod detach;
mod input;
mod outcome;
mod output;
mod session;
mod terminal;
mod trust;

pub(super) use connection::{Connection, Ending, StreamError, Transport, data, end, open};
pub(super) use outcome::Outcome;
pub(super) use session::{SessionError, SessionStreams, converse};
pub(super) use terminal::{NoTerminal, require_terminal, size};
