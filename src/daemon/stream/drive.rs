//! Runs the three parts of a connection in one task: the reader, the writer and the session that uses the streams.
//! When one of them ends, the others end too.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::channel::Message;

/// How long a client may take to read what was written before the end.
const FLUSH: Duration = Duration::from_secs(30);

/// How long the client is waited for to close first: closing on unread bytes would destroy what is still on the
/// way to it, tcp(7).
const LINGER: Duration = Duration::from_secs(30);

/// How often a ping is sent. It finds a client that is gone while its bytes are not read: the end of its connection
/// is queued behind those bytes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Runs a connection until the session or the client ends. What the session wrote is sent first.
pub(super) async fn drive<E>(
    reader: impl Future<Output = Result<(), E>>,
    writer: impl Future<Output = Result<(), E>>,
    session: impl Future<Output = ()>,
    outbox: mpsc::Sender<Message>,
) -> Result<(), E> {
    let (mut reader, mut writer) = (pin!(reader), pin!(writer));
    {
        let session = async {
            session.await;
            // The writer is gone only together with this.
            let _ = outbox.send(Message::Close).await;
        };
        let alive = async {
            loop {
                sleep(KEEP_ALIVE).await;
                let _ = outbox.send(Message::KeepAlive).await;
            }
        };
        tokio::select! {
            read = &mut reader => return read,
            written = &mut writer => return written,
            () = session => {}
            () = alive => {}
        }
    }
    let flushed = async {
        tokio::select! {
            read = &mut reader => read.map(|()| None),
            written = &mut writer => written.map(Some),
        }
    };
    match timeout(FLUSH, flushed).await {
        Ok(Ok(Some(()))) => {}
        Ok(Ok(None)) | Err(_) => return Ok(()),
        Ok(Err(error)) => return Err(error),
    }
    timeout(LINGER, reader).await.unwrap_or(Ok(()))
}

/// When a connection was last used. Signs of life do not count.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Activity {
    /// Starts the clock of a connection that was used just now.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Records that the connection is used now.
    pub(super) fn note(&self) {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// Waits until the connection has not been used for `limit`.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let due = self.started + last + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}
