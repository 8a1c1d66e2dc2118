//! The daemon's connection: packets in, packets out, never waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use holdfast_kernel::fault;
use holdfast_kernel::sys::fdpass;
use holdfast_wire::{self as wire, Failure, FromShim, Protocol, Reply, Step, ToShim};

/// Packets that wait for a slow daemon. One that has more unread than this is treated as gone.
const MAX_WAITING: usize = 256;

#[derive(Debug)]
struct Waiting {
    packet: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A connection to a daemon.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    waiting: VecDeque<Waiting>,
    /// The version of the last request. The first one until there is any: every daemon knows its messages.
    protocol: Protocol,
}

/// The result of reading from the daemon's connection.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A request with its descriptors.
    Request(ToShim, Vec<OwnedFd>),
    /// There is nothing to read.
    Nothing,
    /// A packet that is no request, or of a version that this shim does not speak.
    Unknown,
    /// The daemon is gone.
    Closed,
}

impl Connection {
    /// Takes over the socket of a daemon that has connected.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            waiting: VecDeque::new(),
            protocol: Protocol::OLDEST,
        }
    }

    /// Returns the descriptor of the socket.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads one packet, without waiting.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Incoming {
        match fdpass::recv_packet(self.socket.as_fd(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Incoming::Nothing,
            Err(_) | Ok((0, _)) => Incoming::Closed,
            Ok((length, descriptors)) => match wire::decode(&buffer[..length]) {
                Ok((protocol, request)) => {
                    self.protocol = protocol;
                    Incoming::Request(request, descriptors)
                }
                Err(_) => Incoming::Unknown,
            },
        }
    }

    /// Sends a message, or keeps it until the daemon reads. False when the connection is of no use any more.
    pub(super) fn send(&mut self, message: &FromShim, descriptors: Vec<OwnedFd>) -> bool {
        let _step = fault::mark(match message {
            FromShim::Reply { .. } => "shim.reply",
            FromShim::Event(_) => "shim.event",
        });
        if matches!(message, FromShim::Event(event) if event.since() > self.protocol) {
            return true;
        }
        self.queue(self.protocol, message, descriptors)
    }

    /// Tells a daemon, in the newest version, that its packet was not understood, and changes nothing in the pod. False
    /// when the connection is of no use any more.
    pub(super) fn refuse_packet(&mut self) -> bool {
        let errno = nix::errno::Errno::EPROTO as i32;
        let object = "the packet is no request that this shim knows";
        let failure = Failure::errno(Step::Admit, errno, object);
        let reply = FromShim::Reply {
            id: 0,
            body: Reply::Failed(failure),
        };
        self.queue(Protocol::CURRENT, &reply, Vec::new())
    }

    fn queue(&mut self, protocol: Protocol, message: &FromShim, descriptors: Vec<OwnedFd>) -> bool {
        let Ok(packet) = wire::encode(protocol, message) else {
            return false;
        };
        self.waiting.push_back(Waiting {
            packet,
            descriptors,
        });
        self.waiting.len() <= MAX_WAITING && self.flush()
    }

    /// Sends what waits, as far as the daemon reads. False when it is gone.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(first) = self.waiting.front() {
            let descriptors: Vec<_> = first.descriptors.iter().map(AsFd::as_fd).collect();
            match fdpass::send_packet(self.socket.as_fd(), &first.packet, &descriptors) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Something waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
