//! `holdfast port-forward`: connections to local ports go to ports on the pod's localhost.
//!
//! ```text
//!   client ──TCP──▶ listener ──▶ PortForward, a WebSocket of its own ──▶ port on the pod's localhost
//! ```
//!
//! Each connection has its own WebSocket, so that none waits for another. What this module must never do: listen
//! on an address that other machines reach, unless it was asked to.

use holdfast_kernel::error_chain;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use cri_api::runtime::v1 as cri;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connect::Daemon;
use super::exit::FailureKind;
use super::failure::VerbError;
use super::out::PrintError;
use super::select::{NamespaceArgs, SelectError};
use super::{out, select};

mod pipe;
mod ports;

use pipe::PipeError;
use ports::{Addresses, ListenError, Ports};

/// Most connections at once; further ones wait until one has ended.
const MOST_CONNECTIONS: usize = 512;
/// Most connections that are accepted and not yet served.
const WAITING: usize = 16;
/// Pause after a connection could not be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the daemon is asked whether the pod is still ready.
const POD_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The command line of `holdfast port-forward`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast port-forward two-containers 8080:80 :9090")]
pub struct PortForwardArgs {
    /// Local addresses to listen on, separated by commas; localhost means 127.0.0.1 and ::1.
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    pub address: Vec<Addresses>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Pod as POD, NAMESPACE/POD or an id.
    pub pod: String,
    /// Ports as [LOCAL:]REMOTE: the local port and the port in the pod. Without LOCAL:, the local port is REMOTE; with
    /// an empty LOCAL or 0, a free local port is chosen.
    #[arg(required = true)]
    pub ports: Vec<Ports>,
}

/// A connection, and the port of the pod that it is for.
type Accepted = (TcpStream, SocketAddr, u16);

/// Why ports are not forwarded, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortForwardError {
    /// A name does not mean exactly one pod.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A local port cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Standard output takes no messages.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// The pod was not ready, or has ended meanwhile.
    #[error("the pod {0} has ended; see `holdfast pods`")]
    PodEnded(String),
}

impl VerbError for PortForwardError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Select(_) | Self::Listen(_) | Self::Print(_) | Self::PodEnded(_) => {
                FailureKind::Failed
            }
        }
    }
}

/// Forwards until the pod ends.
pub(super) async fn run(mut daemon: Daemon, args: PortForwardArgs) -> Result<(), PortForwardError> {
    let pod = select::pod(&mut daemon, args.within.name(&args.pod)).await?;
    if pod.state() != cri::PodSandboxState::SandboxReady {
        return Err(PortForwardError::PodEnded(args.pod));
    }
    let (sender, mut accepted) = mpsc::channel(WAITING);
    let mut listeners = JoinSet::new();
    for ports in &args.ports {
        for (listener, address) in ports::listen(&args.address, *ports).await? {
            let remote = ports.remote;
            out::line(&format!("Forwarding from {address} -> {remote}"))?;
            listeners.spawn(accept(listener, remote, sender.clone()));
        }
    }
    let mut connections = JoinSet::new();
    let ended = until_end(daemon.clone(), pod.id.clone());
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return Err(PortForwardError::PodEnded(args.pod)),
            Some(_) = connections.join_next() => {}
            Some((socket, local, remote)) = accepted.recv(), if connections.len() < MOST_CONNECTIONS => {
                out::line(&format!("Handling connection for {}", local.port()))?;
                let (daemon, pod) = (daemon.clone(), pod.id.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(daemon, pod, (socket, remote)).await {
                        out::note(&format!("holdfast: {} -> {remote}: {}", local.port(), error_chain(&error)));
                    }
                });
            }
        }
    }
}

async fn accept(listener: TcpListener, remote: u16, sender: mpsc::Sender<Accepted>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(local) = socket.local_addr() else {
            continue;
        };
        if sender.send((socket, local, remote)).await.is_err() {
            return;
        }
    }
}

/// Why a connection was not forwarded.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    /// The daemon refused the connection.
    #[error("{}", .0.message())]
    Refused(Box<tonic::Status>),
    /// The connection to the pod ended early.
    #[error(transparent)]
    Pipe(#[from] PipeError),
}

async fn serve(
    mut daemon: Daemon,
    pod: String,
    (socket, port): (TcpStream, u16),
) -> Result<(), ForwardError> {
    let request = cri::PortForwardRequest {
        pod_sandbox_id: pod,
        port: vec![port.into()],
    };
    let reply = daemon.runtime.port_forward(request).await;
    let reply = reply.map_err(|status| ForwardError::Refused(Box::new(status)))?;
    Ok(pipe::run(&reply.into_inner().url, socket).await?)
}

/// Waits until the pod is no longer ready. A daemon that does not answer may be about to be replaced.
async fn until_end(mut daemon: Daemon, id: String) {
    loop {
        sleep(POD_CHECK_INTERVAL).await;
        let request = cri::PodSandboxStatusRequest {
            pod_sandbox_id: id.clone(),
            verbose: false,
        };
        match daemon.runtime.pod_sandbox_status(request).await {
            Ok(reply) => {
                let status = reply.into_inner().status.unwrap_or_default();
                if status.state() != cri::PodSandboxState::SandboxReady {
                    return;
                }
            }
            Err(status) if status.code() == tonic::Code::NotFound => return,
            Err(_) => {}
        }
    }
}
