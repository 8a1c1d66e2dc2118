//! Reports of launches, and what follows from them.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::clients::SourceIndex;
use super::output::BUFFER_REST;
use super::pod::HookPhase;
use super::process::Process;
use super::shim::{Shim, Token};
use super::state::Effect;
use holdfast_kernel::sys::descriptor;
use holdfast_launch::{Position, describe_container, describe_exec, describe_pause};
use holdfast_wire::plan::{ContainerPlan, ExecPlan, PausePlan};
use holdfast_wire::{Failure, Object, Reply, Step};

/// The reason why the shim looks at a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Its report socket is readable.
    Report,
    /// Its deadline has passed.
    Deadline,
    /// Its process has ended, and is not waited for yet.
    End,
}

fn advance(
    process: &mut Process,
    trigger: Trigger,
    describe: &dyn Fn(Position) -> Object,
) -> Effect {
    match trigger {
        Trigger::Report => process.read_report(describe),
        Trigger::Deadline => process.time_out(describe),
        Trigger::End => process.read_last_report(describe),
    }
}

fn of_container(plan: Option<&ContainerPlan>) -> impl Fn(Position) -> Object {
    move |position| plan.map_or_else(Object::none, |plan| describe_container(plan, position))
}

fn of_exec(plan: Option<&ExecPlan>) -> impl Fn(Position) -> Object {
    move |position| plan.map_or_else(Object::none, |plan| describe_exec(&plan.process, position))
}

fn of_pause(plan: &PausePlan) -> impl Fn(Position) -> Object {
    move |position| describe_pause(plan, position)
}

/// An answer that could not be completed because the machine has no descriptor left.
fn unanswerable(errno: nix::errno::Errno) -> Reply {
    let object = "descriptors of the answer";
    Reply::Failed(Failure::errno(Step::Control, errno as i32, object))
}

impl Shim {
    /// Lets the launch of the pause go on after a report, an exit or a deadline.
    pub(super) fn advance_pause(&mut self, trigger: Trigger) {
        let Some(pause) = &mut self.pause else {
            return;
        };
        let effect = advance(&mut pause.process, trigger, &of_pause(&pause.plan));
        let request = pause.process.request;
        match effect {
            Effect::ReplyStarted => {
                let (reply, descriptors) = pause
                    .started()
                    .unwrap_or_else(|errno| (unanswerable(errno), Vec::new()));
                self.reply(request, reply, descriptors);
                holdfast_kernel::sys::memory::trim_heap();
            }
            Effect::ReplyFailed(failure) => self.reply(request, Reply::Failed(failure), Vec::new()),
            _ => {}
        }
    }

    /// Lets the launch of a container go on after a report, an exit or a deadline.
    pub(super) fn advance_container(&mut self, slot: u32, trigger: Trigger) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        let effect = {
            let describe = of_container(container.plan.as_deref());
            advance(&mut container.process, trigger, &describe)
        };
        let request = container.process.request;
        match effect {
            Effect::ReplyStarted => {
                container.plan = None;
                let hooked = container.hooks.is_some();
                self.watch_terminal(slot);
                if hooked {
                    self.begin_hooks(slot, HookPhase::Start);
                } else {
                    self.answer_start(slot);
                }
            }
            Effect::ReplyFailed(failure) => self.reply(request, Reply::Failed(failure), Vec::new()),
            _ => {
                if let Some(stage) = container.process.waiting.take() {
                    self.begin_hooks(slot, HookPhase::Child(stage));
                }
            }
        }
    }

    /// Answers that a container's program runs.
    pub(super) fn answer_start(&mut self, slot: u32) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        let request = container.process.request;
        let (reply, descriptors) = complete(container.process.started());
        self.reply(request, reply, descriptors);
        self.trim();
    }

    /// Reads a container's terminal as its output.
    fn watch_terminal(&mut self, slot: u32) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        let Some(main) = &container.process.terminal else {
            return;
        };
        use std::os::fd::AsFd;
        let copy = descriptor::duplicate(main.as_fd())
            .and_then(|copy| descriptor::set_nonblocking(copy.as_fd()).map(|()| copy));
        // Without a descriptor left the container runs on without a log.
        if let Ok(copy) = copy {
            self.watch(copy.as_fd(), Token::Output(slot, SourceIndex::First));
            if let Some(container) = self.containers.get_mut(&slot) {
                container.output.open(SourceIndex::First, copy);
            }
        }
    }

    /// Lets the launch of an exec process go on after a report, an exit or a deadline.
    pub(super) fn advance_exec(&mut self, slot: u32, trigger: Trigger) {
        let Some(exec) = self.execs.get_mut(&slot) else {
            return;
        };
        let effect = {
            let describe = of_exec(exec.plan.as_deref());
            advance(&mut exec.process, trigger, &describe)
        };
        let request = exec.process.request;
        match effect {
            Effect::ReplyStarted => {
                exec.plan = None;
                let (reply, mut descriptors) = complete(exec.process.started());
                // The daemon's alone: a client that goes away hangs the terminal up.
                descriptors.extend(exec.process.terminal.take());
                self.reply(request, reply, descriptors);
            }
            Effect::ReplyFailed(failure) => self.reply(request, Reply::Failed(failure), Vec::new()),
            _ => {}
        }
    }

    /// The next moment at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let pause = self.pause.iter().filter_map(|pause| pause.process.deadline);
        let containers = self.containers.values();
        let launches = containers
            .clone()
            .filter_map(|container| container.process.deadline);
        let drains = containers.filter_map(|container| container.drain_until);
        let execs = self.execs.values().filter_map(|exec| exec.process.deadline);
        let idle = self.buffers.used.map(|used| used + BUFFER_REST);
        pause
            .chain(launches)
            .chain(drains)
            .chain(execs)
            .chain(self.hook_deadline())
            .chain(idle)
            .min()
    }

    /// Does what is due.
    pub(super) fn meet_deadlines(&mut self) {
        let now = Instant::now();
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if self
            .pause
            .as_ref()
            .is_some_and(|pause| due(pause.process.deadline))
        {
            self.advance_pause(Trigger::Deadline);
        }
        let slots: Vec<u32> = self.containers.keys().copied().collect();
        for slot in slots {
            let Some(container) = self.containers.get(&slot) else {
                continue;
            };
            let (launch, drain) = (due(container.process.deadline), due(container.drain_until));
            if launch {
                self.advance_container(slot, Trigger::Deadline);
            }
            if drain {
                self.finish_output(slot);
            }
        }
        let late = |exec: &super::pod::Exec| due(exec.process.deadline);
        let slots: Vec<u32> = self
            .execs
            .iter()
            .filter(|(_, exec)| late(exec))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in slots {
            self.advance_exec(slot, Trigger::Deadline);
        }
        self.end_late_hooks(now);
        if due(self.buffers.used.map(|used| used + BUFFER_REST)) {
            self.buffers.release();
        }
    }
}

/// An answer with its descriptors, or that they cannot be had.
pub(super) fn complete(answer: nix::Result<(Reply, OwnedFd)>) -> (Reply, Vec<OwnedFd>) {
    match answer {
        Ok((reply, pidfd)) => (reply, vec![pidfd]),
        Err(errno) => (unanswerable(errno), Vec::new()),
    }
}
