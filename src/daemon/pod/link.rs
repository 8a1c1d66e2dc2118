//! The daemon's end of the conversation with one shim.
//!
//! One task reads the socket and hands replies to those who asked and events to the pod's task. Nothing
//! here knows what a reply means. When the shim dies the socket ends: everybody who waits is told, and the
//! event channel closes. A shim that says what this release does not understand has not died: whoever asks
//! is told, and the event channel stays open.

use holdfast_kernel::error_chain;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};

use super::record::PodRecord;
use holdfast_kernel::fault;
use holdfast_kernel::sys::fdpass;
use holdfast_wire::{
    self as wire, Event, ExitStatus, Failure, FrameError, FromShim, MAX_PACKET, Protocol, Reply,
    Request, ToShim,
};

/// Name of a shim's socket in its pod's state directory.
pub(super) const SOCKET_NAME: &str = "shim.sock";

/// Pauses before a packet is sent again.
const RESEND: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_millis(500),
];

/// Why a shim did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// There is no shim behind the socket.
    #[error("cannot connect to the pod's shim")]
    Connect(#[source] io::Error),
    /// A packet could not be sent.
    #[error("cannot send a request to the pod's shim")]
    Send(#[source] io::Error),
    /// The request does not fit a packet.
    #[error("cannot write a request to the pod's shim")]
    Frame(#[from] FrameError),
    /// The shim has died.
    #[error("the pod's shim has ended")]
    Closed,
    /// The shim lives, and speaks what this release does not understand.
    #[error(
        "the pod's shim is not understood; what runs in the pod goes on, and it can be stopped and removed"
    )]
    Strange(#[source] Arc<FrameError>),
    /// The shim is of an earlier release that could not do this yet.
    #[error(
        "the pod's shim is of an earlier release (protocol {protocol}, needed is {since}); make the pod anew"
    )]
    Earlier {
        /// What the shim speaks.
        protocol: Protocol,
        /// What the request needs.
        since: Protocol,
    },
    /// The shim tried and failed.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The reply is not one for this request.
    #[error("the pod's shim gave an answer of another kind: {0}")]
    Unexpected(String),
}

/// A reply and the descriptors that came with it.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the shim says.
    pub body: Reply,
    /// Descriptors, in the order that the reply's documentation gives.
    pub descriptors: Vec<OwnedFd>,
}

#[derive(Debug, Default)]
struct Waiting {
    replies: HashMap<u64, oneshot::Sender<Answer>>,
    execs: HashMap<u64, oneshot::Sender<ExitStatus>>,
    clients: HashMap<u64, oneshot::Sender<()>>,
    closed: bool,
    /// Why the shim is not understood.
    strange: Option<Arc<FrameError>>,
}

impl Waiting {
    /// Drops everybody who waits: no answer comes any more.
    fn drop_everybody(&mut self) {
        self.replies.clear();
        self.execs.clear();
        self.clients.clear();
    }

    /// Why nothing can be asked now.
    fn obstacle(&self) -> Option<LinkError> {
        if self.closed {
            return Some(LinkError::Closed);
        }
        self.strange.clone().map(LinkError::Strange)
    }
}

#[derive(Debug)]
struct Shared {
    /// A sequential packet socket: this type only waits for it, our own calls send and receive.
    socket: UnixDatagram,
    /// The version in which the shim is spoken to.
    protocol: Protocol,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl Shared {
    /// The table of those who wait. Nothing that can panic runs under its lock.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to a shim. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ShimLink(Arc<Shared>);

impl ShimLink {
    /// Connects to the shim that listens in a pod's state directory. One whose protocol is not spoken is
    /// connected to as well: so its end is noticed.
    ///
    /// # Errors
    /// [`LinkError::Connect`] when nobody listens.
    pub(super) fn connect(
        state: BorrowedFd<'_>,
        pod: &PodRecord,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), LinkError> {
        let socket = connect_in(state).map_err(LinkError::Connect)?;
        let socket = UnixDatagram::from_std(socket.into()).map_err(LinkError::Connect)?;
        let (protocol, strange) = match pod.protocols.common() {
            Ok(protocol) => (protocol, None),
            Err(unspoken) => (Protocol::CURRENT, Some(Arc::new(unspoken.into()))),
        };
        let waiting = Waiting {
            strange,
            ..Waiting::default()
        };
        let shared = Arc::new(Shared {
            socket,
            protocol,
            next: AtomicU64::new(1),
            waiting: Mutex::new(waiting),
        });
        let (events, receiver) = mpsc::unbounded_channel();
        tokio::spawn(read(Arc::clone(&shared), events));
        Ok((Self(shared), receiver))
    }

