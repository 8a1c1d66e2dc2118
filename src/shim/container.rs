//! Containers: started on request, their output pumped, their exits kept.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::cgroup;
use super::clients::{SourceIndex, Stdin};
use super::exit_record;
use super::launched::complete;
use super::output::Output;
use super::pod::{Container, ContainerHooks, HookPhase};
use super::process::Process;
use super::shim::{Shim, Token, failed};
use super::state::State;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::descriptor;
use holdfast_launch::{CgroupDirectories, ContainerLaunch, Streams, start_container};
use holdfast_wire::plan::{ContainerPlan, PidNamespace};
use holdfast_wire::{CgroupSlot, Failure, Step};

/// How long output is read after a container's end, from processes that kept a pipe and survived the kill.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// The contents of a start request.
pub(super) struct StartRequest {
    pub(super) request: u64,
    pub(super) container: ContainerId,
    pub(super) log: bool,
    pub(super) slots: Vec<CgroupSlot>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Both ends of a container's standard streams.
struct StreamEnds {
    child_streams: Option<[OwnedFd; 3]>,
    output: Output,
    stdin: Option<Stdin>,
}

impl Shim {
    /// Starts a container's first process. The answer follows when it runs its program.
    pub(super) fn start_container(&mut self, asked: StartRequest) -> Result<(), Failure> {
        if let Some(slot) = self.find_container(asked.container) {
            return self.join_start(slot, asked.request);
        }
        let mut descriptors = asked.descriptors.into_iter();
        let mut plan: Box<ContainerPlan> = self.decode_plan(descriptors.next())?;
        let log = if asked.log { descriptors.next() } else { None };
        let cgroup = CgroupDirectories::new(asked.slots, descriptors);
        let mut ends = self
            .open_streams(&plan)
            .map_err(|errno| failed(Step::Control, errno, "output pipe"))?;
        if let Some(log) = log {
            ends.output.log.replace(log);
        }
        // A disk that is full now stops no pod; it may have room when the container ends.
        let _ = exit_record::reserve(self.state_directory.as_fd(), asked.container);
        let oom_kills_before = cgroup::oom_kills(&cgroup);
        let process = self.launch_container(&plan, &cgroup, &ends, asked.request)?;
        let hooks = plan.hooks.take();
        let slot = self.next_slot();
        let container = Container {
            id: asked.container,
            process,
            cgroup,
            output: ends.output,
            drain_until: None,
            sequence: 0,
            oom_kills_before,
            oom_killed: false,
            kill_asked: false,
            stop_asked: false,
            hooks: hooks.map(|hooks| Box::new(ContainerHooks::new(hooks, plan.pid))),
            plan: Some(plan),
            stdin: ends.stdin,
        };
        self.watch_container(slot, &container);
        self.containers.insert(slot, Box::new(container));
        Ok(())
    }

    /// A start that is asked for again, by a daemon that does not know what became of the first request.
    fn join_start(&mut self, slot: u32, request: u64) -> Result<(), Failure> {
        let already_started = || {
            failed(
                Step::Admit,
                Errno::EEXIST,
                "the container was started before",
            )
        };
        let container = self.containers.get_mut(&slot).ok_or_else(already_started)?;
        match container.process.state {
            State::Launching | State::Failing(_) => {
                container.process.request = request;
                Ok(())
            }
            // Hooks are still run for the first request.
            State::Running | State::Draining(_)
                if container
                    .hooks
                    .as_ref()
                    .is_some_and(|hooks| hooks.phase == HookPhase::Start) =>
            {
                container.process.request = request;
                Ok(())
            }
            // The exit has been told to this daemon already, and is told to the next.
            State::Running | State::Draining(_) | State::Exited(_) => {
                let (reply, descriptors) = complete(container.process.started());
                self.reply(request, reply, descriptors);
                Ok(())
            }
            State::Lost | State::Settled | State::Gone => Err(already_started()),
        }
    }

    fn launch_container(
        &self,
        plan: &ContainerPlan,
        cgroup: &CgroupDirectories,
        ends: &StreamEnds,
        request: u64,
    ) -> Result<Process, Failure> {
        let pause = self.running_pause()?;
        let pid_namespace = match plan.pid {
            PidNamespace::Own | PidNamespace::Host => None,
            PidNamespace::Pod => Some(pause.process.pidfd()),
            PidNamespace::Container(target) => {
                let target = self.running_container(target)?;
                Some(target.process.pidfd())
            }
        };
        let streams = match &ends.child_streams {
            None => Streams::Terminal(None),
            Some([input, output, error]) => {
                Streams::Files([input.as_fd(), output.as_fd(), error.as_fd()])
            }
        };
        let launch = start_container(&ContainerLaunch {
            plan,
            extra_namespaces: pause.extra_namespaces(),
            streams,
            cgroup,
            pause: pause.process.pidfd(),
            user: pause.user.as_ref().map(AsFd::as_fd),
            pid_namespace,
            shim_namespaces: &self.shim_namespaces,
        })?;
        Process::new(launch, request).map_err(|errno| failed(Step::Clone, errno, "pidfd"))
    }

    fn open_streams(&self, plan: &ContainerPlan) -> nix::Result<StreamEnds> {
        let mut output = Output::default();
        if plan.process.terminal {
            return Ok(StreamEnds {
                child_streams: None,
                output,
                stdin: None,
            });
        }
        let (input, stdin) = if plan.stdin {
            let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            descriptor::set_nonblocking(writer.as_fd())?;
            (reader, Some(Stdin::new(writer, plan.stdin_once)))
        } else {
            (descriptor::duplicate(self.null.as_fd())?, None)
        };
        let (reader, first) = descriptor::output_pipe()?;
        output.open(SourceIndex::First, reader);
        let (reader, second) = descriptor::output_pipe()?;
        output.open(SourceIndex::Second, reader);
        Ok(StreamEnds {
            child_streams: Some([input, first, second]),
            output,
            stdin,
        })
    }

    fn watch_container(&self, slot: u32, container: &Container) {
        if let Some(report) = container.process.report() {
            self.watch(report, Token::Report(slot));
        }
        for index in [SourceIndex::First, SourceIndex::Second] {
            if let Some(source) = container.output.descriptor(index) {
                self.watch(source, Token::Output(slot, index));
            }
        }
    }

    /// The slot of a container that was started and not forgotten.
    pub(super) fn find_container(&self, id: ContainerId) -> Option<u32> {
        let mut all = self.containers.iter();
        all.find(|(_, container)| container.id == id)
            .map(|(slot, _)| *slot)
    }

    /// A container that was started and not forgotten.
    pub(super) fn known_container(&mut self, id: ContainerId) -> Result<&mut Container, Failure> {
        let slot = self.find_container(id);
        slot.and_then(|slot| self.containers.get_mut(&slot))
            .map(AsMut::as_mut)
            .ok_or_else(|| failed(Step::Admit, Errno::ENOENT, "the container is not known"))
    }

    /// A container whose first process runs.
    pub(super) fn running_container(&self, id: ContainerId) -> Result<&Container, Failure> {
        let slot = self.find_container(id);
        slot.and_then(|slot| self.containers.get(&slot))
            .map(AsRef::as_ref)
            .filter(|container| container.process.state == State::Running)
            .ok_or_else(|| failed(Step::Admit, Errno::ESRCH, "the container does not run"))
    }
}
