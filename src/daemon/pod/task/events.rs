//! Handles the events of a pod's task: the shim's events, deadlines, and work that has ended.

use holdfast_kernel::error_chain;
use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Answer, Done, KILLED_CODE, Member, MemberStage, PodGoal, PodStage, Task, answer_all, exit_of,
    reply,
};
use crate::pod::clock::now as now_nanos;
use crate::pod::container;
use crate::pod::error::{LaunchError, PodError, Refusal};
use crate::pod::events::EventKind;
use crate::pod::link::LinkError;
use crate::pod::recover;
use crate::pod::state::{ContainerEvent, ContainerPhase, Exit, Goal, PodPhase, Urgency};
use crate::spec::Resources;
use holdfast_kernel::id::ContainerId;
use holdfast_wire::{Event, Request};

/// Exit code of a container that could not be started, as the incumbents give it.
const START_ERROR_CODE: i32 = 128;

impl Task {
    /// Carries out an event that the shim reports.
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Exited {
                sequence,
                container,
                status,
                at_unix_nanos,
                oom_killed,
            } => {
                let exit = exit_of(status, at_unix_nanos, oom_killed);
                self.exited(container, sequence, exit);
            }
            Event::PauseExited { .. } => {
                tracing::warn!(pod = %self.pod.id, "the pause process ended; the sandbox is not ready");
                self.goal = self.goal.max(PodGoal::Stop);
            }
            // The link hands these to those who wait for them.
            Event::ExecExited { .. } | Event::ClientDropped { .. } => {}
        }
    }

    /// A container has ended. The shim keeps that until the record has it.
    fn exited(&mut self, id: ContainerId, sequence: u64, exit: Exit) {
        let started_at = self.started_at(id);
        self.apply(id, ContainerEvent::Exited(Exit { started_at, ..exit }));
        match self.members.get_mut(&id) {
            Some(member) if member.record_unsaved => member.unacknowledged = Some(sequence),
            _ => self.ask(Request::Acknowledge { sequence }),
        }
    }

    /// The shim has died, or has ended as it was asked to.
    pub(super) fn shim_ended(&mut self) {
        self.events = None;
        self.link = None;
        self.entry.link.store(None);
        if self.stage == PodStage::Releasing
            || self.pod.phase != PodPhase::Ready && self.pod.phase != PodPhase::Stopping
        {
            return;
        }
        tracing::error!(pod = %self.pod.id, "the pod's shim died; its processes are being ended");
        self.goal = self.goal.max(PodGoal::Stop);
        self.give_up_waiting();
    }

    /// Counts everything that still runs as ended. The release that follows kills what is left of it.
    fn give_up_waiting(&mut self) {
        let alive: Vec<_> = self.alive().collect();
        for id in alive {
            let exit = self.lost_exit(id);
            self.give_up(id, exit);
        }
    }

    /// Counts a container as ended, whatever the kernel still has of it.
    fn give_up(&mut self, id: ContainerId, exit: Exit) {
        let starting = |member: &&mut Member| {
            // It has never run, and its start may hang for as long as a mount is dead.
            matches!(member.record.phase, ContainerPhase::Starting(_))
        };
        if let Some(member) = self.members.get_mut(&id).filter(starting) {
            let waiting = std::mem::take(&mut member.waiting.start);
            let source = LinkError::Closed;
            let error = PodError::Launch(LaunchError::Shim {
                doing: "start the container",
                source,
            });
            answer_all(waiting, &Err(Arc::new(self.explained(id, error))));
        }
        self.apply(id, ContainerEvent::Exited(exit));
    }

    /// Gives up containers that were killed and do not end. None of them gets back to its program: a process that
    /// hangs in the kernel, in a lookup on a dead mount for example, finds the signal when it leaves it.
    fn give_up_killed(&mut self, now: Instant) {
        let late = |member: &&Member| member.kill_until.is_some_and(|until| until <= now);
        let late = self.members.values().filter(late);
        let late: Vec<_> = late.map(|member| member.record.id).collect();
        for id in late {
            tracing::error!(pod = %self.pod.id, container = %id, "a killed container does not end; it is counted as ended");
            let exit = Exit {
                code: KILLED_CODE,
                finished_at: now_nanos(),
                started_at: self.started_at(id),
                reason: "KillPending".to_owned(),
                message: "the container was killed; a process of it hangs in the kernel".to_owned(),
            };
            self.give_up(id, exit);
        }
    }

    /// How a container ended whose shim has died: what the shim wrote last, or that nobody knows. It counts as
    /// started when its start was asked for, because a launch that the shim's death cut short may have run.
    pub(super) fn lost_exit(&mut self, id: ContainerId) -> Exit {
        let started_at = self.started_at(id);
        let written = self
            .state_dir()
            .ok()
            .and_then(|dir| recover::exit_record(&dir, id));
        match written {
            Some(exit) => Exit { started_at, ..exit },
            None => Exit {
                code: KILLED_CODE,
                finished_at: now_nanos(),
                started_at,
                reason: "ShimLost".to_owned(),
                message:
                    "the pod's shim died; the container was killed and its exit code is not known"
                        .to_owned(),
            },
        }
    }

    /// When the start of a container was asked for.
    fn started_at(&self, id: ContainerId) -> i64 {
        let member = self.members.get(&id);
        member.map_or(0, |member| member.record.started_at)
    }

    /// Lists the containers that are starting or running.
    pub(super) fn alive(&self) -> impl Iterator<Item = ContainerId> + '_ {
        self.members
            .values()
            .filter(|member| member.record.phase.is_alive())
            .map(|member| member.record.id)
    }

    /// Carries out everything that is due: kills after a grace period, further tries, and checks of a foreign shim.
    pub(super) fn deadlines(&mut self) {
        let now = Instant::now();
        let due = |member: &&mut Member| member.deadline.is_some_and(|deadline| deadline <= now);
        let mut late = Vec::new();
        for member in self.members.values_mut().filter(due) {
            member.deadline = None;
            late.push(member.record.id);
        }
        for id in late {
            self.apply(id, ContainerEvent::StopAsked(Urgency::Kill));
        }
        self.give_up_killed(now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.keep_again();
        }
        if self.next_liveness_check.is_some_and(|at| at <= now) {
            self.next_liveness_check = None;
            self.look_at_foreign_shim();
        }
        if self.give_up_at.is_some_and(|at| at <= now) {
            self.give_up_at = None;
            tracing::error!(pod = %self.pod.id, "the pod's shim does not end its containers");
            self.give_up_waiting();
        }
    }

    /// Takes the result of work that ran beside the task.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Prepared(id, result) => self.prepared(id, result),
            Done::Launched(id, Ok((run, degraded))) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.record.degraded = degraded;
                }
                self.apply(id, ContainerEvent::Started(run));
            }
            Done::Launched(id, Err(error)) => self.launch_failed(id, error),
            Done::Deleted(id, failures) => self.deleted(id, failures),
            Done::Released(failures) => self.released(failures),
            Done::Forgotten(result) => self.forgotten(result),
            Done::Updated(id, answer, result) => self.updated(id, answer, result),
            Done::Nothing => {}
        }
    }

    fn updated(
        &mut self,
        id: ContainerId,
        answer: Answer<()>,
        result: Result<Resources, PodError>,
    ) {
        let result = result.map_err(|error| self.explained(id, error));
        let outcome = result.map(|resources| {
            if let Some(member) = self.members.get_mut(&id) {
                member.record.resources = resources;
                self.keep_container(id);
            }
        });
        reply(answer, outcome.map_err(Arc::new));
    }

    /// A failure of work on a container, with the end of the pod or of the container where that explains it.
    fn explained(&self, id: ContainerId, error: PodError) -> PodError {
        if self.goal != PodGoal::Stay || self.pod.phase != PodPhase::Ready {
            return error.overtaken("pod sandbox", self.pod.id, "was stopped");
        }
        let what = match self.members.get(&id).map(|member| &member.record.phase) {
            Some(
                ContainerPhase::Starting(Goal::Stop | Goal::Remove)
                | ContainerPhase::Running(_, Goal::Stop | Goal::Remove),
            ) => "was stopped",
            Some(ContainerPhase::Exited(_)) => "ended",
            Some(ContainerPhase::Removing) | None => "was removed",
            Some(
                ContainerPhase::Created
                | ContainerPhase::Starting(Goal::Run)
                | ContainerPhase::Running(_, Goal::Run),
            ) => return error,
        };
        error.overtaken("container", id, what)
    }

    fn prepared(&mut self, id: ContainerId, result: Result<container::HostInputs, PodError>) {
        let result = result.map_err(|error| self.explained(id, error));
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let waiting = std::mem::take(&mut member.waiting.created);
        match result {
            Ok(found) => {
                member.record.cdi = found.cdi;
                member.record.devices = found.devices;
                member.record.localhost_seccomp = found.localhost_seccomp;
                member.record.identity = found.identity;
                member.launch_plan = found.launch_plan;
                member.stage = MemberStage::Kept;
                self.node.index.add_container(id, Arc::clone(&self.entry));
                self.publish();
                self.announce(EventKind::Created, &id);
                answer_all(waiting, &Ok(id));
            }
            Err(error) => {
                self.members.remove(&id);
                answer_all(waiting, &Err(Arc::new(error)));
            }
        }
    }

    fn launch_failed(&mut self, id: ContainerId, error: PodError) {
        let error = Arc::new(self.explained(id, error));
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let waiting = std::mem::take(&mut member.waiting.start);
        // It may have been given up, and removed, meanwhile.
        let under_way = matches!(member.record.phase, ContainerPhase::Starting(_));
        let exit = Exit {
            code: START_ERROR_CODE,
            finished_at: now_nanos(),
            started_at: 0,
            reason: "StartError".to_owned(),
            message: error_chain(&*error),
        };
        let failed = ContainerPhase::Exited(exit.clone());
        let written = match under_way {
            true => self.write_ahead(id, |record| record.phase = failed),
            false => Ok(()),
        };
        let event = match written {
            Ok(()) => ContainerEvent::StartFailed(exit),
            Err(error) => {
                tracing::error!(container = %id, error = error_chain(&error), "cannot record the failed start of a container; it stays CREATED");
                ContainerEvent::StartUndone
            }
        };
        self.apply(id, event);
        answer_all(waiting, &Err(error));
    }

    fn deleted(&mut self, id: ContainerId, mut failures: Vec<PodError>) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.stage = MemberStage::Kept;
        if member.record_unsaved && !failures.is_empty() {
            // The disk knows neither that it is gone nor that it is to go: it is not gone.
            let error = Arc::new(failures.swap_remove(0));
            answer_all(std::mem::take(&mut member.waiting.remove), &Err(error));
            return self.keep_later();
        }
        self.node.debts.record_debts(&self.pod, &[id], failures);
        self.node.samples.forget(id);
        self.node.index.remove_container(id);
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        self.publish();
        self.announce(EventKind::Deleted, &id);
        answer_all(
            member.waiting.start,
            &Err(Arc::new(PodError::Refused(Refusal::Gone))),
        );
        answer_all(member.waiting.stop, &Ok(()));
        answer_all(member.waiting.remove, &Ok(()));
        self.ask(Request::Forget { container: id });
    }
}
