//! The loop.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signalfd::SignalFd;

use super::connection::Connection;
use super::container::Container;
use super::exec::Exec;
use super::hooks::RunningHook;
use super::launched::Trigger;
use super::output::{Buffers, Flow, SourceIndex};
use super::pause::Pause;
use super::state::State;
use holdfast_kernel::fault;
use holdfast_kernel::sys::descriptor;
use holdfast_kernel::sys::memory::Buffer;
use holdfast_launch::Places;
use holdfast_wire::{
    self as wire, Cause, Failure, FromShim, Growing, MAX_PACKET, Object, Reply, Step,
};

/// Largest launch plan in bytes; the sizes of its parts are the daemon's to bound.
const MAX_PLAN: usize = 8 * 1024 * 1024;

/// How long the output buffers are kept after their last large use.
pub(super) const BUFFER_REST: Duration = Duration::from_secs(1);

/// Events taken from the kernel at once.
const EVENTS: usize = 16;

/// Bytes of the buffer for requests.
pub(super) const PACKET_BYTES: usize = MAX_PACKET;

/// A request's number that no daemon uses: they count from 1.
const NOBODY: u64 = 0;

/// The process of one pod, with everything that it knows.
pub(super) struct Shim {
    pub(super) poll: Epoll,
    pub(super) listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) state_directory: OwnedFd,
    pub(super) places: Places,
    pub(super) null: OwnedFd,
    /// The pause program in a sealed memfd.
    pub(super) program: OwnedFd,
    pub(super) packet: Buffer,
    pub(super) daemon: Option<Connection>,
    pub(super) pause: Option<Pause>,
    pub(super) containers: BTreeMap<u32, Container>,
    pub(super) execs: BTreeMap<u32, Exec>,
    pub(super) hooks: BTreeMap<u32, RunningHook>,
    pub(super) slots: u32,
    pub(super) sequence: u64,
    pub(super) buffers: Buffers,
    /// The request that asked for the end.
    pub(super) ending: Option<u64>,
}

/// What a descriptor in the epoll set is.
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

    fn unpack(number: u64) -> Option<Self> {
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

    pub(super) fn watch(&self, file: BorrowedFd<'_>, token: Token) {
        // It can only fail for want of kernel memory; the launch's deadline then ends it.
        let _ = self
            .poll
            .add(file, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()));
    }

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

    pub(super) fn reply(&mut self, id: u64, body: Reply, descriptors: Vec<OwnedFd>) {
        if id == NOBODY {
            return;
        }
        self.send(&FromShim::Reply { id, body }, descriptors);
    }

    /// Wants to know when the daemon can read again only while something waits for it.
    fn watch_daemon(&self) {
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

    /// Serves until everything has ended and the end was asked for.
    pub(super) fn run(&mut self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.poll.wait(&mut events, self.timeout()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..count] {
                if let Some(token) = Token::unpack(event.data()) {
                    self.serve(token);
                }
            }
            self.meet_deadlines();
            if self.has_ended() {
                self.send_last_words();
                return Ok(());
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(deadline) = self.next_deadline() else {
            return EpollTimeout::NONE;
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        // Rounded up: the loop must not spin in the last millisecond.
        EpollTimeout::try_from(rest + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
    }

    fn serve(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Daemon => {
                if self.daemon.as_mut().is_some_and(|daemon| !daemon.flush()) {
                    self.daemon = None;
                }
                self.watch_daemon();
                self.serve_daemon();
            }
            Token::Signals => {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap();
            }
            Token::PauseReport => self.advance_pause(Trigger::Report),
            Token::Report(slot) => self.advance_container(slot, Trigger::Report),
            Token::Output(slot, index) => self.pump(slot, index),
            Token::ExecReport(slot) => self.advance_exec(slot, Trigger::Report),
            Token::Client(slot) => self.drop_client(slot),
            Token::HookReport(slot) => self.advance_hook(slot),
        }
    }

    fn accept(&mut self) {
        let Ok(socket) = descriptor::accept(self.listener.as_fd()) else {
            return;
        };
        let daemon = Connection::new(socket);
        self.watch(daemon.socket(), Token::Daemon);
        let _step = fault::mark("shim.accept");
        // The one before is dead: there is one daemon, and it connects once.
        self.daemon = Some(daemon);
        self.drop_requests();
        self.repeat_exits();
    }

    /// What an earlier daemon waited for is answered to nobody: the new one counts its requests anew.
    fn drop_requests(&mut self) {
        let containers = self.containers.values_mut().map(|one| &mut one.process);
        let execs = self.execs.values_mut().map(|one| &mut one.process);
        let pause = self.pause.iter_mut().map(|pause| &mut pause.process);
        for process in containers.chain(execs).chain(pause) {
            process.request = NOBODY;
        }
        if let Some(request) = &mut self.ending {
            *request = NOBODY;
        }
    }

    fn pump(&mut self, slot: u32, index: SourceIndex) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        let flow = container.output.pump(index, &mut self.buffers);
        self.tell_dropped(slot);
        if flow == Flow::Ended {
            self.check_drained(slot);
        }
    }

    fn has_ended(&self) -> bool {
        self.ending.is_some()
            && self.pause.is_none()
            && self.execs.is_empty()
            && self.hook_deadline().is_none()
            && self.containers.values().all(|container| {
                matches!(
                    container.process.state,
                    State::Exited(_) | State::Settled | State::Gone
                )
            })
    }

    fn send_last_words(&mut self) {
        if let Some(request) = self.ending {
            self.reply(request, Reply::Done, Vec::new());
        }
    }
}
