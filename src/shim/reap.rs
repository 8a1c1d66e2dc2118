//! Ends: of containers, further processes, the pause, and of orphans that fell to this process.

use std::os::fd::AsFd;
use std::time::Instant;

use super::cgroup;
use super::container::DRAIN_DEADLINE;
use super::exit_record;
use super::launched::Trigger;
use super::output::unix_nanos;
use super::pod::HookPhase;
use super::shim::Shim;
use super::state::{Effect, Event, Exit, State};
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::process::{self, Ended};
use holdfast_wire::{self as wire, ExitStatus, FromShim, Reply};

/// Exit code of a process that was killed.
const KILLED: i32 = 128 + 9;

fn status(ended: Ended) -> ExitStatus {
    match ended {
        Ended::Code(code) => ExitStatus::Code(code),
        Ended::Signal(signal) => ExitStatus::Signal(signal),
    }
}

/// A child of the shim's own making.
#[derive(Debug, Clone, Copy)]
enum Child {
    Pause,
    Container(u32),
    Exec(u32),
    Hook(u32),
}

impl Shim {
    /// Waits for every child that has ended.
    pub(super) fn reap(&mut self) {
        while let Ok(Some(pid)) = process::ended_child() {
            let child = self.child(pid);
            if let Some(child) = child {
                self.hear_out(child);
            }
            let Ok(ended) = process::wait(pid) else {
                return;
            };
            let exit = Exit {
                status: status(ended),
                at_unix_nanos: unix_nanos(),
            };
            if let Some(child) = child {
                self.note_end(child, exit);
            }
        }
    }

    /// Which of its own children a process is. Any other was an orphan of the pod, and is nobody's business.
    fn child(&self, pid: Pid) -> Option<Child> {
        let has_pid = |process: &super::process::Process| process.pid == pid;
        if self
            .pause
            .as_ref()
            .is_some_and(|pause| has_pid(&pause.process))
        {
            return Some(Child::Pause);
        }
        let container = slot_of(&self.containers, |container| has_pid(&container.process));
        let exec = || slot_of(&self.execs, |exec| has_pid(&exec.process)).map(Child::Exec);
        let hook = || slot_of(&self.hooks, |hook| has_pid(&hook.process)).map(Child::Hook);
        container.map(Child::Container).or_else(exec).or_else(hook)
    }

    /// A report that is still unread comes before the end: it says why.
    fn hear_out(&mut self, child: Child) {
        match child {
            Child::Pause => self.advance_pause(Trigger::End),
            Child::Container(slot) => self.advance_container(slot, Trigger::End),
            Child::Exec(slot) => self.advance_exec(slot, Trigger::End),
            Child::Hook(slot) => self.advance_hook(slot),
        }
    }

    fn note_end(&mut self, child: Child, exit: Exit) {
        match child {
            Child::Pause => self.end_pause(exit),
            Child::Container(slot) => self.end_container(slot, exit),
            Child::Exec(slot) => self.end_exec(slot, exit),
            Child::Hook(slot) => self.end_hook(slot, exit),
        }
    }

    fn end_pause(&mut self, exit: Exit) {
        let Some(pause) = &mut self.pause else {
            return;
        };
        let request = pause.process.request;
        let effect = pause.process.apply(Event::Ended(exit));
        self.pause = None;
        match effect {
            Effect::ReplyFailed(failure) => self.reply(request, Reply::Failed(failure), Vec::new()),
            Effect::KillRest if self.ending.is_none() => {
                self.send_event(wire::Event::PauseExited {
                    status: exit.status,
                    at_unix_nanos: exit.at_unix_nanos,
                });
            }
            _ => {}
        }
    }

