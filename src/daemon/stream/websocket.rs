//! WebSocket, RFC 6455: channels in messages, or a whole connection of SPDY in them.
//!
//! The first byte of a message is its channel. The protocol has no windows: a channel that is not read stops the
//! other channels, and so the client.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Packet};

use super::channel::{Inbox, Message, OUTBOX, Stream, WINDOW};
use super::drive::{Activity, drive};
use super::head::{Head, Refusal};
use super::negotiate::Codec;

/// Largest message of a client.
const MAX_MESSAGE: usize = 1 << 20;

/// With which v5 clients end a channel: this byte, then the channel.
const CLOSE_CHANNEL: u8 = 255;

/// Bytes on their way between the messages and the SPDY within them.
const TUNNEL: usize = WINDOW;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebSocketError {
    /// The connection broke, or the client violated the protocol.
    #[error("cannot read from or write to the WebSocket connection")]
    Protocol(#[from] tungstenite::Error),
    /// The end of the tunnel.
    #[error("cannot read from or write to the tunnel in the WebSocket connection")]
    Tunnel(#[from] io::Error),
}

/// The header that accepts a client's request.
///
/// # Errors
/// [`Refusal`] when the request is not one of WebSocket 13.
pub(super) fn accept(head: &Head) -> Result<(&'static str, String), Refusal> {
    let refused = |text: &str| Err(Refusal::new("400 Bad Request", text));
    if head.method != "GET" {
        return refused("WebSocket begins with GET");
    }
    if !head.has_word("Sec-WebSocket-Version", "13") {
        let mut refusal = Refusal::new("426 Upgrade Required", "version 13 is served");
        let version = ("Sec-WebSocket-Version", "13".to_owned());
        refusal.headers.push(version);
        return Err(refusal);
    }
    match head.values("Sec-WebSocket-Key").next() {
        Some(key) => Ok(("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()))),
        None => refused("Sec-WebSocket-Key is missing"),
    }
}

/// A socket on which both sides have changed to WebSocket.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(socket: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await
}

/// Form of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// How channels and bytes are written.
    pub codec: Codec,
    /// Clients end channels one by one.
    pub ends: bool,
}

/// The channels of a connection.
#[derive(Debug)]
pub(super) struct Channels {
    outbox: mpsc::Sender<Message>,
    inboxes: BTreeMap<u8, Arc<Inbox>>,
}

impl Channels {
    /// A channel. What comes on those that were not opened is thrown away.
    pub(super) fn open(&mut self, number: u8) -> Stream {
        let stream = Stream::new(u32::from(number), self.outbox.clone(), None);
        self.inboxes.insert(number, stream.inbox());
        stream
    }
}

/// Serves a connection with channels. `session` opens them and gets to work. Ends with the session, after all that
/// it wrote was sent, or with the client.
///
/// # Errors
/// The client does not speak the protocol, or the connection broke.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin, F: Future<Output = ()>>(
    socket: WebSocketStream<S>,
    form: Form,
    activity: &Activity,
    session: impl FnOnce(&mut Channels) -> F,
) -> Result<(), WebSocketError> {
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let mut channels = Channels {
        outbox: outbox.clone(),
        inboxes: BTreeMap::new(),
    };
    let session = session(&mut channels);
    let (sink, source) = socket.split();
    let reader = read(source, form, channels.inboxes, activity);
    let writer = write(sink, form.codec, messages, activity);
    drive(reader, writer, session, outbox).await
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<S>>,
    form: Form,
    inboxes: BTreeMap<u8, Arc<Inbox>>,
    activity: &Activity,
) -> Result<(), WebSocketError> {
    while let Some(packet) = source.next().await {
        let bytes = match packet? {
            Packet::Binary(bytes) => bytes,
            Packet::Text(text) => text.into(),
            Packet::Close(_) => break,
            // Pongs are sent by the library, with the next read at the latest.
            Packet::Ping(_) | Packet::Pong(_) | Packet::Frame(_) => continue,
        };
        activity.note();
        match decode(form, &bytes) {
            Some(Incoming::Data(channel, bytes)) => {
                if let Some(inbox) = inboxes.get(&channel) {
                    inbox.push(&bytes).await;
                }
            }
            Some(Incoming::End(channel)) => {
                if let Some(inbox) = inboxes.get(&channel) {
                    inbox.end();
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// A message of the client, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Incoming {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// The end of a channel.
    End(u8),
}

fn decode(form: Form, bytes: &Bytes) -> Option<Incoming> {
    let channel = *bytes.first()?;
    if form.ends && channel == CLOSE_CHANNEL {
        return bytes.get(1).copied().map(Incoming::End);
    }
    match form.codec {
        Codec::Binary => Some(Incoming::Data(channel, bytes.slice(1..))),
        Codec::Base64 => {
            let channel = channel.checked_sub(b'0')?;
            let content = STANDARD.decode(&bytes[1..]).ok()?;
            Some(Incoming::Data(channel, content.into()))
        }
    }
}

fn encode(codec: Codec, channel: u32, bytes: &[u8]) -> Packet {
    // Channels are made from bytes.
    let channel = u8::try_from(channel).unwrap_or(CLOSE_CHANNEL);
    match codec {
        Codec::Binary => {
            let mut content = BytesMut::with_capacity(bytes.len() + 1);
            content.extend_from_slice(&[channel]);
            content.extend_from_slice(bytes);
            Packet::Binary(content.freeze())
        }
        Codec::Base64 => {
            let mut text = String::from(char::from(channel.wrapping_add(b'0')));
            STANDARD.encode_string(bytes, &mut text);
            Packet::text(text)
        }
    }
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Packet>,
    codec: Codec,
    mut messages: mpsc::Receiver<Message>,
    activity: &Activity,
) -> Result<(), WebSocketError> {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Data(channel, bytes) => {
                activity.note();
                sink.send(encode(codec, channel, &bytes)).await?;
            }
            Message::KeepAlive => sink.send(Packet::Ping(Bytes::new())).await?,
            Message::Close => break,
            // The protocol has no word for them; the end of the connection is that of all channels.
            Message::End(_) | Message::Reset(..) | Message::Accept(_) | Message::Pong(_) => {}
        }
    }
    close(sink).await
}

async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Packet>,
) -> Result<(), WebSocketError> {
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: Default::default(),
    };
    match sink.send(Packet::Close(Some(frame))).await {
        Ok(()) | Err(tungstenite::Error::ConnectionClosed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Carries a connection of SPDY in binary messages. `inner` serves its other end. Ends with it, or with the client.
///
/// # Errors
/// The client does not speak the protocol, or the connection broke.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocketStream<S>,
    inner: impl AsyncFnOnce(DuplexStream),
) -> Result<(), WebSocketError> {
    let (near, far) = tokio::io::duplex(TUNNEL);
    let (mut sink, mut source) = socket.split();
    let (mut from_inner, mut to_inner) = tokio::io::split(near);
    let inbound = async {
        while let Some(packet) = source.next().await {
            match packet? {
                Packet::Binary(bytes) => to_inner.write_all(&bytes).await?,
                Packet::Close(_) => break,
                Packet::Text(_) | Packet::Ping(_) | Packet::Pong(_) | Packet::Frame(_) => {}
            }
        }
        Ok(())
    };
    let outbound = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(TUNNEL / 2);
            if from_inner.read_buf(&mut buffer).await? == 0 {
                return close(sink).await;
            }
            let packet = Packet::Binary(buffer.split().freeze());
            sink.send(packet).await?;
        }
    };
    tokio::select! {
        read = inbound => read,
        ((), written) = async { tokio::join!(inner(far), outbound) } => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: Form = Form {
        codec: Codec::Binary,
        ends: false,
    };

    fn data(channel: u8, bytes: &'static [u8]) -> Option<Incoming> {
        Some(Incoming::Data(channel, Bytes::from_static(bytes)))
    }

    #[test]
    fn the_first_byte_is_the_channel() {
        let decode = |form, bytes: &'static [u8]| decode(form, &Bytes::from_static(bytes));
        assert_eq!(decode(BINARY, b"\x04rest"), data(4, b"rest"));
        assert_eq!(decode(BINARY, b"\x00"), data(0, b""));
        assert_eq!(decode(BINARY, b""), None);
        // Only since v5 is 255 more than a channel that nobody has.
        assert_eq!(decode(BINARY, b"\xff\x00"), data(255, b"\0"));
        let fifth = Form {
            ends: true,
            ..BINARY
        };
        assert_eq!(decode(fifth, b"\xff\x00"), Some(Incoming::End(0)));
        assert_eq!(decode(fifth, b"\xff"), None);
        let text = Form {
            codec: Codec::Base64,
            ..BINARY
        };
        assert_eq!(decode(text, b"0aGVsbG8="), data(0, b"hello"));
        assert_eq!(decode(text, b"0*"), None);
        assert_eq!(decode(text, b"\x01aGVsbG8="), None);
    }

    #[test]
    fn messages_are_written_as_they_are_read() {
        assert_eq!(
            encode(Codec::Binary, 3, b"x"),
            Packet::Binary(Bytes::from_static(b"\x03x"))
        );
        assert_eq!(
            encode(Codec::Base64, 1, b"hello"),
            Packet::text("1aGVsbG8=")
        );
    }

    #[tokio::test]
    async fn a_request_needs_version_and_key() {
        let head = async |text: &str| {
            let text = format!("{text}\r\n\r\n");
            super::super::head::read(&mut text.as_bytes())
                .await
                .unwrap()
                .0
        };
        let sample = "GET / HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        // The example of RFC 6455, 1.3.
        let expected = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(
            accept(&head(sample).await),
            Ok(("Sec-WebSocket-Accept", expected))
        );
        for (text, status) in [
            ("POST / HTTP/1.1", "400 Bad Request"),
            (
                "GET / HTTP/1.1\r\nSec-WebSocket-Version: 8",
                "426 Upgrade Required",
            ),
            (
                "GET / HTTP/1.1\r\nSec-WebSocket-Version: 13",
                "400 Bad Request",
            ),
        ] {
            let refusal = accept(&head(text).await).unwrap_err();
            assert_eq!(refusal.status, status);
        }
    }
}
