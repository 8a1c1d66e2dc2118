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
    self as wire, Event, ExitStatus, Failure, FrameError, FromShim, MAX_PACKET, Protocol,
    Protocols, Reply, Request, ToShim,
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
    UnknownProtocol(#[source] Arc<FrameError>),
    /// The shim is of an earlier release that could not do this yet.
    #[error(
        "the pod's shim is of an earlier release (protocol {protocol}, needed is {since}); make the pod anew"
    )]
    Earlier {
        /// The version of the protocol that the shim speaks.
        protocol: Protocol,
        /// The first version that has the request.
        since: Protocol,
    },
    /// The shim tried and failed.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// The reply is not one for this request.
    #[error("the pod's shim gave an answer of another kind: {0}")]
    Unexpected(String),
}

/// A reply and the descriptors that came with it.
#[derive(Debug)]
pub(super) struct Answer {
    /// The reply of the shim.
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
    unknown_protocol: Option<Arc<FrameError>>,
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
        self.unknown_protocol
            .clone()
            .map(LinkError::UnknownProtocol)
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
        Self::over(socket, pod.protocols)
    }

    /// Speaks to a shim of these versions over a connected socket that does not block.
    pub(super) fn over(
        socket: OwnedFd,
        protocols: Protocols,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), LinkError> {
        let socket = UnixDatagram::from_std(socket.into()).map_err(LinkError::Connect)?;
        let (protocol, unknown_protocol) = match protocols.common() {
            Ok(protocol) => (protocol, None),
            Err(unspoken) => (Protocol::CURRENT, Some(Arc::new(unspoken.into()))),
        };
        let waiting = Waiting {
            unknown_protocol,
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
    pub(super) fn shim_is_unknown(&self) -> bool {
        self.0.waiting().unknown_protocol.is_some()
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
        match send() {
            // Only then is it waited for: a socket that was never waited for does not count as writable, and those who
            // wait for that together are woken in any order.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.socket.async_io(Interest::WRITABLE, send).await
            }
            sent => sent,
        }
    }
}

