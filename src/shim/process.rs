//! The part that the pause, containers and further processes have in common: a launch, then a running process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::state::{self, Effect, Event, State};
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, errno_of, pidfd, proc};
use holdfast_launch::{Launch, Message, Position, Stage};
use holdfast_wire::{Cause, Failure, Object, Reply, Step};

/// How long a process may take to execute its program. A mount or a path of a dead network file system
/// can hold it for ever.
const LAUNCH_DEADLINE: Duration = Duration::from_secs(110);

/// A process that this shim started.
#[derive(Debug)]
pub(super) struct Process {
    /// Where the process stands.
    pub(super) state: State,
    /// The request that asked for it, to be answered once.
    pub(super) request: u64,
    /// Its number; [`Pid::NONE`] when it was waited for.
    pub(super) pid: Pid,
    /// Its start time in clock ticks since boot, once it runs.
    pub(super) start_ticks: u64,
    /// When it must have executed its program.
    pub(super) deadline: Option<Instant>,
    /// The main side of its terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// The child waits for the hooks of this stage.
    pub(super) waiting: Option<Stage>,
    pidfd: OwnedFd,
    launch: Option<Launch>,
    degraded: Vec<Failure>,
}

impl Process {
    /// A process whose launch has begun.
    pub(super) fn new(launch: Launch, request: u64) -> nix::Result<Self> {
        Ok(Self {
            state: State::Launching,
            request,
            pid: launch.child.pid,
            start_ticks: 0,
            deadline: Some(Instant::now() + LAUNCH_DEADLINE),
            terminal: None,
            waiting: None,
            pidfd: descriptor::duplicate(launch.child.pidfd.as_fd())?,
            launch: Some(launch),
            degraded: Vec::new(),
        })
    }

    /// The pidfd of the process.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends SIGKILL to this one process, wherever it has moved itself: a privileged one sees the machine's
    /// cgroups and may leave its own, where `cgroup.kill` does not reach it. One that has ended is as good.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2).
    pub(super) fn kill(&self) -> nix::Result<()> {
        match pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL).map_err(|e| errno_of(&e)) {
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// The report socket, while it is launched.
    pub(super) fn report(&self) -> Option<BorrowedFd<'_>> {
        self.launch.as_ref().map(Launch::socket)
    }

    /// Moves along the table.
    pub(super) fn apply(&mut self, event: Event) -> Effect {
        let state = std::mem::replace(&mut self.state, State::Gone);
        let (state, effect) = state::apply(state, event);
        self.state = state;
        effect
    }

    /// Reads what the child has reported. `describe` names the object of a step.
    pub(super) fn read_report(&mut self, describe: &dyn Fn(Position) -> Object) -> Effect {
        loop {
            let Some(launch) = &self.launch else {
                return Effect::None;
            };
            match launch.receive() {
                Ok(None) => return Effect::None,
                Ok(Some(Message::Terminal(main))) => self.terminal = Some(main),
                Ok(Some(Message::Waiting(stage))) => {
                    // Its hooks have deadlines of their own.
                    self.deadline = None;
                    self.waiting = Some(stage);
                }
                Ok(Some(Message::Degraded { position, errno })) => {
                    let object = describe(position);
                    let refused = Failure::errno(position.step, errno as i32, object);
                    self.degraded.push(refused);
                }
                Ok(Some(Message::Failed { position, errno })) => {
                    let object = describe(position);
                    let failure = Failure::errno(position.step, errno as i32, object);
                    self.apply(Event::Failed(failure));
                }
                Ok(Some(Message::End)) | Err(_) => return self.end_launch(),
            }
        }
    }

    /// Reads the last report of a child that has ended and is not waited for yet. The child reports no more, also where
    /// somebody who looks into /proc/PID/fd holds its end of the socket for a moment longer.
    pub(super) fn read_last_report(&mut self, describe: &dyn Fn(Position) -> Object) -> Effect {
        match self.read_report(describe) {
            Effect::None => self.end_launch(),
            effect => effect,
        }
    }

    /// Lets the child go on that waited for its hooks.
    pub(super) fn release(&mut self) {
        if let Some(launch) = &self.launch {
            self.deadline = Some(Instant::now() + LAUNCH_DEADLINE);
            // A child that is gone is told by its end.
            let _ = launch.release();
        }
    }

    /// The report socket is closed: by execve when that was the last step and has happened, else by the child's end,
    /// which SIGCHLD is about to tell.
    fn end_launch(&mut self) -> Effect {
        let Some(launch) = self.launch.take() else {
            return Effect::None;
        };
        self.deadline = None;
        if launch.position().step != Step::Exec || self.state != State::Launching {
            return Effect::None;
        }
        // The process is this one's child and not waited for, so its number is its own.
        let beginning = proc::beginning(self.pid).ok();
        if beginning.is_some_and(|beginning| !beginning.has_executed) {
            // It was killed in its last step, as a seccomp filter may do.
            return Effect::None;
        }
        self.start_ticks = beginning.map_or(0, |beginning| beginning.start_ticks);
        self.apply(Event::Executed)
    }

    /// The deadline has passed: kills the child and says where it hung.
    pub(super) fn time_out(&mut self, describe: &dyn Fn(Position) -> Object) -> Effect {
        self.deadline = None;
        let Some(launch) = self.launch.take() else {
            return Effect::None;
        };
        // It has been waited for, or SIGKILL waits for the file system that holds it.
        let _ = self.kill();
        let position = launch.position();
        self.apply(Event::TimedOut(Failure {
            step: position.step,
            object: describe(position),
            cause: Cause::TimedOut(LAUNCH_DEADLINE.as_secs()),
        }))
    }

    /// The answer that the process runs, with the first of its descriptors.
    pub(super) fn started(&mut self) -> nix::Result<(Reply, OwnedFd)> {
        let reply = Reply::Started {
            pid: self.pid,
            start_ticks: self.start_ticks,
            degraded: std::mem::take(&mut self.degraded),
        };
        Ok((reply, descriptor::duplicate(self.pidfd.as_fd())?))
    }
}
