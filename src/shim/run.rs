//! The event loop of the shim.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use super::clients::SourceIndex;
use super::connection::Connection;
use super::launched::Trigger;
use super::output::Flow;
use super::pod::Container;
use super::shim::{NOBODY, Shim, Token};
use super::state::State;
use holdfast_kernel::fault;
use holdfast_kernel::sys::{descriptor, memory};
use holdfast_wire::Reply;

/// Events taken from the kernel at once.
const EVENTS: usize = 16;

impl Shim {
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
            self.meet_output_deadlines();
            if self.has_ended() {
                self.send_last_words();
                return Ok(());
            }
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let outputs = self.containers.values();
        let outputs = outputs.filter_map(|container| container.output.next_deadline());
        let Some(deadline) = outputs.chain(self.next_deadline()).min() else {
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

    /// Drops the requests of an earlier daemon, because a new daemon counts its requests anew.
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
        self.follow_output(slot, flow);
    }

    /// Reads the outputs whose rest is over.
    fn meet_output_deadlines(&mut self) {
        let now = Instant::now();
        let due = |container: &Container| {
            let deadline = container.output.next_deadline();
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let all = self.containers.iter();
        let slots: Vec<u32> = all
            .filter(|(_, container)| due(container))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in slots {
            let Some(container) = self.containers.get_mut(&slot) else {
                continue;
            };
            let flow = container.output.meet_deadlines(now, &mut self.buffers);
            self.follow_output(slot, flow);
        }
    }

    /// Continues after a container's output was read.
    fn follow_output(&mut self, slot: u32, flow: Flow) {
        self.watch_output(slot);
        self.tell_dropped(slot);
        if flow == Flow::Ended {
            self.check_drained(slot);
        }
    }

    /// Takes the sources of a container that rest out of the epoll set, and puts the others back.
    pub(super) fn watch_output(&mut self, slot: u32) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        for index in [SourceIndex::First, SourceIndex::Second] {
            let token = Token::Output(slot, index).pack();
            container.output.watch(index, &self.poll, token);
        }
    }

    /// Gives back the memory that a start has used: the shim now waits for the rest of its pod's life.
    pub(super) fn trim(&mut self) {
        self.packet.release();
        memory::trim_heap();
        memory::trim_stack();
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
