//! Brings a pod to its goal: stopped, or removed.

use holdfast_kernel::error_chain;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Done, KILL_DEADLINE, MemberStage, PodGoal, PodStage, Task, answer_all};
use crate::pod::blocking::blocking;
use crate::pod::error::PodError;
use crate::pod::events::EventKind;
use crate::pod::index::PodKey;
use crate::pod::sandbox;
use crate::pod::state::{ContainerEvent, PodEffect, PodEvent, PodPhase, Urgency};

impl Task {
    /// Takes the next step towards the pod's goal, when nothing is in its way.
    pub(super) fn progress(&mut self) {
        if self.goal >= PodGoal::Stop && self.pod.phase == PodPhase::Ready {
            self.pod_event(PodEvent::StopAsked);
        }
        match self.pod.phase {
            PodPhase::Stopping if !self.is_busy() => self.pod_event(PodEvent::ContainersEnded),
            PodPhase::NotReady => self.stopped(),
            PodPhase::Creating | PodPhase::Ready | PodPhase::Stopping | PodPhase::Removing => {}
        }
    }

    /// Whether a container runs or is being prepared, or the pod is being released already.
    fn is_busy(&self) -> bool {
        let mut stages = self.members.values().map(|member| member.stage);
        self.stage == PodStage::Releasing
            || self.alive().next().is_some()
            || stages.any(|stage| stage == MemberStage::Preparing)
    }

    /// Applies an event to the pod and carries out what follows from it. The new phase is on disk first.
    pub(super) fn pod_event(&mut self, event: PodEvent) {
        let (phase, effect) = self.pod.phase.apply(event);
        let is_new = phase != self.pod.phase || event == PodEvent::StopAsked;
        self.pod.phase = phase;
        if event == PodEvent::StopAsked {
            self.give_up_at = Some(Instant::now() + KILL_DEADLINE);
        }
        if is_new {
            self.keep_pod();
        }
        match effect {
            Some(PodEffect::EndContainers) => self.end_containers(),
            Some(PodEffect::Release) => self.release(),
            Some(PodEffect::AnnounceStopped) => {
                self.node.readiness.released(self.pod.id);
                self.node.samples.forget_pod(self.pod.id);
                self.announce(EventKind::Stopped, &self.pod.id);
            }
            Some(PodEffect::Delete) => {
                let (node, id) = (Arc::clone(&self.node), self.pod.id);
                self.work.push(Box::pin(async move {
                    Done::Forgotten(blocking(move || node.delete_pod_dir(id)).await)
                }));
            }
            None => {}
        }
    }

    fn end_containers(&mut self) {
        let alive: Vec<_> = self.alive().collect();
        for id in alive {
            self.apply(id, ContainerEvent::StopAsked(Urgency::Kill));
        }
    }

    fn release(&mut self) {
        self.stage = PodStage::Releasing;
        self.give_up_at = None;
        let (node, pod, link) = (Arc::clone(&self.node), self.pod.clone(), self.link.take());
        let containers = self.members.keys().copied().collect();
        self.work.push(Box::pin(async move {
            Done::Released(sandbox::release(&node, &pod, containers, link).await)
        }));
    }

    /// Records as debts what a release could not release, and goes on with the stop.
    pub(super) fn released(&mut self, failures: Vec<PodError>) {
        let containers: Vec<_> = self.members.keys().copied().collect();
        self.node
            .debts
            .record_debts(&self.pod, &containers, failures);
        self.stage = PodStage::Kept;
        self.events = None;
        self.entry.link.store(None);
        self.pod.pause = None;
        self.pod.shim = None;
        self.pod.ips.clear();
        self.pod_event(PodEvent::Released);
    }

    /// The pod is stopped: tells those who wait, and goes on to the removal when that is the goal.
    fn stopped(&mut self) {
        answer_all(std::mem::take(&mut self.stop_waiting), &Ok(()));
        if self.goal < PodGoal::Remove {
            return;
        }
        let waiting: Vec<_> = self.members.keys().copied().collect();
        if waiting.is_empty() {
            // Whoever finds the record goes on with the removal, and shows the pod to nobody.
            return self.pod_event(PodEvent::Emptied);
        }
        for id in waiting {
            self.apply(id, ContainerEvent::RemoveAsked);
        }
    }

    /// Takes the result of deleting the pod's directory: the pod is gone, or stays when the disk keeps its record.
    pub(super) fn forgotten(&mut self, result: Result<(), PodError>) {
        if let (true, Err(error)) = (self.record_unsaved, &result) {
            tracing::warn!(pod = %self.pod.id, error = error_chain(error), "cannot delete the record of a pod; the pod stays NOTREADY");
            // The disk says that the pod is stopped, and so it is until the disk takes something else.
            self.goal = PodGoal::Stop;
            self.pod_event(PodEvent::RemovalRefused);
            let outcome = result.map_err(Arc::new);
            return answer_all(std::mem::take(&mut self.remove_waiting), &outcome);
        }
        self.node
            .debts
            .record_debts(&self.pod, &[], result.err().into_iter().collect());
        self.node
            .index
            .remove_pod(self.pod.id, &PodKey::from(&self.pod.config.metadata));
        self.publish();
        self.announce(EventKind::Deleted, &self.pod.id);
        answer_all(std::mem::take(&mut self.stop_waiting), &Ok(()));
        answer_all(std::mem::take(&mut self.remove_waiting), &Ok(()));
        self.stage = PodStage::Gone;
    }
}
