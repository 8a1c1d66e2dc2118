//! Streams of clients to processes in pods: exec, attach and port-forward, over HTTP.
//!
//! The CRI hands out an address with a token; the client connects there and changes to SPDY/3.1 or WebSocket. One
//! task owns everything of a connection: when the client, the process, the pod or the daemon ends, all of it is
//! dropped together. This module must never wait for a client while it holds something that others need, or buffer
//! without a limit.
//!
//! ```text
//!   CRI ──▶ Tokens ──▶ URL ──▶ client ──▶ server ── http ─┬─ spdy ──────┬──▶ remote_command ──▶ exec, attach
//!                                                        └─ websocket ─┴──▶ port_forward ────▶ socket in the pod
//! ```

mod channel;
mod conversation;
mod drive;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod head;
mod negotiate;
mod port_forward;
mod remote_command;
mod server;
mod socket;
mod spdy;
mod tls;
mod token;
mod websocket;

pub(crate) use server::{ServerError, ServerSettings, StreamServer, Streaming};
pub(crate) use tls::Tls;
pub(crate) use token::{Purpose, TokenError};
