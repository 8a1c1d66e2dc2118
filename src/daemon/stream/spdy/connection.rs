//! A connection: a reader and a writer around the streams that the client opens.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{Decoder, Encoder, Frame, FrameError};
use super::header::Headers;
use crate::stream::drive::{Activity, drive};

use crate::stream::channel::{
    CONNECTION, Counting, Credits, Inbox, Message, OUTBOX, ResetReason, SendWindow, Stream, WINDOW,
    Windows,
};

/// Most streams of one connection at once. A port-forward has two for each connection.
const MOST_STREAMS: usize = 512;

/// Most opened streams that wait to be accepted.
const UNSEEN: usize = 16;

/// Bytes read at once.
const READ: usize = 32 * 1024;

/// A stream that the client has opened, and what for.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The headers with which the client opened the stream.
    pub headers: Headers,
    pub stream: Stream,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The client sent something that is not SPDY/3.1.
    #[error("cannot read a frame")]
    Frame(#[from] FrameError),
    /// The connection to the client broke.
    #[error("cannot read from or write to the connection")]
    Io(#[from] io::Error),
}

/// The state that reader and writer share.
#[derive(Debug, Clone)]
struct Shared {
    outbox: mpsc::Sender<Message>,
    counting: Arc<Counting>,
    window: Arc<SendWindow>,
    credits: Arc<Credits>,
}

/// A stream as the reader knows it.
#[derive(Debug)]
struct OpenStream {
    inbox: Arc<Inbox>,
    window: Arc<SendWindow>,
}

/// Serves a connection: `session` gets the streams that the client opens. Ends with the session, after all that
/// it wrote was sent, or with the client.
///
/// # Errors
/// The client does not speak SPDY/3.1, or the connection broke.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite, F: Future<Output = ()>>(
    socket: S,
    activity: &Activity,
    session: impl FnOnce(mpsc::Receiver<Opened>) -> F,
) -> Result<(), ConnectionError> {
    let (reader, writer) = tokio::io::split(socket);
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let counting = Arc::new(Counting::default());
    let shared = Shared {
        window: Arc::new(SendWindow::new(Arc::clone(&counting), initial_window())),
        credits: Arc::default(),
        outbox,
        counting,
    };
    let (opened, streams) = mpsc::channel(UNSEEN);
    let close = shared.outbox.clone();
    let writer = Writer {
        writer,
        last: 0,
        encoder: Encoder::default(),
        credits: Arc::clone(&shared.credits),
        activity,
    };
    let reader = Reader {
        reader,
        decoder: Decoder::new(),
        known: BTreeMap::new(),
        last: 0,
        initial: initial_window(),
        shared,
        opened,
        activity,
    };
    drive(reader.run(), writer.run(messages), session(streams), close).await
}

fn initial_window() -> i64 {
    i64::try_from(WINDOW).unwrap_or(i64::MAX)
}

