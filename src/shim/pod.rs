//! The objects of the shim's pod: the pause, the containers, their further processes and their hooks.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::clients::Stdin;
use super::output::Output;
use super::process::Process;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::namespace::{CloneFlags, TIME};
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, path, proc};
use holdfast_launch::{CgroupDirectories, Stage};
use holdfast_wire::plan::{
    ContainerPlan, ExecPlan, Hook, HookMoment, Hooks, PausePlan, PidNamespace,
};
use holdfast_wire::{Failure, PauseReport, Reply};

/// The pod's pause process and its namespaces.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) process: Process,
    pub(super) plan: Box<PausePlan>,
    /// The pod's network namespace, once the process runs.
    pub(super) network: Option<OwnedFd>,
    /// The pod's user namespace when it has its own.
    pub(super) user: Option<OwnedFd>,
}

impl Pause {
    /// Namespaces that it has of its own and that the pauses of most pods have not.
    pub(super) fn extra_namespaces(&self) -> CloneFlags {
        match self.plan.time {
            Some(_) => TIME,
            None => CloneFlags::empty(),
        }
    }

    /// Opens the namespaces of the process, which has just begun to run and is not waited for.
    pub(super) fn open_namespaces(&mut self) -> nix::Result<()> {
        let pid = self.process.pid;
        let open = |name: &str| path::open(pid.proc_file(name).as_str(), OFlag::O_RDONLY);
        self.network = Some(open("ns/net")?);
        if self.plan.user.is_some() {
            self.user = Some(open("ns/user")?);
        }
        Ok(())
    }

    /// The report of the pause for the daemon.
    pub(super) fn report(&self) -> PauseReport {
        let shim_pid = Pid::own();
        PauseReport {
            pid: self.process.pid,
            start_ticks: self.process.start_ticks,
            shim_pid,
            shim_start_ticks: proc::start_ticks(shim_pid).unwrap_or(0),
        }
    }

    /// The descriptors that go with a report: pidfd and network namespace.
    pub(super) fn descriptors(&self) -> nix::Result<Vec<OwnedFd>> {
        let network = self.network.as_ref().ok_or(Errno::EBADF)?;
        Ok(vec![
            descriptor::duplicate(self.process.pidfd())?,
            descriptor::duplicate(network.as_fd())?,
        ])
    }

    /// The answer to the request that started it.
    pub(super) fn started(&mut self) -> nix::Result<(Reply, Vec<OwnedFd>)> {
        self.open_namespaces()?;
        // It has been applied, and is the largest part of the plan by far.
        self.plan.seccomp = None;
        Ok((Reply::PauseStarted(self.report()), self.descriptors()?))
    }
}

/// A container that was started and not forgotten.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) process: Process,
    pub(super) cgroup: CgroupDirectories,
    pub(super) output: Output,
    /// When reading the output after the end is given up.
    pub(super) drain_until: Option<Instant>,
    /// Number of its exit event.
    pub(super) sequence: u64,
    /// OOM kills that the cgroup had counted before.
    pub(super) oom_kills_before: u64,
    pub(super) oom_killed: bool,
    /// Somebody asked for its kill, so its end is not reported as OOMKilled.
    pub(super) kill_asked: bool,
    /// Somebody asked it to end by a signal: an exit of its own after that is the answer to it.
    pub(super) stop_asked: bool,
    /// The plan, until the process runs: failures name its objects.
    pub(super) plan: Option<Box<ContainerPlan>>,
    /// Its standard input, kept for clients that attach.
    pub(super) stdin: Option<Stdin>,
    /// The hooks of the container.
    pub(super) hooks: Option<Box<ContainerHooks>>,
}

/// A further process in a container.
#[derive(Debug)]
pub(super) struct Exec {
    /// The daemon's number for it.
    pub(super) id: u64,
    pub(super) container: u32,
    pub(super) process: Process,
    /// Its own cgroup below the container's: everything that it starts stays there.
    pub(super) directory: Option<OwnedFd>,
    /// The plan, until the process runs.
    pub(super) plan: Option<Box<ExecPlan>>,
}

/// When hooks are run, and who waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookPhase {
    /// Nobody waits for hooks now.
    None,
    /// The child waits in this stage.
    Child(Stage),
    /// The answer to the start.
    Start,
    /// The announcement of the exit, or the answer that the start failed.
    End,
    /// All of them have been run.
    Over,
}

/// The hooks of one container, and which of them runs next.
#[derive(Debug)]
pub(super) struct ContainerHooks {
    pub(super) plan: Hooks,
    pub(super) phase: HookPhase,
    /// The next to run.
    pub(super) next: usize,
    /// Which pid namespace the container has: its hooks are told its number in there.
    pub(super) pid: PidNamespace,
    /// The answer to a failed start, which is sent when the hooks of the end have been run.
    pub(super) failure: Option<Failure>,
}

impl ContainerHooks {
    pub(super) fn new(plan: Hooks, pid: PidNamespace) -> Self {
        Self {
            plan,
            phase: HookPhase::None,
            next: 0,
            pid,
            failure: None,
        }
    }

    /// The next hook of the present turn.
    pub(super) fn take_next(&mut self) -> Option<Hook> {
        let turn = self.phase;
        let mut rest = self.plan.hooks.iter().enumerate().skip(self.next);
        let (index, hook) = rest.find(|(_, hook)| phase_of(hook.moment) == turn)?;
        let hook = hook.clone();
        self.next = index + 1;
        Some(hook)
    }
}

/// Returns the turn in which hooks of a moment are run.
pub(super) fn phase_of(moment: HookMoment) -> HookPhase {
    match moment {
        HookMoment::Prestart | HookMoment::CreateRuntime | HookMoment::CreateContainer => {
            HookPhase::Child(Stage::BeforeRoot)
        }
        HookMoment::StartContainer => HookPhase::Child(Stage::BeforeProgram),
        HookMoment::Poststart => HookPhase::Start,
        HookMoment::Poststop => HookPhase::End,
    }
}

/// A hook that runs.
#[derive(Debug)]
pub(super) struct RunningHook {
    /// The container's slot; `None` when nobody waits for the hook any more.
    pub(super) container: Option<u32>,
    pub(super) hook: Hook,
    pub(super) process: Process,
    pub(super) until: Instant,
    /// The memory file that takes what the hook writes.
    pub(super) output: OwnedFd,
}
