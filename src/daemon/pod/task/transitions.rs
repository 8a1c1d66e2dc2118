//! Applies events to containers: sets the new phase and carries out the effects.

use holdfast_kernel::error_chain;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::requests::phase_error;
use super::{Answer, Done, KILL_DEADLINE, MemberStage, Task, Waiting, answer_all};
use crate::pod::blocking::blocking;
use crate::pod::cgroups;
use crate::pod::container;
use crate::pod::error::{LaunchError, PodError};
use crate::pod::events::EventKind;
use crate::pod::link::LinkError;
use crate::pod::start;
use crate::pod::state::{ContainerEvent, ContainerPhase, Effect, Exit, Goal};
use crate::spec::Signal;
use holdfast_kernel::id::ContainerId;
use holdfast_wire::Request;

/// How a container that goes to its removal had ended.
pub(super) fn last_exit(phase: &ContainerPhase, event: &ContainerEvent) -> Option<Exit> {
    match (phase, event) {
        (ContainerPhase::Exited(exit), _) => Some(exit.clone()),
        (
            ContainerPhase::Running(run, _),
            ContainerEvent::Exited(exit) | ContainerEvent::StartFailed(exit),
        ) => Some(Exit {
            started_at: run.started_at,
            ..exit.clone()
        }),
        (_, ContainerEvent::Exited(exit) | ContainerEvent::StartFailed(exit)) => Some(exit.clone()),
        _ => None,
    }
}

impl Task {
    /// Applies an event to a container and carries out what follows from it.
    pub(super) fn apply(&mut self, id: ContainerId, event: ContainerEvent) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        // One that ends at once may be told before the answer to its start.
        let unseen_start = matches!(event, ContainerEvent::Exited(_))
            && matches!(member.record.phase, ContainerPhase::Starting(_));
        let exit = last_exit(&member.record.phase, &event);
        let (phase, effects) = member.record.phase.clone().apply(event);
        if phase != member.record.phase {
            if phase == ContainerPhase::Removing {
                member.record.removed_exit = exit;
            }
            let before = std::mem::replace(&mut member.record.phase, phase);
            if !member.record.phase.is_alive() {
                member.deadline = None;
                member.kill_until = None;
                self.node.samples.forget(id);
            }
            match member.record.phase {
                // The intent is on disk.
                ContainerPhase::Starting(Goal::Run) => self.publish(),
                _ => self.keep_container(id),
            }
            if unseen_start {
                self.announce(EventKind::Started, &id);
            }
            self.announce_phase(id, &before);
        }
        for effect in effects {
            self.effect(id, effect);
        }
    }

    /// Carries out an effect of a container's transition.
    pub(super) fn effect(&mut self, id: ContainerId, effect: Effect) {
        match effect {
            Effect::Launch => self.launch(id),
            Effect::Signal => {
                let signal = self
                    .members
                    .get(&id)
                    .map_or(Signal::TERM, |member| member.record.stop_signal);
                let signal = signal.number();
                if self.shim_is_unknown() {
                    return self.signal_past_shim(id, signal);
                }
                self.ask(Request::Signal {
                    container: id,
                    signal,
                });
            }
            Effect::Kill if self.shim_is_unknown() => self.effect(id, Effect::ReleaseCgroup),
            Effect::Kill => {
                if let Some(member) = self.members.get_mut(&id) {
                    // The shim knows nothing yet of a start that is still being prepared.
                    member.given_up.store(true, Ordering::Relaxed);
                    member
                        .kill_until
                        .get_or_insert_with(|| Instant::now() + KILL_DEADLINE);
                }
                self.ask(Request::Kill { container: id });
            }
            Effect::ReleaseCgroup => {
                let (node, pod) = (Arc::clone(&self.node), self.pod.clone());
                self.background(move || cgroups::release(&node.cgroups, &pod, id));
            }
            Effect::Delete => {
                let (node, pod) = (Arc::clone(&self.node), self.pod.clone());
                if let Some(member) = self.members.get_mut(&id) {
                    member.stage = MemberStage::Deleting;
                }
                self.work.push(Box::pin(async move {
                    let deleted = blocking(move || Ok(container::delete(&node, &pod, id))).await;
                    Done::Deleted(id, deleted.unwrap_or_else(|error| vec![error]))
                }));
            }
            Effect::AnswerStart => self.answer(id, |waiting| &mut waiting.start, &Ok(())),
            Effect::AnswerStop => self.answer(id, |waiting| &mut waiting.stop, &Ok(())),
            Effect::RefuseStart => {
                let Some(member) = self.members.get(&id) else {
                    return;
                };
                let error = phase_error(
                    &member.record,
                    "a container is started once; create a new one",
                );
                self.answer(id, |waiting| &mut waiting.start, &Err(Arc::new(error)));
            }
        }
    }

    fn answer(
        &mut self,
        id: ContainerId,
        which: impl FnOnce(&mut Waiting) -> &mut Vec<Answer<()>>,
        outcome: &Result<(), Arc<PodError>>,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            answer_all(std::mem::take(which(&mut member.waiting)), outcome);
        }
    }

    fn launch(&mut self, id: ContainerId) {
        let (node, pod) = (Arc::clone(&self.node), self.snapshot());
        let mut member = self.members.get_mut(&id);
        let plan = member.as_mut().and_then(|member| member.launch_plan.take());
        let given_up = member.as_ref().map(|member| Arc::clone(&member.given_up));
        let given_up = given_up.unwrap_or_default();
        let record = member.map(|member| Arc::new(member.record.clone()));
        let link = self.link.clone();
        self.work.push(Box::pin(async move {
            let result = match (record, link) {
                (Some(record), Some(link)) => {
                    start::launch(node, pod, record, plan, (link, given_up)).await
                }
                _ => Err(PodError::Launch(LaunchError::Shim {
                    doing: "start the container",
                    source: LinkError::Closed,
                })),
            };
            Done::Launched(id, result)
        }));
    }

    /// Sends a request whose answer changes nothing. Requests of one pod reach its shim in order because
    /// each is sent at its first poll unless the shim does not read, and a future is polled in the order in which it
    /// was pushed.
    pub(super) fn ask(&mut self, request: Request) {
        let Some(link) = self.link.clone() else {
            return;
        };
        let pod = self.pod.id;
        self.work.push(Box::pin(async move {
            let what = format!("{request:?}");
            if let Err(error) = link.ask(request, &[]).await {
                tracing::debug!(%pod, what, error = error_chain(&error), "the shim refused");
            }
            Done::Nothing
        }));
    }

    /// Runs work on a thread for blocking calls. A failure is only logged, because the removal does the work again.
    pub(super) fn background(
        &mut self,
        work: impl FnOnce() -> Result<(), PodError> + Send + 'static,
    ) {
        let pod = self.pod.id;
        self.work.push(Box::pin(async move {
            if let Err(error) = blocking(work).await {
                // The removal does it again.
                tracing::warn!(%pod, error = error_chain(&error), "cannot finish background work for a pod");
            }
            Done::Nothing
        }));
    }
}
