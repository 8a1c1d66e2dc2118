//! Hooks: run one after the other, while the container's child waits, its start waits for an answer, or its exit for its
//! announcement. Nothing here blocks: a hook is one more process of this one, with a deadline.
//!
//! ```text
//!   child waits ─▶ prestart, createRuntime, createContainer ─▶ released
//!   child waits ─▶ startContainer ─▶ released ─▶ program runs ─▶ poststart ─▶ the start is answered
//!   ended, output drained ─▶ poststop ─▶ the exit is announced
//! ```
//!
//! A hook that fails ends the start and the container, but for those of poststop: their failures are told to the log,
//! and the next is run (OCI runtime specification 1.3, "Lifecycle").

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};

use super::pod::{Container, ContainerHooks, HookPhase, Pause, RunningHook, phase_of};
use super::process::Process;
use super::shim::{Shim, Token, failed};
use super::state::{Effect, Event, Exit, State};
use holdfast_kernel::sys::namespace::CloneFlags;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{errno_of, memfd, proc, process};
use holdfast_launch::{HookLaunch, HookPlace, Inside, Launch, start_hook};
use holdfast_wire::plan::{Hook, HookMoment, Hooks, PidNamespace};
use holdfast_wire::{Cause, ExitStatus, Failure, Object, Reply, Step};

/// How long a hook may run that is described without a timeout, below the time that kubelets wait for a start.
const HOOK_DEADLINE: Duration = Duration::from_secs(100);

/// The same for hooks of an ended container: less than the time after which a daemon gives a killed container up.
const POSTSTOP_DEADLINE: Duration = Duration::from_secs(10);

/// Most bytes of a failed hook's output that are told.
const OUTPUT_BYTES: usize = 512;

impl Shim {
    /// Lets the hooks of a turn run, in their order, and then whoever waits for them go on.
    pub(super) fn begin_hooks(&mut self, slot: u32, turn: HookPhase) {
        if let Some(hooks) = self.hooks_of(slot) {
            hooks.phase = turn;
        }
        self.next_hook(slot);
    }

    fn hooks_of(&mut self, slot: u32) -> Option<&mut ContainerHooks> {
        let container = self.containers.get_mut(&slot)?;
        container.hooks.as_deref_mut()
    }

    /// Starts hooks until one runs, or none is left.
    fn next_hook(&mut self, slot: u32) {
        loop {
            let Some(hooks) = self.hooks_of(slot) else {
                return;
            };
            let turn = hooks.phase;
            let Some(hook) = hooks.take_next() else {
                return self.end_turn(slot, turn);
            };
            let Err(failure) = self.start_hook(slot, hook.clone()) else {
                return;
            };
            let why = format!("was not started: {failure}");
            if !self.hook_failed(slot, &hook, &why) {
                return;
            }
        }
    }

    fn start_hook(&mut self, slot: u32, hook: Hook) -> Result<(), Failure> {
        let Some(container) = self.containers.get(&slot) else {
            return Err(failed(Step::Hook, Errno::ESRCH, "the container is gone"));
        };
        let Some(hooks) = container.hooks.as_deref() else {
            return Err(failed(
                Step::Hook,
                Errno::EINVAL,
                "the container has no hooks",
            ));
        };
        let wrong = |errno| failed(Step::Hook, errno, "its standard streams");
        let state =
            state_file(&state_text(hooks, &container.process, hook.moment)).map_err(wrong)?;
        let output = memfd_create(c"holdfast-hook", MFdFlags::MFD_CLOEXEC).map_err(wrong)?;
        let launch = self.launch_hook(container, hooks, &hook, [&state, &output])?;
        let pidfd = |errno| failed(Step::Clone, errno, "pidfd");
        let mut process = Process::new(launch, 0).map_err(pidfd)?;
        process.deadline = None;
        let whole = match phase_of(hook.moment) {
            HookPhase::End => POSTSTOP_DEADLINE,
            _ => HOOK_DEADLINE,
        };
        let limit = hook
            .timeout
            .map_or(whole, |seconds| Duration::from_secs(seconds.into()));
        let running = RunningHook {
            container: Some(slot),
            until: Instant::now() + limit,
            hook,
            process,
            output,
        };
        let hook_slot = self.next_slot();
        if let Some(report) = running.process.report() {
            self.watch(report, Token::HookReport(hook_slot));
        }
        self.hooks.insert(hook_slot, running);
        Ok(())
    }

