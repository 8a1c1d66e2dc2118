//! One connection: a TCP socket here and two channels of a WebSocket, which each begin with the port.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::stream::{self, Connection, Ending, StreamError, Transport};

/// Channels of the only port.
const DATA: u8 = 0;
const ERROR: u8 = 1;
/// Bytes of a port at the beginning of a channel.
const PORT: usize = 2;
/// Bytes moved at once.
const CHUNK: usize = 32 << 10;
/// Most bytes of an error that are kept.
const LARGEST_ERROR: usize = 4 << 10;

/// Why a connection to a port of a pod ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum PipeError {
    /// The stream to the daemon broke.
    #[error("cannot forward the connection")]
    Stream(#[from] StreamError),
    /// The daemon says why the port cannot be used.
    #[error("{0}")]
    Port(String),
}

type Socket = WebSocketStream<Box<dyn Transport>>;

/// Copies both ways until the pod's side ends, or this one is gone.
pub(super) async fn run(url: &str, socket: TcpStream) -> Result<(), PipeError> {
    let Connection { socket: to, ending } = stream::open(url).await?;
    let (reader, writer) = socket.into_split();
    let (sink, source) = to.split();
    tokio::select! {
        received = receive(source, writer) => received,
        sent = send(reader, sink, ending) => sent,
    }
}

/// A channel from the pod, without its first bytes.
#[derive(Debug, Default)]
struct Channel {
    seen: usize,
}

impl Channel {
    fn strip(&mut self, bytes: Bytes) -> Bytes {
        let cut = PORT.saturating_sub(self.seen).min(bytes.len());
        self.seen += cut;
        bytes.slice(cut..)
    }
}

async fn receive(
    mut source: SplitStream<Socket>,
    mut writer: OwnedWriteHalf,
) -> Result<(), PipeError> {
    let (mut data, mut error) = (Channel::default(), Channel::default());
    let mut reason = Vec::new();
    while let Some(message) = source.next().await {
        let bytes = match message.map_err(StreamError::from)? {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => break,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match bytes.first() {
            Some(&DATA) => {
                let bytes = data.strip(bytes.slice(1..));
                // A client that takes no more has gone.
                if writer.write_all(&bytes).await.is_err() {
                    return Ok(());
                }
            }
            Some(&ERROR) => {
                let bytes = error.strip(bytes.slice(1..));
                let room = LARGEST_ERROR.saturating_sub(reason.len());
                reason.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            _ => {}
        }
    }
    // One that is gone need not be told.
    let _ = writer.shutdown().await;
    if reason.is_empty() {
        return Ok(());
    }
    Err(PipeError::Port(
        String::from_utf8_lossy(&reason).into_owned(),
    ))
}

/// Sends what the client sends. Its end is passed on where that can be said, and the answer is waited for.
async fn send(
    mut reader: OwnedReadHalf,
    mut sink: SplitSink<Socket, Message>,
    ending: Ending,
) -> Result<(), PipeError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let message = match reader.read(&mut chunk).await {
            // It is gone, and wants no answer.
            Err(_) => return Ok(()),
            Ok(0) if ending == Ending::ByMessage => stream::end(DATA),
            Ok(0) => return std::future::pending().await,
            Ok(count) => stream::data(DATA, &chunk[..count]),
        };
        let last = message == stream::end(DATA);
        // The reason why it takes no more is still to be read.
        if sink.send(message).await.is_err() || last {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Bytes;

    use super::Channel;

    #[test]
    fn the_port_is_stripped_in_any_pieces() {
        let mut channel = Channel::default();
        let strip = |channel: &mut Channel, bytes: &'static [u8]| {
            channel.strip(Bytes::from_static(bytes)).to_vec()
        };
        assert_eq!(strip(&mut channel, b"\x50"), b"");
        assert_eq!(strip(&mut channel, b"\0abc"), b"abc");
        assert_eq!(strip(&mut channel, b"\0\0"), b"\0\0");
    }
}
