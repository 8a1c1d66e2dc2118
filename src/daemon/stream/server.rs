//! The streaming server: accepts connections, reads the request of each, and serves what its token allows.

use holdfast_kernel::error_chain;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::conversation::Conversation;
use super::drive::Activity;
use super::head::{self, Head, Refusal};
use super::socket::{Socket, refuse};
use super::tls::{Tls, TlsError};
use super::token::{Purpose, TokenError, Tokens};
use crate::pod::Pods;

/// Most connections at once. Each costs some descriptors.
const MOST_CONNECTIONS: usize = 1024;

/// How long a client may take to send its request.
const REQUEST: Duration = Duration::from_secs(30);

/// How long the server rests when the machine is out of descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Settings of the streaming server.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// Address to listen on, which clients are told to connect to; port 0 takes a free port.
    pub address: SocketAddr,
    /// The files of a certificate and its key; without them it is plain HTTP.
    pub tls: Option<Tls>,
    /// A connection that is not used for this long is closed.
    pub idle: Duration,
}

/// Why the streaming server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// The address cannot be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured listen address.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The certificate or the key cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
}

/// Hands out addresses of streams. All clones hand out the same server's addresses.
#[derive(Debug, Clone)]
pub(crate) struct Streaming {
    tokens: Arc<Tokens>,
    base: Arc<str>,
}

impl Streaming {
    /// The absolute URL at which a client is served once, within a minute.
    ///
    /// # Errors
    /// [`TokenError`] when too many requested streams have no client yet.
    pub(crate) fn url(&self, purpose: Purpose) -> Result<String, TokenError> {
        let path = purpose.path();
        let token = self.tokens.insert(purpose, Instant::now())?;
        Ok(format!("{}/{path}/{token}", self.base))
    }
}

/// A server that listens.
pub(crate) struct StreamServer {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    tokens: Arc<Tokens>,
    idle: Duration,
}

impl std::fmt::Debug for StreamServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("StreamServer")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl StreamServer {
    /// Listens, and returns the server with the [`Streaming`] that hands out its addresses.
    ///
    /// # Errors
    /// The address or the certificate cannot be used.
    pub(crate) async fn bind(settings: ServerSettings) -> Result<(Self, Streaming), ServerError> {
        let tls = settings.tls.as_ref().map(Tls::acceptor).transpose()?;
        let failed = |source| ServerError::Listen {
            address: settings.address,
            source,
        };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tokens = Arc::new(Tokens::default());
        let streaming = Streaming {
            tokens: Arc::clone(&tokens),
            base: format!("{scheme}://{address}").into(),
        };
        let server = Self {
            listener,
            tls,
            tokens,
            idle: settings.idle,
        };
        Ok((server, streaming))
    }

    /// Serves for ever. Dropping this ends all connections.
    pub(crate) async fn serve(self, pods: Pods) {
        let Self {
            listener,
            tls,
            tokens,
            idle,
        } = self;
        let shared = Arc::new(Shared {
            pods,
            tls,
            tokens,
            idle,
        });
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                // A client beyond the limit finds its connection closed.
                Ok(_) if connections.len() >= MOST_CONNECTIONS => {
                    tracing::warn!(
                        most = MOST_CONNECTIONS,
                        "refused a streaming client: too many connections"
                    );
                }
                Ok((socket, _)) => {
                    connections.spawn(Arc::clone(&shared).connection(socket));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a streaming client");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

/// The state that all connections share.
struct Shared {
    pods: Pods,
    tls: Option<TlsAcceptor>,
    tokens: Arc<Tokens>,
    idle: Duration,
}

impl Shared {
    async fn connection(self: Arc<Self>, socket: TcpStream) {
        // Keys that a person types must not wait for more of them.
        let _ = socket.set_nodelay(true);
        let request = timeout(REQUEST, async {
            let mut socket: Box<dyn Socket> = match &self.tls {
                None => Box::new(socket),
                Some(tls) => Box::new(tls.accept(socket).await?),
            };
            let read = head::read(&mut socket).await;
            Ok::<_, io::Error>((socket, read))
        });
        let (mut socket, read) = match request.await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => return tracing::debug!(%error, "a streaming client did not connect"),
            Err(_) => return tracing::debug!("a streaming client sent no request"),
        };
        let answer = match read {
            Ok((head, rest)) => match self.purpose(&head) {
                Ok(purpose) => {
                    let (reader, writer) = tokio::io::split(socket);
                    // Nothing is to be expected before our answer; but what came is the new protocol's.
                    let reader = io::Cursor::new(rest).chain(reader);
                    let socket = Box::new(tokio::io::join(reader, writer));
                    return self.converse(socket, head, purpose).await;
                }
                Err(refusal) => refusal,
            },
            Err(error) => Refusal::new("400 Bad Request", error_chain(&error)),
        };
        refuse(&mut socket, &answer).await;
    }

    /// Finds what the token of a request allows. The token is used up.
    fn purpose(&self, head: &Head) -> Result<Purpose, Refusal> {
        if !matches!(head.method.as_str(), "GET" | "POST") {
            return Err(Refusal::new("405 Method Not Allowed", "use GET or POST"));
        }
        let mut parts = head.path().trim_matches('/').split('/');
        let (kind, token) = (parts.next(), parts.next());
        let purpose = token.and_then(|token| self.tokens.take(token, Instant::now()));
        match purpose {
            Some(purpose) if Some(purpose.path()) == kind && parts.next().is_none() => Ok(purpose),
            _ => {
                let text = "this address was used already, is older than a minute, or never was";
                Err(Refusal::new("404 Not Found", text))
            }
        }
    }

    async fn converse(&self, socket: Box<dyn Socket>, head: Head, purpose: Purpose) {
        let started = Instant::now();
        let activity = Activity::new();
        let conversation = Conversation {
            pods: &self.pods,
            head: &head,
            purpose: &purpose,
            activity: &activity,
        };
        let kind = purpose.path();
        let outcome = tokio::select! {
            outcome = conversation.run(socket) => outcome.map_err(|error| error_chain(&error)),
            () = activity.idle(self.idle) => Err("not used for too long".to_owned()),
        };
        let millis = started.elapsed().as_millis();
        match outcome {
            Ok(()) => tracing::debug!(kind, millis, "a stream ended"),
            // A client may leave at any time: that is not a failure of the daemon.
            Err(error) => tracing::debug!(kind, millis, error, "a stream broke off"),
        }
    }
}
