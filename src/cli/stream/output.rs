//! Standard output and error, written by a thread in the order in which they come, so that a reader that is slow
//! stops neither what is typed nor the window's size.

use std::io::{self, Write};
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Bytes;

/// Chunks that wait for the reader.
const MAX_QUEUED_CHUNKS: usize = 16;

/// The standard output or the standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Stdout,
    Stderr,
}

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReaderGone;

/// Hands output to the thread that writes it.
#[derive(Debug)]
pub(super) struct Output {
    sender: mpsc::Sender<(To, Bytes)>,
    thread: JoinHandle<io::Result<()>>,
}

impl Output {
    /// Starts the thread that writes to standard output and standard error.
    pub(super) fn start() -> Self {
        let (sender, mut receiver) = mpsc::channel::<(To, Bytes)>(MAX_QUEUED_CHUNKS);
        let thread = std::thread::spawn(move || {
            while let Some((to, bytes)) = receiver.blocking_recv() {
                match to {
                    To::Stdout => write(io::stdout().lock(), &bytes)?,
                    To::Stderr => write(io::stderr().lock(), &bytes)?,
                }
            }
            Ok(())
        });
        Self { sender, thread }
    }

    /// Hands bytes to the thread that writes them, and waits while its queue is full.
    pub(super) async fn write(&self, to: To, bytes: Bytes) -> Result<(), ReaderGone> {
        self.sender.send((to, bytes)).await.map_err(|_| ReaderGone)
    }

    /// Waits until everything is written. A reader that has gone is no error.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.sender);
        let joined = tokio::task::spawn_blocking(move || self.thread.join());
        match joined.await {
            Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

fn write(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}