/// The name of a request among the steps of [`fault`].
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
        Request::MakeNetwork => "wire.make-network",
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
            Ok(Incoming::UnknownProtocol(error)) => {
                tracing::error!(
                    error = error_chain(&error),
                    "a shim is not understood; its pod is left as it is"
                );
                let mut waiting = shared.waiting();
                waiting.unknown_protocol = Some(Arc::new(error));
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
    UnknownProtocol(FrameError),
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
        Ok((_, FromShim::Reply { id: 0, .. })) => Incoming::UnknownProtocol(FrameError::Refused),
        Ok((_, packet)) => Incoming::Packet(packet, descriptors),
        Err(error) => Incoming::UnknownProtocol(error),
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

#[cfg(test)]
mod tests {
    use nix::sys::stat::{Mode, SFlag, mknod};
    use nix::unistd::{pipe, read, write};

    use super::*;
    use crate::pod::testing::{self, Shim};
    use crate::spec::PodConfig;
    use holdfast_kernel::error_chain;
    use holdfast_kernel::sys::pid::Pid;

    const FROM_TOMORROW: Protocols = Protocols {
        oldest: u16::MAX,
        newest: u16::MAX,
    };

    fn pause_exited() -> Event {
        Event::PauseExited {
            status: ExitStatus::Code(1),
            at_unix_nanos: 2,
        }
    }

    #[tokio::test]
    async fn everybody_gets_the_answer_to_what_they_asked_in_whatever_order() {
        let (shim, link, _events) = Shim::pair();
        let (reader, writer) = pipe().unwrap();
        let answers = async {
            let asked = [shim.asked().await.unwrap(), shim.asked().await.unwrap()];
            assert_ne!(asked[0].id, asked[1].id);
            // Nobody asked this.
            shim.reply(u64::MAX, Reply::Done, &[]);
            for asked in asked.iter().rev() {
                match asked.body {
                    Request::Identify => {
                        shim.reply(asked.id, Reply::Identity(Pid::from_raw(2)), &[])
                    }
                    _ => shim.reply(asked.id, Reply::Netlink, &[reader.as_fd()]),
                }
            }
        };
        let asked = async {
            tokio::join!(
                link.ask(Request::OpenNetlink, &[]),
                link.ask(Request::Identify, &[])
            )
        };
        let (_, (first, second)) = tokio::join!(answers, asked);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(
            (first.body, second.body),
            (Reply::Netlink, Reply::Identity(Pid::from_raw(2)))
        );
        assert!(second.descriptors.is_empty());
        write(&writer, b"x").unwrap();
        assert_eq!(read(&first.descriptors[0], &mut [0]), Ok(1));
    }

    /// Requests that were asked before the socket was first waited for were sent in the reverse order.
    #[tokio::test]
    async fn requests_reach_the_shim_in_the_order_in_which_they_are_first_polled() {
        use futures_util::stream::{FuturesUnordered, StreamExt};
        let (shim, link, _events) = Shim::pair();
        let mut asked: FuturesUnordered<_> = (0..5)
            .map(|sequence| link.ask(Request::Acknowledge { sequence }, &[]))
            .collect();
        let answers = async {
            for sequence in 0..5 {
                let asked = shim.answer(Reply::Done, &[]).await;
                assert_eq!(asked.body, Request::Acknowledge { sequence });
            }
        };
        let all = async { while asked.next().await.is_some() {} };
        tokio::join!(all, answers);
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_the_next_request_goes_on() {
        let (shim, link, _events) = Shim::pair();
        let failure = testing::failure();
        let refused = Reply::Failed(failure.clone());
        let (answer, _) = tokio::join!(link.ask(Request::Shutdown, &[]), shim.answer(refused, &[]));
        assert!(matches!(answer.unwrap_err(), LinkError::Failed(told) if *told == failure));
        let (answer, _) = tokio::join!(
            link.ask(Request::Shutdown, &[]),
            shim.answer(Reply::Done, &[])
        );
        assert_eq!(answer.unwrap().body, Reply::Done);
    }

    /// The pod's task hears of containers; the ends of exec processes and clients are for those who wait for them.
    #[tokio::test]
    async fn an_event_goes_to_those_who_wait_for_it() {
        let (shim, link, mut events) = Shim::pair();
        let (awaited, forgotten, client) =
            (link.exec_number(), link.exec_number(), link.exec_number());
        assert!(awaited != forgotten && forgotten != client);
        let (end, mut lost) = (link.exec_end(awaited), link.exec_end(forgotten));
        let dropped = link.client_dropped(client);
        let mut kept = link.client_dropped(forgotten);
        link.forget_exec(forgotten);
        for exec in [forgotten, awaited] {
            let status = ExitStatus::Code(7);
            shim.tell(Event::ExecExited { exec, status });
        }
        shim.tell(Event::ClientDropped { client });
        shim.tell(pause_exited());
        assert_eq!(end.await, Ok(ExitStatus::Code(7)));
        assert_eq!(dropped.await, Ok(()));
        assert_eq!(events.recv().await, Some(pause_exited()));
        assert!(
            events.try_recv().is_err(),
            "the task hears of no exec process"
        );
        assert!(lost.try_recv().is_err());
        assert!(kept.try_recv().is_err(), "another client was dropped");
    }

    #[tokio::test]
    async fn when_the_shim_ends_everybody_is_told() {
        let (shim, link, mut events) = Shim::pair();
        let (end, dropped) = (link.exec_end(1), link.client_dropped(1));
        let hang_up = async {
            shim.asked().await.unwrap();
            drop(shim);
        };
        let (answer, ()) = tokio::join!(link.ask(Request::Inventory, &[]), hang_up);
        assert!(matches!(answer, Err(LinkError::Closed)), "{answer:?}");
        assert_eq!(events.recv().await, None);
        assert!(link.is_closed() && !link.shim_is_unknown());
        assert!(end.await.is_err() && dropped.await.is_err());
        let late = link.ask(Request::Inventory, &[]).await;
        assert!(matches!(late, Err(LinkError::Closed)), "{late:?}");
        assert!(link.exec_end(2).await.is_err() && link.client_dropped(2).await.is_err());
    }

    /// A request that does not reach the shim is not waited for: its number would stay for the pod's life.
    #[tokio::test]
    async fn a_request_that_cannot_be_sent_leaves_nothing() {
        let (shim, link, _events) = Shim::pair();
        drop(shim);
        let answer = link.ask(Request::Shutdown, &[]).await;
        // Another thread that has just forked has the other end for a moment.
        assert!(
            matches!(answer, Err(LinkError::Send(_) | LinkError::Closed)),
            "{answer:?}"
        );
        assert!(link.0.waiting().replies.is_empty());
    }

    /// A shim of another release lives: its pod is not ended for what it says.
    #[tokio::test]
    async fn a_shim_that_is_not_understood_has_not_ended() {
        let (shim, link, mut events) = Shim::pair();
        let end = link.exec_end(1);
        let babble = async {
            shim.asked().await.unwrap();
            shim.babble();
        };
        let (answer, ()) = tokio::join!(link.ask(Request::Inventory, &[]), babble);
        let error = answer.unwrap_err();
        assert!(matches!(error, LinkError::UnknownProtocol(_)), "{error:?}");
        assert!(
            error_chain(&error).contains("it can be stopped and removed"),
            "{error}"
        );
        assert!(end.await.is_err());
        assert!(link.shim_is_unknown() && !link.is_closed());
        let late = link.ask(Request::Inventory, &[]).await;
        assert!(
            matches!(late, Err(LinkError::UnknownProtocol(_))),
            "{late:?}"
        );
        // What it says after that and is understood counts.
        shim.tell(pause_exited());
        assert_eq!(events.recv().await, Some(pause_exited()));
        drop(shim);
        assert_eq!(events.recv().await, None);
        assert!(link.is_closed());
        let ended = link.ask(Request::Inventory, &[]).await;
        assert!(matches!(ended, Err(LinkError::Closed)), "{ended:?}");
    }

    /// A shim that did not understand a packet cannot say which: it answers request 0, which is nobody's.
    #[tokio::test]
    async fn a_shim_that_does_not_understand_us_is_strange_too() {
        let (shim, link, _events) = Shim::pair();
        let refuse = async {
            shim.asked().await.unwrap();
            shim.reply(0, Reply::Failed(testing::failure()), &[]);
        };
        let (answer, ()) = tokio::join!(link.ask(Request::Inventory, &[]), refuse);
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, LinkError::UnknownProtocol(cause) if matches!(**cause, FrameError::Refused)),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn nothing_is_said_to_a_shim_whose_protocol_is_not_spoken() {
        let (shim, link, mut events) = Shim::speaking(FROM_TOMORROW);
        assert!(link.shim_is_unknown());
        let error = link.ask(Request::Shutdown, &[]).await.unwrap_err();
        assert!(
            error_chain(&error).contains("start a newer holdfastd"),
            "{error:?}"
        );
        assert!(shim.was_left_alone());
        // Its end is noticed all the same.
        drop(shim);
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn a_state_directory_without_a_shim_is_told_from_one_with_a_shim_that_died() {
        let (_guard, dir) = testing::dir();
        let pod = testing::pod(PodConfig::default());
        for errno in [libc::ENOENT, libc::ECONNREFUSED] {
            let error = ShimLink::connect(dir.as_fd(), &pod).unwrap_err();
            let LinkError::Connect(source) = &error else {
                panic!("{error:?}");
            };
            assert_eq!(source.raw_os_error(), Some(errno), "{error:?}");
            // A socket whose listener is gone, as a shim leaves it.
            let path = dir.path().join(SOCKET_NAME);
            let _ = mknod(&path, SFlag::S_IFSOCK, Mode::S_IRWXU, 0);
        }
    }
}