    fn end_container(&mut self, slot: u32, exit: Exit) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        container.process.pid = Pid::NONE;
        match container.process.apply(Event::Ended(exit)) {
            Effect::KillRest => {
                if let Some(directory) = container.cgroup.any() {
                    // What cannot be killed here is left to the daemon, which removes the cgroup.
                    let _ = cgroup::kill(directory);
                }
                let oom_kills = cgroup::oom_kills(&container.cgroup);
                // A first process that the signal of a stop has ended did not end for want of memory.
                let asked =
                    container.kill_asked || container.stop_asked && exit.status.code() != KILLED;
                container.oom_killed = oom_kills > container.oom_kills_before && !asked;
                container.drain_until = Some(Instant::now() + DRAIN_DEADLINE);
                container.output.wake();
                self.watch_output(slot);
                self.check_drained(slot);
            }
            Effect::ReplyFailed(failure) => {
                self.give_up_start_hooks(slot);
                self.begin_failed_end(slot, failure);
            }
            _ => {
                self.give_up_start_hooks(slot);
                self.containers.remove(&slot);
            }
        }
    }

    /// Gives up on output that does not end.
    pub(super) fn finish_output(&mut self, slot: u32) {
        if let Some(container) = self.containers.get_mut(&slot) {
            container.output.finish(&mut self.buffers);
        }
        self.tell_dropped(slot);
        self.check_drained(slot);
    }

    /// Announces an ended container's exit when its output is in the log.
    pub(super) fn check_drained(&mut self, slot: u32) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        if !container.output.is_drained() || !matches!(container.process.state, State::Draining(_))
        {
            return;
        }
        container.drain_until = None;
        match container.hooks.as_deref().map(|hooks| hooks.phase) {
            None | Some(HookPhase::Over) => {}
            Some(HookPhase::None) => return self.begin_hooks(slot, HookPhase::End),
            // Whoever they are run for comes back here.
            Some(HookPhase::Child(_) | HookPhase::Start | HookPhase::End) => return,
        }
        if let Effect::Announce(exit) = container.process.apply(Event::Drained) {
            container.process.terminal = None;
            self.sequence += 1;
            container.sequence = self.sequence;
            let event = self.exit_event(slot, exit);
            self.record_and_send(slot, event);
        }
    }

    fn record_and_send(&mut self, slot: u32, event: Option<wire::Event>) {
        let (Some(event), Some(container)) = (event, self.containers.get(&slot)) else {
            return;
        };
        // A full disk loses the copy on disk; the event itself is kept and repeated.
        let _ = exit_record::write(self.state_directory.as_fd(), container.id, &event);
        self.send_event(event);
    }

    fn exit_event(&self, slot: u32, exit: Exit) -> Option<wire::Event> {
        let container = self.containers.get(&slot)?;
        Some(wire::Event::Exited {
            sequence: container.sequence,
            container: container.id,
            status: exit.status,
            at_unix_nanos: exit.at_unix_nanos,
            oom_killed: container.oom_killed,
        })
    }

    /// Tells a new daemon about every exit that none has recorded yet.
    pub(super) fn repeat_exits(&mut self) {
        let slots: Vec<u32> = self.containers.keys().copied().collect();
        for slot in slots {
            let state = self
                .containers
                .get(&slot)
                .map(|container| &container.process.state);
            if let Some(State::Exited(exit)) = state
                && let Some(event) = self.exit_event(slot, *exit)
            {
                self.send_event(event);
            }
        }
    }

    fn end_exec(&mut self, slot: u32, exit: Exit) {
        let Some(mut exec) = self.execs.remove(&slot) else {
            return;
        };
        let request = exec.process.request;
        let effect = exec.process.apply(Event::Ended(exit));
        self.remove_directory(exec.container, exec.id);
        match effect {
            Effect::KillRest => self.send_event(wire::Event::ExecExited {
                exec: exec.id,
                status: exit.status,
            }),
            Effect::ReplyFailed(failure) => self.reply(request, Reply::Failed(failure), Vec::new()),
            _ => {}
        }
    }

    fn send_event(&mut self, event: wire::Event) {
        self.send(&FromShim::Event(event), Vec::new());
    }
}

fn slot_of<T>(
    all: &std::collections::BTreeMap<u32, T>,
    wanted: impl Fn(&T) -> bool,
) -> Option<u32> {
    all.iter()
        .find(|(_, one)| wanted(one))
        .map(|(slot, _)| *slot)
}
