//! An exec or an attach, from the address to the outcome.
//!
//! Two loops share the connection and nothing else: one reads channels and writes the process' own streams, the
//! other reads standard input and the window's size. Neither waits for the other.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::connection::{self, Connection, Ending, StreamError, Transport};
use super::detach::DetachKeys;
use super::input;
use super::outcome::Outcome;
use super::output::{Output, To};
use super::terminal::{self, Raw};

/// Channels of exec and attach.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Most bytes of an outcome that are kept.
const LARGEST_OUTCOME: usize = 64 << 10;

/// Signals that end a session with a terminal: they must find it as it was.
const ENDING: [SignalKind; 3] = [
    SignalKind::interrupt(),
    SignalKind::terminate(),
    SignalKind::hangup(),
];

/// Why an exec or an attach ended without an outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The connection to the daemon cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The connection ended in good order, but nobody said how the command ended.
    #[error(
        "the connection ended before the command's outcome was known; was the pod or the daemon ended?"
    )]
    NoOutcome,
    /// The terminal or the standard streams of this process cannot be used.
    #[error("cannot use the terminal or the standard streams")]
    Standard(#[source] std::io::Error),
}

/// Which streams a session has beside its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionStreams {
    /// Standard input is passed on.
    pub stdin: bool,
    /// The process has a terminal.
    pub terminal: bool,
    /// Ctrl-p ctrl-q ends the session.
    pub detach_keys: bool,
}

/// Passes streams on until the session ends.
///
/// # Errors
/// [`SessionError`]; the terminal is as it was before.
pub(crate) async fn converse(url: &str, wanted: SessionStreams) -> Result<Outcome, SessionError> {
    let Connection { socket, ending } = connection::open(url).await?;
    let raw = if wanted.stdin && wanted.terminal {
        Raw::enter().map_err(SessionError::Standard)?
    } else {
        None
    };
    // Without a raw terminal signals end this program as they end any other.
    let mut signals = match &raw {
        Some(_) => Some(Signals::watch().map_err(SessionError::Standard)?),
        None => None,
    };
    let (sink, source) = socket.split();
    let output = Output::start();
    let mut sender = Sender::new(sink, ending, wanted).map_err(SessionError::Standard)?;
    let outcome = tokio::select! {
        outcome = receive(source, &output) => outcome,
        outcome = sender.run() => outcome,
        number = Signals::next(&mut signals) => Ok(Outcome::Signalled(number)),
    };
    if let Ok(Outcome::Ended(_) | Outcome::Failed(_)) = outcome {
        output.finish().await.map_err(SessionError::Standard)?;
    }
    drop(raw);
    outcome
}

/// Signals that would end this program.
struct Signals([Signal; 3]);

impl Signals {
    fn watch() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] = ENDING;
        Ok(Self([
            signal(interrupt)?,
            signal(terminate)?,
            signal(hangup)?,
        ]))
    }

    /// The number of the next one; never without a watch.
    async fn next(watch: &mut Option<Self>) -> i32 {
        let Some(Self([interrupt, terminate, hangup])) = watch else {
            return std::future::pending().await;
        };
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
        };
        kind.as_raw_value()
    }
}

type Socket = WebSocketStream<Box<dyn Transport>>;

/// Writes what comes until the outcome is there.
async fn receive(
    mut source: SplitStream<Socket>,
    output: &Output,
) -> Result<Outcome, SessionError> {
    let mut outcome = Vec::new();
    while let Some(message) = source.next().await {
        let bytes = match message {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Text(text)) => text.into(),
            Ok(Message::Close(_)) => break,
            // Pongs are sent by the library.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            // The other side may be gone without a word, when its pod was.
            Err(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => break,
            Err(error) => return Err(StreamError::from(error).into()),
        };
        let Some(channel) = bytes.first().copied() else {
            continue;
        };
        let bytes = bytes.slice(1..);
        let to = match channel {
            STDOUT => To::Stdout,
            STDERR => To::Stderr,
            ERROR => {
                let room = LARGEST_OUTCOME.saturating_sub(outcome.len());
                outcome.extend_from_slice(&bytes[..bytes.len().min(room)]);
                continue;
            }
            _ => continue,
        };
        if !bytes.is_empty() && output.write(to, bytes).await.is_err() {
            return Ok(Outcome::ReaderGone);
        }
    }
    Outcome::parse(&outcome).ok_or(SessionError::NoOutcome)
}

/// Sends what is typed, and the window's size.
struct Sender {
    sink: SplitSink<Socket, Message>,
    ending: Ending,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    keys: Option<DetachKeys>,
    resized: Option<Signal>,
}

impl Sender {
    fn new(
        sink: SplitSink<Socket, Message>,
        ending: Ending,
        wanted: SessionStreams,
    ) -> std::io::Result<Self> {
        let resized = match wanted.terminal {
            true => Some(signal(SignalKind::window_change())?),
            false => None,
        };
        Ok(Self {
            sink,
            ending,
            input: wanted.stdin.then(input::start),
            keys: wanted.detach_keys.then(DetachKeys::default),
            resized,
        })
    }

    /// Ends only with the detach keys or the connection: the end of the input is not that of the session.
    async fn run(&mut self) -> Result<Outcome, SessionError> {
        if self.resized.is_some() {
            self.send_size().await?;
        }
        loop {
            let typed = tokio::select! {
                typed = next(&mut self.input) => typed,
                () = change(&mut self.resized) => {
                    self.send_size().await?;
                    continue;
                }
            };
            match typed {
                Some(bytes) => {
                    let (bytes, detach) = match &mut self.keys {
                        Some(keys) => {
                            let typed = keys.feed(&bytes);
                            (typed.bytes, typed.detach)
                        }
                        None => (bytes, false),
                    };
                    if !bytes.is_empty() {
                        self.send(connection::data(STDIN, &bytes)).await?;
                    }
                    if detach {
                        return Ok(Outcome::Detached);
                    }
                }
                None => {
                    self.input = None;
                    if self.ending == Ending::ByMessage {
                        self.send(connection::end(STDIN)).await?;
                    }
                }
            }
        }
    }

    async fn send_size(&mut self) -> Result<(), SessionError> {
        let Some((rows, columns)) = terminal::size() else {
            return Ok(());
        };
        let size = format!(r#"{{"Width":{columns},"Height":{rows}}}"#);
        self.send(connection::data(RESIZE, size.as_bytes())).await
    }

    /// Sends a message. When the other side takes no more, what it says last is still to be read.
    async fn send(&mut self, message: Message) -> Result<(), SessionError> {
        match self.sink.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Waits for the next typed bytes; for ever when there is no input.
async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for another size of the window; for ever without a terminal.
async fn change(resized: &mut Option<Signal>) {
    match resized {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
