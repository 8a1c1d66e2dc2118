//! From a URL of the daemon's to a WebSocket.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::trust;

/// The protocols that are spoken, the better one first: in v5 a client can end one channel.
const CHANNELS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// With which v5 ends a channel: this byte, then the channel.
const END: u8 = 255;

/// Why a stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The daemon gave something that is not an address.
    #[error("the daemon gave {0:?}, which is not the address of a stream")]
    Address(String),
    /// Nobody listens at the address.
    #[error(
        "cannot connect to {address}, where the daemon serves streams ([streaming] in its configuration)"
    )]
    Connect {
        /// Host and port of the address.
        address: String,
        /// The error of the connection.
        #[source]
        source: io::Error,
    },
    /// TLS to another machine, whose certificate nobody has vouched for.
    #[error(
        "{0} is not on this machine: its certificate cannot be checked; run holdfast where the daemon runs"
    )]
    Elsewhere(String),
    /// The TLS library cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// The server at the address refused the stream.
    #[error("the daemon refused the stream: {0}")]
    Refused(String),
    /// The connection broke, or the other side does not speak the protocol.
    #[error("the connection broke")]
    Broken(#[from] tungstenite::Error),
}

/// A byte stream to the daemon.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection that has changed to WebSocket.
pub(crate) struct Connection {
    /// Its messages: the first byte is the channel.
    pub socket: WebSocketStream<Box<dyn Transport>>,
    /// How a channel ends.
    pub ending: Ending,
}

/// How a channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By a message of its own: v5.
    ByMessage,
    /// With the connection only: v4.
    WithConnection,
}

/// The transport of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn from_uri(uri: &Uri) -> Option<Self> {
        match uri.scheme_str()? {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The library knows WebSocket by its own schemes only.
    fn of_websocket(self) -> &'static str {
        match self {
            Self::Http => "ws",
            Self::Https => "wss",
        }
    }
}

/// A message with bytes of a channel.
pub(crate) fn data(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(Bytes::from(message))
}

/// The message that ends a channel, in v5.
pub(crate) fn end(channel: u8) -> Message {
    Message::Binary(Bytes::copy_from_slice(&[END, channel]))
}

/// Connects to an address that the daemon gave.
///
/// # Errors
/// [`StreamError`]: nobody answers, or not as agreed.
pub(crate) async fn open(url: &str) -> Result<Connection, StreamError> {
    let wrong = || StreamError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let scheme = Scheme::from_uri(&uri).ok_or_else(wrong)?;
    let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(scheme.default_port());
    let address = uri.authority().ok_or_else(wrong)?.to_string();
    let connect = |source| StreamError::Connect {
        address: address.clone(),
        source,
    };
    let socket = TcpStream::connect((host, port)).await.map_err(connect)?;
    // Keys that a person types must not wait for more of them.
    socket.set_nodelay(true).map_err(connect)?;
    let transport: Box<dyn Transport> = match scheme {
        Scheme::Http => Box::new(socket),
        Scheme::Https => Box::new(encrypt(socket, host, &address).await?),
    };
    upgrade(transport, &uri, scheme).await
}

async fn encrypt(
    socket: TcpStream,
    host: &str,
    address: &str,
) -> Result<impl Transport + use<>, StreamError> {
    let connect = |source: io::Error| StreamError::Connect {
        address: address.to_owned(),
        source,
    };
    let local = socket.local_addr().map_err(connect)?;
    let peer = socket.peer_addr().map_err(connect)?;
    if !trust::stays_here(local, peer) {
        return Err(StreamError::Elsewhere(address.to_owned()));
    }
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| StreamError::Address(address.to_owned()))?;
    let connector = trust::connector().map_err(StreamError::Tls)?;
    connector.connect(name, socket).await.map_err(connect)
}

async fn upgrade(
    transport: Box<dyn Transport>,
    uri: &Uri,
    scheme: Scheme,
) -> Result<Connection, StreamError> {
    let wrong = || StreamError::Address(uri.to_string());
    let mut parts = uri.clone().into_parts();
    let scheme = scheme.of_websocket().parse();
    parts.scheme = Some(scheme.map_err(|_| wrong())?);
    let uri = Uri::from_parts(parts).map_err(|_| wrong())?;
    let mut builder = ClientRequestBuilder::new(uri);
    for protocol in CHANNELS {
        builder = builder.with_sub_protocol(protocol);
    }
    let request = builder.into_client_request()?;
    match client_async(request, transport).await {
        Ok((socket, response)) => Ok(Connection {
            ending: match protocol(&response) {
                Some("v5.channel.k8s.io") => Ending::ByMessage,
                _ => Ending::WithConnection,
            },
            socket,
        }),
        Err(tungstenite::Error::Http(response)) => Err(StreamError::Refused(refusal(&response))),
        Err(error) => Err(error.into()),
    }
}

fn protocol(response: &Response) -> Option<&str> {
    let header = response.headers().get("Sec-WebSocket-Protocol")?;
    header.to_str().ok()
}

/// The answer of a server that does not change the protocol.
fn refusal(response: &Response) -> String {
    let body = response.body().as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(body).trim().to_owned();
    if text.is_empty() {
        response.status().to_string()
    } else {
        text
    }
}