    fn launch_hook(
        &self,
        container: &Container,
        hooks: &ContainerHooks,
        hook: &Hook,
        [state, output]: [&OwnedFd; 2],
    ) -> Result<Launch, Failure> {
        let pause = self.pause.as_ref();
        let inside = Inside {
            process: container.process.pidfd(),
            cgroup: &container.cgroup,
            user: pause.and_then(|pause| pause.user.as_ref()).map(AsFd::as_fd),
            extra_namespaces: pause.map_or_else(CloneFlags::empty, Pause::extra_namespaces),
        };
        let place = match (hook.moment, &container.plan) {
            (HookMoment::CreateContainer, _) => HookPlace::Container(inside),
            (HookMoment::StartContainer, Some(plan)) => HookPlace::Root(inside, &plan.process),
            _ => HookPlace::Runtime,
        };
        start_hook(&HookLaunch {
            hook,
            place,
            state: state.as_fd(),
            output: output.as_fd(),
            bundle: &hooks.plan.bundle,
            shim_namespaces: &self.shim_namespaces,
        })
    }

    /// All hooks of a turn have been run.
    fn end_turn(&mut self, slot: u32, turn: HookPhase) {
        let Some(container) = self.containers.get_mut(&slot) else {
            return;
        };
        if let Some(hooks) = container.hooks.as_deref_mut() {
            hooks.phase = if turn == HookPhase::End {
                HookPhase::Over
            } else {
                HookPhase::None
            };
        }
        match turn {
            // A child that is gone is going to be waited for.
            HookPhase::Child(_) => container.process.release(),
            HookPhase::Start => {
                self.answer_start(slot);
                // It may have ended meanwhile.
                self.check_drained(slot);
            }
            HookPhase::End => match self.hooks_of(slot).and_then(|hooks| hooks.failure.take()) {
                Some(failure) => self.fail_start(slot, failure),
                None => self.check_drained(slot),
            },
            HookPhase::None | HookPhase::Over => {}
        }
    }

    /// A hook has failed. Whether the next one is run.
    fn hook_failed(&mut self, slot: u32, hook: &Hook, why: &str) -> bool {
        let object = format!("{} hook {}", name(hook.moment), hook.path.to_string_lossy());
        let Some(container) = self.containers.get_mut(&slot) else {
            return false;
        };
        if hook.moment == HookMoment::Poststop {
            // Standard error is the log. What it does not take is lost.
            let _ = writeln!(
                std::io::stderr(),
                "holdfast-shim: container {}: {object} {why}",
                container.id
            );
            return true;
        }
        if let Some(hooks) = container.hooks.as_deref_mut() {
            hooks.phase = HookPhase::None;
        }
        let failure = Failure {
            step: Step::Hook,
            object: object.into(),
            cause: Cause::Said(why.to_owned()),
        };
        match container.process.apply(Event::HookFailed(failure.clone())) {
            // The process has ended already.
            Effect::ReplyFailed(failure) => self.begin_failed_end(slot, failure),
            _ => {
                let _ = container.process.kill();
                if let Some(directory) = container.cgroup.any() {
                    let _ = super::cgroup::kill(directory);
                }
            }
        }
        false
    }

    /// Runs the hooks of the end of a container whose start failed, and answers then.
    pub(super) fn begin_failed_end(&mut self, slot: u32, failure: Failure) {
        match self.hooks_of(slot) {
            Some(hooks) => {
                hooks.failure = Some(failure);
                self.begin_hooks(slot, HookPhase::End);
            }
            None => self.fail_start(slot, failure),
        }
    }

    fn fail_start(&mut self, slot: u32, failure: Failure) {
        if let Some(container) = self.containers.remove(&slot) {
            self.reply(
                container.process.request,
                Reply::Failed(failure),
                Vec::new(),
            );
        }
    }

    /// Reads what a hook's child reports.
    pub(super) fn advance_hook(&mut self, slot: u32) {
        if let Some(hook) = self.hooks.get_mut(&slot) {
            hook.process.read_report(&|_| Object::none());
        }
    }

    /// A hook has ended.
    pub(super) fn end_hook(&mut self, slot: u32, exit: Exit) {
        let Some(hook) = self.hooks.remove(&slot) else {
            return;
        };
        let Some(container) = hook.container else {
            return;
        };
        let why = match (&hook.process.state, exit.status) {
            (State::Failing(failure), _) => format!("was not started: {failure}"),
            (_, ExitStatus::Code(0)) => return self.next_hook(container),
            (_, ExitStatus::Code(code)) => format!("exited with {code}{}", said(&hook.output)),
            (_, ExitStatus::Signal(signal)) => {
                format!("was killed by signal {signal}{}", said(&hook.output))
            }
        };
        if self.hook_failed(container, &hook.hook, &why) {
            self.next_hook(container);
        }
    }

