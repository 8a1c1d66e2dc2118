//! SIGINT and SIGTERM, as something to wait for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which a person ends a command.
#[derive(Debug)]
pub(super) struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    /// From now on they end nothing by themselves.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one. May be dropped while it waits.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
