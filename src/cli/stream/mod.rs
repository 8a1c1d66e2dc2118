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

use std::io;

use tokio_rustls::rustls::Error as TlsError;
use tokio_tungstenite::tungstenite;

mod connection;
mod detach;
mod input;
mod outcome;
mod output;
mod session;
mod terminal;
mod trust;

pub(super) use connection::{Connection, Ending, Transport, data, end, open};
pub(super) use outcome::Outcome;
pub(super) use session::{Wanted, converse};
pub(super) use terminal::{size, stdin_is_terminal};

/// Why a stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The address is none.
    #[error("the daemon gave {0:?}, which is no address of a stream")]
    Address(String),
    /// Nobody answers there.
    #[error(
        "cannot connect to {address}, where the daemon serves streams ([streaming] in its configuration)"
    )]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS to another machine, whose certificate nobody has vouched for.
    #[error(
        "{0} is not on this machine: its certificate cannot be checked; run holdfast where the daemon runs"
    )]
    Elsewhere(String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// The address is refused.
    #[error("the daemon refused the stream: {0}")]
    Refused(String),
    /// The connection broke, or the other side does not speak the protocol.
    #[error("the connection broke")]
    Broken(#[from] tungstenite::Error),
    /// The connection ended in good order, but nobody said how the command ended.
    #[error(
        "the connection ended before the command's outcome was known; was the pod or the daemon ended?"
    )]
    NoOutcome,
    /// The terminal or the process' own streams.
    #[error("cannot use the terminal or the standard streams")]
    Standard(#[source] io::Error),
}
