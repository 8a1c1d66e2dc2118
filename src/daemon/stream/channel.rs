//! A stream of a connection: bytes in both directions, with bounded buffers.
//!
//! Bytes of the client wait in the inbox until they are read. A full inbox stops the connection's reader, and so the
//! client. Written bytes wait for the connection's writer, which waits for the client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};

/// Bytes that one stream may have received and not read: the initial window of SPDY/3.1.
pub(super) const WINDOW: usize = 64 * 1024;

/// Most bytes of one message to the client.
const MAX_MESSAGE: usize = 32 * 1024;

/// The number of the connection's own window: SPDY/3.1, 2.6.8.
pub(super) const CONNECTION: u32 = 0;

/// Messages that wait for a client to read.
pub(super) const OUTBOX: usize = 8;

/// How long a client may take to show that it keeps count of windows. Those in use (kubelet, kubectl, crictl)
/// neither keep count nor send updates: what bounds them is the connection.
const PROBATION: Duration = Duration::from_millis(20);

/// The other side is gone, or has reset the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has closed the stream")]
pub(super) struct Gone;

/// A message to the client, before it has its form on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Bytes of a stream.
    Data(u32, Bytes),
    /// Nothing more comes on a stream.
    End(u32),
    /// A stream is broken off.
    Reset(u32, ResetReason),
    /// A stream of the client is accepted.
    Accept(u32),
    /// The answer to a sign of life.
    Pong(Bytes),
    /// A sign of life of our own, which a client that has gone does not take.
    KeepAlive,
    /// Nothing more comes on the connection.
    Close,
}

/// Why a stream is broken off: RST_STREAM of SPDY/3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetReason {
    /// There are too many streams.
    Refused = 3,
    /// The stream is not needed any more.
    Cancel = 5,
}

#[derive(Debug, Default)]
struct InboxState {
    bytes: BytesMut,
    ended: bool,
    reset: bool,
    /// The reader of the stream is gone.
    closed: bool,
}

/// Bytes that a client has sent on a stream and that are not read yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    readable: Notify,
    writable: Notify,
    broken: Notify,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes as soon as less than a window is unread. Returns false when the stream has no reader any more and
    /// the bytes are discarded.
    pub(super) async fn push(&self, bytes: &[u8]) -> bool {
        loop {
            // Registered before the look, so that no room that is made in between is missed.
            let room = self.writable.notified();
            {
                let mut state = self.state();
                if state.closed || state.ended {
                    return false;
                }
                if state.bytes.len() < WINDOW {
                    state.bytes.extend_from_slice(bytes);
                    drop(state);
                    self.readable.notify_one();
                    return true;
                }
            }
            room.await;
        }
    }

    /// The client sends nothing more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.readable.notify_one();
    }

    /// The client has broken the stream off.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.ended = true;
        state.reset = true;
        drop(state);
        self.readable.notify_one();
        self.writable.notify_one();
        self.broken.notify_waiters();
    }

    /// The reader of the stream is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Ends reading. Returns how many bytes were not read.
    fn close(&self) -> usize {
        let mut state = self.state();
        state.closed = true;
        let unread = std::mem::take(&mut state.bytes).len();
        drop(state);
        self.writable.notify_one();
        unread
    }

    fn take(&self) -> Option<Option<Bytes>> {
        let mut state = self.state();
        if !state.bytes.is_empty() {
            let bytes = std::mem::take(&mut state.bytes).freeze();
            drop(state);
            self.writable.notify_one();
            return Some(Some(bytes));
        }
        state.ended.then_some(None)
    }

    async fn read(&self) -> Option<Bytes> {
        loop {
            let readable = self.readable.notified();
            if let Some(read) = self.take() {
                return read;
            }
            readable.await;
        }
    }
}

/// Whether a client sends window updates.
#[derive(Debug, Default)]
pub(super) struct Counting {
    counts: AtomicBool,
    judged: AtomicBool,
}

impl Counting {
    /// Records that the client has sent a window update.
    pub(super) fn shown(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }
}

/// How many more bytes the client allows to be sent.
#[derive(Debug)]
pub(super) struct SendWindow {
    remaining: Mutex<i64>,
    more: Notify,
    counting: Arc<Counting>,
}

impl SendWindow {
    /// Creates a window that allows `initial` bytes.
    pub(super) fn new(counting: Arc<Counting>, initial: i64) -> Self {
        Self {
            remaining: Mutex::new(initial),
            more: Notify::new(),
            counting,
        }
    }

    fn remaining(&self) -> MutexGuard<'_, i64> {
        self.remaining
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The client allows more, or with another initial window less. False when it allows more than there can be.
    pub(super) fn add(&self, bytes: i64) -> bool {
        let mut left = self.remaining();
        *left = left.saturating_add(bytes);
        let possible = *left <= i64::from(i32::MAX);
        drop(left);
        self.more.notify_waiters();
        possible
    }

    /// Takes up to `wanted` bytes of the window; 0 when the window is used up.
    fn take(&self, wanted: usize) -> usize {
        let mut left = self.remaining();
        let judged = self.counting.judged.load(Ordering::Relaxed);
        let counts = self.counting.counts.load(Ordering::Relaxed);
        let allowed = match (judged, counts) {
            (true, false) => wanted,
            _ => wanted.min(usize::try_from(*left).unwrap_or(0)),
        };
        *left = left.saturating_sub(i64::try_from(allowed).unwrap_or(i64::MAX));
        allowed
    }