    /// Kills the hook that a start waits for: the container is to end.
    pub(super) fn kill_start_hooks(&self, slot: u32) {
        for hook in self
            .hooks
            .values()
            .filter(|hook| hook.container == Some(slot))
        {
            if hook.hook.moment != HookMoment::Poststop {
                kill(&hook.process);
            }
        }
    }

    /// A container's process has ended before its program ran: what waits for it is over.
    pub(super) fn give_up_start_hooks(&mut self, slot: u32) {
        self.kill_start_hooks(slot);
        for hook in self.hooks.values_mut() {
            if hook.container == Some(slot) {
                hook.container = None;
            }
        }
    }

    /// The next moment at which a hook has run for too long.
    pub(super) fn hook_deadline(&self) -> Option<Instant> {
        let waited_for = self.hooks.values().filter(|hook| hook.container.is_some());
        waited_for.map(|hook| hook.until).min()
    }

    /// Kills hooks that have run for too long, and goes on without waiting for their ends.
    pub(super) fn end_late_hooks(&mut self, now: Instant) {
        let late = |hook: &RunningHook| hook.container.is_some() && hook.until <= now;
        let late = self.hooks.iter().filter(|(_, hook)| late(hook));
        let late: Vec<u32> = late.map(|(slot, _)| *slot).collect();
        for slot in late {
            let Some(hook) = self.hooks.get_mut(&slot) else {
                continue;
            };
            kill(&hook.process);
            let Some(container) = hook.container.take() else {
                continue;
            };
            let seconds = match hook.hook.timeout {
                Some(seconds) => u64::from(seconds),
                None if hook.hook.moment == HookMoment::Poststop => POSTSTOP_DEADLINE.as_secs(),
                None => HOOK_DEADLINE.as_secs(),
            };
            let why = format!("did not end within {seconds} s{}", said(&hook.output));
            let hook = hook.hook.clone();
            if self.hook_failed(container, &hook, &why) {
                self.next_hook(container);
            }
        }
    }
}

/// Kills a hook with all that is in its session's first group.
fn kill(hook: &Process) {
    if !hook.pid.is_none() {
        let _ = process::kill_group(hook.pid);
        let _ = hook.kill();
    }
}

fn name(moment: HookMoment) -> &'static str {
    match moment {
        HookMoment::Prestart => "prestart",
        HookMoment::CreateRuntime => "createRuntime",
        HookMoment::CreateContainer => "createContainer",
        HookMoment::StartContainer => "startContainer",
        HookMoment::Poststart => "poststart",
        HookMoment::Poststop => "poststop",
    }
}

/// The container's state in JSON, as its hooks get it.
fn state_text(hooks: &ContainerHooks, process: &Process, moment: HookMoment) -> String {
    let status = match moment {
        HookMoment::Prestart | HookMoment::CreateRuntime | HookMoment::CreateContainer => {
            "creating"
        }
        HookMoment::StartContainer => "created",
        HookMoment::Poststart => "running",
        HookMoment::Poststop => "stopped",
    };
    let pid = match (moment, hooks.pid) {
        // Hooks inside are told the number that the container itself sees.
        (HookMoment::CreateContainer | HookMoment::StartContainer, PidNamespace::Own) => {
            Pid::from_raw(1)
        }
        (HookMoment::CreateContainer | HookMoment::StartContainer, _) => {
            proc::inner_pid(process.pid).unwrap_or(process.pid)
        }
        _ => process.pid,
    };
    let Hooks {
        state_head,
        state_tail,
        ..
    } = &hooks.plan;
    if pid.is_none() {
        return format!("{state_head}{status}\"{state_tail}");
    }
    format!("{state_head}{status}\",\"pid\":{pid}{state_tail}")
}

/// A file with this text whose reader begins at its start.
fn state_file(text: &str) -> nix::Result<OwnedFd> {
    let file = memfd::create_sealed(c"holdfast-state", text.as_bytes());
    let file = file.map_err(|error| errno_of(&error))?;
    lseek(&file, 0, Whence::SeekSet)?;
    Ok(file)
}

/// Returns the output of a hook, to be put behind its failure.
fn said(output: &OwnedFd) -> String {
    let mut buffer = [0; OUTPUT_BYTES];
    let length = nix::sys::uio::pread(output, &mut buffer, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]);
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    format!(": {text}")
}