struct Reader<'a, R> {
    reader: R,
    decoder: Decoder,
    known: BTreeMap<u32, OpenStream>,
    /// The highest number of a stream so far.
    last: u32,
    /// The window with which streams begin.
    initial: i64,
    shared: Shared,
    opened: mpsc::Sender<Opened>,
    activity: &'a Activity,
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    /// Reads until the client ends the connection.
    async fn run(mut self) -> Result<(), ConnectionError> {
        loop {
            while let Some(frame) = self.decoder.next()? {
                if frame == Frame::GoAway {
                    // What was opened goes on; the client closes when it is done.
                    continue;
                }
                self.frame(frame).await?;
            }
            let buffer = self.decoder.buffer();
            buffer.reserve(READ);
            if self.reader.read_buf(buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn frame(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        if !matches!(frame, Frame::Ping(_)) {
            self.activity.note();
        }
        match frame {
            Frame::Open {
                stream,
                headers,
                fin,
            } => self.open(stream, headers, fin).await?,
            Frame::Data { stream, bytes, fin } => self.data(stream, &bytes, fin).await,
            Frame::Reset { stream } => {
                if let Some(known) = self.known.remove(&stream) {
                    known.inbox.reset();
                }
            }
            // Even numbers are the server's own, and it sends none.
            Frame::Ping(number) if number % 2 == 1 => {
                let pong = Bytes::copy_from_slice(&number.to_be_bytes());
                self.send(Message::Pong(pong)).await;
            }
            Frame::WindowUpdate { stream, more } => self.window_update(stream, more)?,
            Frame::InitialWindow(bytes) => self.initial_window(i64::from(bytes)),
            Frame::Other { ends: Some(stream) } => self.end(stream),
            Frame::Ping(_) | Frame::GoAway | Frame::Other { ends: None } => {}
        }
        Ok(())
    }

    /// To the writer. It is gone only together with this.
    async fn send(&self, message: Message) {
        let _ = self.shared.outbox.send(message).await;
    }

    async fn open(&mut self, id: u32, headers: Headers, fin: bool) -> Result<(), FrameError> {
        // Streams of a client have odd numbers, each higher than all before.
        if id.is_multiple_of(2) || id <= self.last {
            return Err(FrameError::Stream(id));
        }
        self.last = id;
        self.known.retain(|_, known| !known.inbox.is_closed());
        if self.known.len() >= MOST_STREAMS {
            self.send(Message::Reset(id, ResetReason::Refused)).await;
            return Ok(());
        }
        let window = Arc::new(SendWindow::new(
            Arc::clone(&self.shared.counting),
            self.initial,
        ));
        let windows = Windows {
            stream: Arc::clone(&window),
            connection: Arc::clone(&self.shared.window),
            credits: Arc::clone(&self.shared.credits),
        };
        let stream = Stream::new(id, self.shared.outbox.clone(), Some(windows));
        let inbox = stream.inbox();
        if fin {
            inbox.end();
        }
        self.known.insert(id, OpenStream { inbox, window });
        self.send(Message::Accept(id)).await;
        // A session that has ended takes no more streams: this one is closed by being dropped.
        let _ = self.opened.send(Opened { headers, stream }).await;
        Ok(())
    }

    async fn data(&mut self, stream: u32, bytes: &[u8], fin: bool) {
        let taken = match self.known.get(&stream) {
            Some(known) => known.inbox.push(bytes).await,
            None => false,
        };
        if !taken && !bytes.is_empty() {
            self.shared.credits.give(CONNECTION, bytes.len());
        }
        if fin {
            self.end(stream);
        }
    }

    fn end(&mut self, stream: u32) {
        if let Some(known) = self.known.get(&stream) {
            known.inbox.end();
        }
    }

    fn window_update(&mut self, stream: u32, more: u32) -> Result<(), FrameError> {
        self.shared.counting.shown();
        let window = match stream {
            CONNECTION => Some(&self.shared.window),
            _ => self.known.get(&stream).map(|known| &known.window),
        };
        match window {
            Some(window) if !window.add(i64::from(more)) => Err(FrameError::Window(stream)),
            _ => Ok(()),
        }
    }

    fn initial_window(&mut self, bytes: i64) {
        self.shared.counting.shown();
        for known in self.known.values() {
            known.window.add(bytes - self.initial);
        }
        self.initial = bytes;
    }
}

struct Writer<'a, W> {
    writer: W,
    encoder: Encoder,
    /// The last stream that was accepted.
    last: u32,
    credits: Arc<Credits>,
    activity: &'a Activity,
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    /// Writes until the connection is to be closed.
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        let mut open = true;
        while open {
            let credits = Arc::clone(&self.credits);
            tokio::select! {
                biased;
                owed = credits.take() => {
                    for (stream, bytes) in owed {
                        Encoder::window_update(&mut out, stream, bytes);
                    }
                }
                message = messages.recv() => {
                    open = self.encode(&mut out, message.unwrap_or(Message::Close)).is_continue();
                }
            }
            // What is ready goes in one write.
            while open
                && out.len() < READ
                && let Ok(message) = messages.try_recv()
            {
                open = self.encode(&mut out, message).is_continue();
            }
            self.writer.write_all_buf(&mut out).await?;
            self.writer.flush().await?;
        }
        Ok(self.writer.shutdown().await?)
    }

    /// Writes a message's frame. Breaks with the last one.
    fn encode(&mut self, out: &mut BytesMut, message: Message) -> ControlFlow<()> {
        match message {
            Message::Data(stream, bytes) => {
                self.activity.note();
                Encoder::data(out, stream, bytes.len());
                out.extend_from_slice(&bytes);
            }
            Message::End(stream) => Encoder::end(out, stream),
            Message::Reset(stream, reason) => Encoder::reset(out, stream, reason),
            Message::Accept(stream) => {
                self.last = stream;
                self.encoder.accept(out, stream);
            }
            Message::Pong(payload) => Encoder::ping(out, &payload),
            // Even numbers are the server's.
            Message::KeepAlive => Encoder::ping(out, &2_u32.to_be_bytes()),
            Message::Close => {
                Encoder::go_away(out, self.last);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}