    /// Waits until the client allows more bytes, or is found not to update windows.
    async fn wait(&self) {
        let more = self.more.notified();
        if *self.remaining() > 0 {
            return;
        }
        if self.counting.counts.load(Ordering::Relaxed) {
            return more.await;
        }
        let shown = tokio::time::timeout(PROBATION, more).await;
        if shown.is_err() {
            self.counting.judged.store(true, Ordering::Relaxed);
        }
    }
}

/// Counts of bytes that were read, which the writer reports to the client as window updates.
#[derive(Debug, Default)]
pub(super) struct Credits {
    owed: Mutex<Vec<(u32, usize)>>,
    changed: Notify,
}

impl Credits {
    /// Records that `bytes` of a stream were read.
    pub(super) fn give(&self, stream: u32, bytes: usize) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        match owed.iter_mut().find(|(id, _)| *id == stream) {
            Some((_, owed)) => *owed += bytes,
            None => owed.push((stream, bytes)),
        }
        drop(owed);
        self.changed.notify_one();
    }

    /// Waits until something is owed, and takes it.
    pub(super) async fn take(&self) -> Vec<(u32, usize)> {
        loop {
            let changed = self.changed.notified();
            let owed =
                std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner));
            if !owed.is_empty() {
                return owed;
            }
            changed.await;
        }
    }
}

/// The windows of a stream, for transports that have windows.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    /// The send window of this stream.
    pub stream: Arc<SendWindow>,
    /// The send window of the whole connection.
    pub connection: Arc<SendWindow>,
    /// Bytes that were read and are to be reported to the client.
    pub credits: Arc<Credits>,
}

/// A stream of a client. Dropping it stops reading; it does not end the stream for the client.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    inbox: Arc<Inbox>,
    outbox: mpsc::Sender<Message>,
    windows: Option<Windows>,
}

impl Stream {
    /// A stream with its inbox and the way to the connection's writer.
    pub(super) fn new(id: u32, outbox: mpsc::Sender<Message>, windows: Option<Windows>) -> Self {
        Self {
            id,
            inbox: Arc::default(),
            outbox,
            windows,
        }
    }

    /// The inbox that the connection's reader fills.
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Its number on the connection.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Reads what the client has sent; `None` at the end of the stream. Nothing is lost when this is cancelled.
    pub(super) async fn read(&self) -> Option<Bytes> {
        let bytes = self.inbox.read().await?;
        if let Some(windows) = &self.windows {
            windows.credits.give(self.id, bytes.len());
            windows.credits.give(CONNECTION, bytes.len());
        }
        Some(bytes)
    }

    /// The client has broken the stream off.
    pub(super) fn is_reset(&self) -> bool {
        self.inbox.state().reset
    }

    /// Sends bytes. What is sent is taken off the front, so that nothing is lost when this is cancelled.
    ///
    /// # Errors
    /// The client is gone or has reset the stream.
    pub(super) async fn write(&self, bytes: &mut Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let permit = self.outbox.reserve().await.map_err(|_| Gone)?;
            // Registered before the look, so that no reset in between is missed.
            let broken = self.inbox.broken.notified();
            if self.is_reset() {
                return Err(Gone);
            }
            let length = self.allowed(bytes.len().min(MAX_MESSAGE));
            if length > 0 {
                permit.send(Message::Data(self.id, bytes.split_to(length)));
                continue;
            }
            drop(permit);
            tokio::select! {
                () = self.more_allowed() => {}
                () = broken => return Err(Gone),
            }
        }
        Ok(())
    }

    /// Waits until it is worth looking at the windows again.
    async fn more_allowed(&self) {
        if let Some(windows) = &self.windows {
            windows.stream.wait().await;
            windows.connection.wait().await;
        }
    }

    /// How many of `wanted` bytes both windows allow now.
    fn allowed(&self, wanted: usize) -> usize {
        let Some(windows) = &self.windows else {
            return wanted;
        };
        let of_stream = windows.stream.take(wanted);
        let of_both = windows.connection.take(of_stream);
        if of_both < of_stream {
            windows
                .stream
                .add(i64::try_from(of_stream - of_both).unwrap_or(0));
        }
        of_both
    }

    /// Sends no bytes, in a message of their own.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn greet(&self) -> Result<(), Gone> {
        let empty = Message::Data(self.id, Bytes::new());
        self.outbox.send(empty).await.map_err(|_| Gone)
    }

    /// # Errors
    /// The client is gone.
    pub(super) async fn finish(&self) -> Result<(), Gone> {
        let end = Message::End(self.id);
        self.outbox.send(end).await.map_err(|_| Gone)
    }

    /// Breaks the stream off.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn reset(&self) -> Result<(), Gone> {
        let reset = Message::Reset(self.id, ResetReason::Cancel);
        self.outbox.send(reset).await.map_err(|_| Gone)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let unread = self.inbox.close();
        if let Some(windows) = &self.windows
            && unread > 0
        {
            windows.credits.give(CONNECTION, unread);
        }
    }
}
