//! The process of one pod: what it knows, its epoll set, and its messages to the daemon.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::signalfd::SignalFd;

use super::clients::SourceIndex;
use super::connection::Connection;
use super::output::Buffers;
use super::pod::{Container, Exec, Pause, RunningHook};
use holdfast_kernel::sys::memory::Buffer;
use holdfast_launch::ShimNamespaces;
use holdfast_wire::{
    self as wire, Cause, Failure, FromShim, Growing, MAX_PACKET, Object, Reply, Step,
};

/// Largest launch plan in bytes; the sizes of its parts are the daemon's to bound.
const MAX_PLAN: usize = 8 * 1024 * 1024;

/// Bytes of the buffer for requests.
pub(super) const PACKET_BYTES: usize = MAX_PACKET;

/// A request's number that no daemon uses: they count from 1.
pub(super) const NOBODY: u64 = 0;

/// The process of one pod, with everything that it knows.
pub(super) struct Shim {
    pub(super) poll: Epoll,
    pub(super) listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) state_directory: OwnedFd,
    pub(super) shim_namespaces: ShimNamespaces,
    pub(super) null: OwnedFd,
    /// The pause program in a sealed memfd.
    pub(super) program: OwnedFd,
    pub(super) packet: Buffer,
    pub(super) daemon: Option<Connection>,
    /// A network namespace that waits for the pause.
    pub(super) network: Option<OwnedFd>,
    pub(super) pause: Option<Pause>,
    /// Boxed, because a node of the map has room for eleven.
    pub(super) containers: BTreeMap<u32, Box<Container>>,
    pub(super) execs: BTreeMap<u32, Exec>,
    pub(super) hooks: BTreeMap<u32, RunningHook>,
    pub(super) slots: u32,
    pub(super) sequence: u64,
    pub(super) buffers: Buffers,
    /// The request that asked for the end.
    pub(super) ending: Option<u64>,
}

/// The object that a descriptor in the epoll set belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Daemon,
    Signals,
    PauseReport,
    Report(u32),
    Output(u32, SourceIndex),
    ExecReport(u32),
    /// The reader of a client's pipe is gone.
    Client(u32),
    HookReport(u32),
}

impl Token {
    /// The token as the number that epoll keeps.
    pub(super) fn pack(self) -> u64 {
        let (kind, slot) = match self {
            Self::Listener => (0, 0),
            Self::Daemon => (1, 0),
            Self::Signals => (2, 0),
            Self::PauseReport => (3, 0),
            Self::Report(slot) => (4, slot),
            Self::Output(slot, SourceIndex::First) => (5, slot),
            Self::Output(slot, SourceIndex::Second) => (6, slot),
            Self::ExecReport(slot) => (7, slot),
            Self::Client(slot) => (8, slot),
            Self::HookReport(slot) => (9, slot),
        };
        u64::from(slot) << 8 | kind
    }

    /// The token that a number of epoll stands for.
    pub(super) fn unpack(number: u64) -> Option<Self> {
        let slot = u32::try_from(number >> 8).ok()?;
        Some(match number & 0xff {
            0 => Self::Listener,
            1 => Self::Daemon,
            2 => Self::Signals,
            3 => Self::PauseReport,
            4 => Self::Report(slot),
            5 => Self::Output(slot, SourceIndex::First),
            6 => Self::Output(slot, SourceIndex::Second),
            7 => Self::ExecReport(slot),
            8 => Self::Client(slot),
            9 => Self::HookReport(slot),
            _ => return None,
        })
    }
}

/// A failure of the shim itself.
pub(super) fn failed(step: Step, errno: Errno, object: &str) -> Failure {
    Failure::errno(step, errno as i32, object)
}

impl Shim {
    /// Reads the launch plan of the present request from its memfd. The bytes are given back before the launch
    /// begins.
    pub(super) fn decode_plan<T: Growing>(
        &self,
        memfd: Option<OwnedFd>,
    ) -> Result<Box<T>, Failure> {
        let memfd = memfd
            .ok_or_else(|| failed(Step::Plan, Errno::EBADF, "of the request, which has none"))?;
        let content =
            holdfast_kernel::sys::memfd::read(memfd.as_fd(), MAX_PLAN).map_err(|error| {
                failed(
                    Step::Plan,
                    holdfast_kernel::sys::errno_of(&error),
                    "from its memfd",
                )
            })?;
        wire::decode_plan(&content)
            .map(Box::new)
            .map_err(|error| Failure {
                step: Step::Plan,
                object: Object::none(),
                cause: Cause::Said(error.to_string()),
            })
    }

    /// Answers a packet that is not understood.
    pub(super) fn refuse_packet(&mut self) {
        if self
            .daemon
            .as_mut()
            .is_some_and(|daemon| !daemon.refuse_packet())
        {
            self.daemon = None;
        }
        self.watch_daemon();
    }

    /// Adds a descriptor to the epoll set.
    pub(super) fn watch(&self, file: BorrowedFd<'_>, token: Token) {
        // It can only fail for want of kernel memory; the launch's deadline then ends it.
        let _ = self
            .poll
            .add(file, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()));
    }

    /// Returns a number that no other child or client of this shim has.
    pub(super) fn next_slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots
    }

    /// Sends a message to the daemon, if there is one.
    pub(super) fn send(&mut self, message: &FromShim, descriptors: Vec<OwnedFd>) {
        if let Some(daemon) = &mut self.daemon
            && !daemon.send(message, descriptors)
        {
            self.daemon = None;
        }
        self.watch_daemon();
    }

    /// Answers a request of the daemon, if there is one that waits for the answer.
    pub(super) fn reply(&mut self, id: u64, body: Reply, descriptors: Vec<OwnedFd>) {
        if id == NOBODY {
            return;
        }
        self.send(&FromShim::Reply { id, body }, descriptors);
    }

    /// Wants to know when the daemon can read again only while something waits for it.
    pub(super) fn watch_daemon(&self) {
        let Some(daemon) = &self.daemon else {
            return;
        };
        let mut wanted = EpollFlags::EPOLLIN;
        if daemon.is_waiting() {
            wanted |= EpollFlags::EPOLLOUT;
        }
        let _ = self.poll.modify(
            daemon.socket(),
            &mut EpollEvent::new(wanted, Token::Daemon.pack()),
        );
    }
}