    /// Whether the shim has ended, as far as is known.
    pub(super) fn is_closed(&self) -> bool {
        self.0.waiting().closed
    }

    /// A number for a new exec process, unique for the pod's life: it has the daemon's start in it.
    pub(super) fn exec_number(&self) -> u64 {
        let nanos = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_nanos());
        let low = self.0.next.fetch_add(1, Ordering::Relaxed) & 0xffff;
        (u64::try_from(nanos / 65_536).unwrap_or(u64::MAX) << 16) | low
    }

    /// Asks and waits for the answer. A [`Reply::Failed`] becomes [`LinkError::Failed`].
    ///
    /// # Errors
    /// The shim failed at it, or died.
    pub(super) async fn ask(
        &self,
        body: Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answer, LinkError> {
        let since = body.since();
        let protocol = self.0.protocol;
        if since > protocol {
            return Err(LinkError::Earlier { protocol, since });
        }
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let step = step_of(&body);
        let packet = wire::encode(protocol, &ToShim { id, body })?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.0.waiting();
            if let Some(obstacle) = waiting.obstacle() {
                return Err(obstacle);
            }
            waiting.replies.insert(id, sender);
        }
        if let Err(error) = self.send_patiently(step, &packet, descriptors).await {
            self.0.waiting().replies.remove(&id);
            return Err(LinkError::Send(error));
        }
        let Ok(answer) = receiver.await else {
            let obstacle = self.0.waiting().obstacle();
            return Err(obstacle.unwrap_or(LinkError::Closed));
        };
        drop(fault::mark("wire.answered"));
        match answer.body {
            Reply::Failed(failure) => Err(LinkError::Failed(Box::new(failure))),
            _ => Ok(answer),
        }
    }

    /// The shim lives, and is not understood.
    pub(super) fn is_strange(&self) -> bool {
        self.0.waiting().strange.is_some()
    }

    /// The future end of an exec process. Ask for it before the process is started.
    pub(super) fn exec_end(&self, exec: u64) -> oneshot::Receiver<ExitStatus> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.waiting();
        if waiting.obstacle().is_none() {
            waiting.execs.insert(exec, sender);
        }
        receiver
    }

    /// Nobody waits for this exec process any more.
    pub(super) fn forget_exec(&self, exec: u64) {
        self.0.waiting().execs.remove(&exec);
    }

    /// The future word that an attached client was too slow; an error when the shim ends. Ask for it before the
    /// client is attached.
    pub(super) fn client_dropped(&self, client: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.waiting();
        if waiting.obstacle().is_none() {
            waiting.clients.insert(client, sender);
        }
        receiver
    }

    /// Nobody waits for this client any more.
    pub(super) fn forget_client(&self, client: u64) {
        self.0.waiting().clients.remove(&client);
    }

    /// Sends a packet. What the kernel refuses for want of memory, or of room for descriptors, is tried again:
    /// nothing of it has reached the shim.
    async fn send_patiently(
        &self,
        step: &'static str,
        packet: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut pauses = RESEND.into_iter();
        loop {
            let sent = match fault::step(step) {
                Ok(_step) => self.send(packet, descriptors).await,
                Err(errno) => Err(errno.into()),
            };
            let Err(error) = sent else { return Ok(()) };
            let gone = matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
            );
            match pauses.next().filter(|_| !gone) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || fdpass::send_packet(self.0.socket.as_fd(), packet, descriptors);
        self.0.socket.async_io(Interest::WRITABLE, send).await
    }
}

