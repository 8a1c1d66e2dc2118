//! Serves a client after its request: changes the protocol, then runs exec, attach or port-forward.

use holdfast_kernel::error_chain;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::channel::Stream;
use super::drive::Activity;
use super::head::{self, Head, Refusal};
use super::negotiate::{self, ChannelEnds, Codec, Forward, Transport, Version};
use super::port_forward::{self, Pair};
use super::remote_command::{self, RemoteCommand, Target};
use super::socket::{Socket, refuse};
use super::spdy::{self, ConnectionError, Opened};
use super::token::Purpose;
use super::websocket::{self, Form, WebSocketError};
use crate::pod::{Pods, Streams};
use holdfast_kernel::id::{ContainerId, PodId};

/// Channels of exec and attach over WebSocket.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Most ports of a port-forward with channels: each has two, and a channel is a byte.
const MOST_PORTS: usize = 64;

/// Why a conversation with a client broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConversationError {
    /// The connection broke before the protocol was changed.
    #[error("cannot answer the request")]
    Answer(#[from] io::Error),
    #[error("the SPDY connection broke")]
    Spdy(#[from] ConnectionError),
    #[error("the WebSocket connection broke")]
    WebSocket(#[from] WebSocketError),
    /// The request cannot be served.
    #[error("the request was refused with {0}")]
    Refused(&'static str),
}

/// A client, its request, and what its token allows.
pub(super) struct Conversation<'a> {
    pub pods: &'a Pods,
    /// The HTTP request of the client.
    pub head: &'a Head,
    /// The exec, attach or port-forward that the client's token allows.
    pub purpose: &'a Purpose,
    /// When the connection was last used.
    pub activity: &'a Activity,
}

impl Conversation<'_> {
    /// Serves the client to the end.
    pub(super) async fn run(&self, mut socket: Box<dyn Socket>) -> Result<(), ConversationError> {
        let planned = match negotiate::transport(self.head) {
            Ok(Transport::Spdy) => self.over_spdy(),
            Ok(Transport::WebSocket) => self.over_websocket(),
            Err(refusal) => Err(refusal),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => {
                refuse(&mut socket, &refusal).await;
                return Err(ConversationError::Refused(refusal.status));
            }
        };
        socket.write_all(&plan.answer).await?;
        socket.flush().await?;
        match plan.protocol {
            Protocol::Spdy(version) => Ok(self.spdy(socket, version).await?),
            Protocol::Command(version, codec) => {
                Ok(self.websocket_command(socket, version, codec).await?)
            }
            Protocol::Forward(forward) => Ok(self.websocket_forward(socket, forward).await?),
        }
    }

    fn over_spdy(&self) -> Result<Plan, Refusal> {
        let (name, version) = match self.purpose {
            Purpose::PortForward { .. } => (negotiate::spdy_port_forward(self.head)?, Version::V1),
            Purpose::Exec { .. } | Purpose::Attach { .. } => negotiate::spdy_command(self.head)?,
        };
        let header = name.map(|name| (negotiate::PROTOCOL_HEADER, name.to_owned()));
        Ok(Plan {
            answer: head::switching("SPDY/3.1", header.as_slice()),
            protocol: Protocol::Spdy(version),
        })
    }

    fn over_websocket(&self) -> Result<Plan, Refusal> {
        let mut headers = vec![websocket::accept(self.head)?];
        let (name, protocol) = match self.purpose {
            Purpose::PortForward { ports, .. } => {
                let (name, forward) = negotiate::websocket_port_forward(self.head)?;
                check_ports(forward, ports)?;
                (name, Protocol::Forward(forward))
            }
            Purpose::Exec { .. } | Purpose::Attach { .. } => {
                let (name, (version, codec)) = negotiate::websocket_command(self.head)?;
                (name, Protocol::Command(version, codec))
            }
        };
        headers.extend(name.map(|name| ("Sec-WebSocket-Protocol", name.to_owned())));
        Ok(Plan {
            answer: head::switching("websocket", &headers),
            protocol,
        })
    }

    /// The container, what is wanted of it, and its streams.
    fn command(&self) -> Option<(ContainerId, Target, Streams)> {
        match self.purpose {
            Purpose::Exec {
                container,
                command,
                streams,
            } => Some((*container, Target::Exec(command.clone()), *streams)),
            Purpose::Attach { container, streams } => Some((*container, Target::Attach, *streams)),
            Purpose::PortForward { .. } => None,
        }
    }

    async fn spdy(&self, socket: impl Socket, version: Version) -> Result<(), ConnectionError> {
        let session = async |mut opened: mpsc::Receiver<Opened>| {
            if let Purpose::PortForward { pod, .. } = self.purpose {
                return port_forward::serve_spdy(self.pods, *pod, opened).await;
            }
            let Some((container, target, streams)) = self.command() else {
                return;
            };
            let asked = Instant::now();
            let channels = remote_command::Channels::collect(&mut opened, streams, version).await;
            // Further streams have no meaning: the client finds them closed.
            drop(opened);
            if let Some(channels) = channels {
                let command = RemoteCommand {
                    pods: self.pods,
                    container,
                    target: &target,
                    streams,
                    version,
                };
                let size_timeout = remote_command::first_size_timeout(asked.elapsed());
                command.run(channels, size_timeout).await;
            }
        };
        spdy::serve(socket, self.activity, session).await
    }

    async fn websocket_command(
        &self,
        socket: Box<dyn Socket>,
        version: Version,
        codec: Codec,
    ) -> Result<(), WebSocketError> {
        let Some((container, target, streams)) = self.command() else {
            return Ok(());
        };
        let command = RemoteCommand {
            pods: self.pods,
            container,
            target: &target,
            streams,
            version,
        };
        let form = Form {
            codec,
            ends: version == Version::V5,
        };
        let session = |open: &mut websocket::Channels| {
            let mut channel = |number, wanted: bool| wanted.then(|| open.open(number));
            let channels = remote_command::Channels {
                error: channel(ERROR, true),
                stdin: channel(STDIN, streams.stdin),
                stdout: channel(STDOUT, streams.stdout),
                stderr: channel(STDERR, streams.stderr),
                resize: channel(RESIZE, streams.terminal),
            };
            async {
                // Clients take an empty message on the first channel for the sign that all is ready.
                let first = channels.stdout.as_ref().or(channels.stderr.as_ref());
                if let Some(first) = first.or(channels.error.as_ref()) {
                    let _ = first.greet().await;
                }
                let size_timeout = remote_command::first_size_timeout(Duration::ZERO);
                command.run(channels, size_timeout).await;
            }
        };
        let socket = websocket::open(socket).await;
        websocket::serve(socket, form, self.activity, session).await
    }

    async fn websocket_forward(
        &self,
        socket: Box<dyn Socket>,
        forward: Forward,
    ) -> Result<(), WebSocketError> {
        let Purpose::PortForward { pod, ports } = self.purpose else {
            return Ok(());
        };
        let socket = websocket::open(socket).await;
        let form = match forward {
            Forward::Channels(codec, ends) => Form {
                codec,
                ends: ends == ChannelEnds::ByMessage,
            },
            Forward::Tunnel => {
                let inner = async |far| {
                    let served = self.spdy(far, Version::V1).await;
                    if let Err(error) = served {
                        let error = error_chain(&error);
                        tracing::debug!(error, "a tunnelled stream broke off");
                    }
                };
                return websocket::tunnel(socket, inner).await;
            }
        };
        let session = |open: &mut websocket::Channels| {
            let pairs: Vec<_> = (0..)
                .zip(ports)
                .map(|(number, port): (u8, &u16)| Pair {
                    port: *port,
                    data: open.open(2 * number),
                    error: open.open(2 * number + 1),
                })
                .collect();
            self.forward_all(*pod, pairs)
        };
        websocket::serve(socket, form, self.activity, session).await
    }

    /// Each channel begins with its port.
    async fn forward_all(&self, pod: PodId, pairs: Vec<Pair>) {
        let name = async |stream: &Stream, port: u16| {
            let mut bytes = Bytes::copy_from_slice(&port.to_le_bytes());
            stream.write(&mut bytes).await
        };
        for pair in &pairs {
            if name(&pair.data, pair.port).await.is_err()
                || name(&pair.error, pair.port).await.is_err()
            {
                return;
            }
        }
        let forwards = pairs
            .into_iter()
            .map(|pair| port_forward::forward(self.pods, pod, pair));
        tokio::select! {
            _ = join_all(forwards) => {}
            () = self.pods.pod_end(pod) => {}
        }
    }
}

/// The protocol that was chosen, and the answer that announces it.
struct Plan {
    answer: Vec<u8>,
    protocol: Protocol,
}

enum Protocol {
    Spdy(Version),
    Command(Version, Codec),
    Forward(Forward),
}

/// Channels belong to ports from the beginning.
fn check_ports(forward: Forward, ports: &[u16]) -> Result<(), Refusal> {
    let text = match (forward, ports.len()) {
        (Forward::Tunnel, _) | (_, 1..=MOST_PORTS) => return Ok(()),
        (_, 0) => "the PortForward request has to name the ports for this protocol",
        _ => "at most 64 ports are possible with this protocol",
    };
    Err(Refusal::new("400 Bad Request", text))
}