/// What a request is called among the steps of [`fault`].
fn step_of(request: &Request) -> &'static str {
    match request {
        Request::StartPause { .. } => "wire.start-pause",
        Request::OpenNetlink => "wire.open-netlink",
        Request::StartContainer { .. } => "wire.start-container",
        Request::Exec { .. } => "wire.exec",
        Request::Signal { .. } => "wire.signal",
        Request::Kill { .. } => "wire.kill",
        Request::KillExec { .. } => "wire.kill-exec",
        Request::ReopenLog { .. } => "wire.reopen-log",
        Request::Resize { .. } => "wire.resize",
        Request::Acknowledge { .. } => "wire.acknowledge",
        Request::Inventory => "wire.inventory",
        Request::Forget { .. } => "wire.forget",
        Request::Shutdown => "wire.shutdown",
        Request::Attach { .. } => "wire.attach",
        Request::OpenTcp { .. } => "wire.open-tcp",
        Request::Identify => "wire.identify",
        Request::SetNetworkSysctls { .. } => "wire.set-network-sysctls",
    }
}

fn connect_in(state: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    // A path through the descriptor keeps below the 108 bytes of sun_path, however deep the directory is.
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", state.as_raw_fd());
    connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    Ok(socket)
}

/// Reads until the socket ends.
async fn read(shared: Arc<Shared>, events: mpsc::UnboundedSender<Event>) {
    let receive = || receive(shared.socket.as_fd());
    loop {
        match shared.socket.async_io(Interest::READABLE, receive).await {
            Ok(Incoming::Packet(packet, descriptors)) => {
                deliver(&shared, &events, packet, descriptors)
            }
            Ok(Incoming::Strange(error)) => {
                tracing::error!(
                    error = error_chain(&error),
                    "a shim is not understood; its pod is left as it is"
                );
                let mut waiting = shared.waiting();
                waiting.strange = Some(Arc::new(error));
                waiting.drop_everybody();
            }
            Ok(Incoming::End) => break,
            Err(error) => {
                tracing::error!(%error, "the connection to a shim failed");
                break;
            }
        }
    }
    let mut waiting = shared.waiting();
    waiting.closed = true;
    waiting.drop_everybody();
}

enum Incoming {
    Packet(FromShim, Vec<OwnedFd>),
    Strange(FrameError),
    End,
}

/// Reads one packet. The buffer lives on the stack for the length of the call, so that a
/// thousand idle pods cost no buffers.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Incoming> {
    let mut buffer = [0; MAX_PACKET];
    let (length, descriptors) = fdpass::recv_packet(socket, &mut buffer)?;
    if length == 0 {
        return Ok(Incoming::End);
    }
    Ok(match wire::decode(&buffer[..length]) {
        Ok((_, FromShim::Reply { id: 0, .. })) => Incoming::Strange(FrameError::Refused),
        Ok((_, packet)) => Incoming::Packet(packet, descriptors),
        Err(error) => Incoming::Strange(error),
    })
}

fn deliver(
    shared: &Shared,
    events: &mpsc::UnboundedSender<Event>,
    packet: FromShim,
    descriptors: Vec<OwnedFd>,
) {
    match packet {
        FromShim::Reply { id, body } => {
            if let Some(sender) = shared.waiting().replies.remove(&id) {
                // The asker may have been cancelled; then the descriptors close here.
                let _ = sender.send(Answer { body, descriptors });
            }
        }
        FromShim::Event(Event::ExecExited { exec, status }) => {
            if let Some(sender) = shared.waiting().execs.remove(&exec) {
                let _ = sender.send(status);
            }
        }
        FromShim::Event(Event::ClientDropped { client }) => {
            if let Some(sender) = shared.waiting().clients.remove(&client) {
                let _ = sender.send(());
            }
        }
        FromShim::Event(event) => {
            // The pod's task is gone only when the pod is.
            let _ = events.send(event);
        }
    }
}
