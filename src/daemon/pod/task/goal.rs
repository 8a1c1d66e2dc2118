//! Towards the pod's goal: stopped, or removed.

use holdfast_kernel::error_chain;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Done, PATIENCE, PodGoal, Task, answer_all};
use crate::pod::blocking::blocking;
use crate::pod::error::PodError;
use crate::pod::events::EventKind;
use crate::pod::index::PodKey;
use crate::pod::sandbox;
use crate::pod::state::{ContainerEvent, PodPhase, Urgency};

impl Task {
    /// Takes the next step towards the pod's goal, when nothing is in its way.
    pub(super) fn progress(&mut self) {
        if self.goal >= PodGoal::Stop && self.pod.phase == PodPhase::Ready {
            self.begin_stopping();
        }
        let busy =
            self.alive().next().is_some() || self.members.values().any(|member| member.preparing);
        match self.pod.phase {
            PodPhase::Stopping if !busy && !self.releasing => self.release(),
            PodPhase::NotReady => self.stopped(),
            _ => {}
        }
    }

    /// Ends the containers, at first by asking. Also goes on where an earlier daemon was cut off.
    pub(super) fn begin_stopping(&mut self) {
        self.pod.phase = PodPhase::Stopping;
        self.force = Some(Instant::now() + PATIENCE);
        self.keep_pod();
        let alive: Vec<_> = self.alive().collect();
        for id in alive {
            self.apply(id, ContainerEvent::StopAsked(Urgency::Kill));
        }
    }

    fn release(&mut self) {
        self.releasing = true;
        self.force = None;
        let (node, pod, link) = (Arc::clone(&self.node), self.pod.clone(), self.link.take());
        let containers = self.members.keys().copied().collect();
        self.work.push(Box::pin(async move {
            Done::Released(sandbox::release(&node, &pod, containers, link).await)
        }));
    }

    pub(super) fn released(&mut self, failures: Vec<PodError>) {
        let containers: Vec<_> = self.members.keys().copied().collect();
        self.node.debts.owe(&self.pod, &containers, failures);
        self.releasing = false;
        self.events = None;
        self.entry.link.store(None);
        self.pod.phase = PodPhase::NotReady;
        self.pod.pause = None;
        self.pod.shim = None;
        self.pod.ips.clear();
        self.keep_pod();
        self.node.readiness.released(self.pod.id);
        self.node.samples.forget_pod(self.pod.id);
        self.announce(EventKind::Stopped, &self.pod.id);
    }

    /// The pod is stopped: tells those who wait, and goes on to the removal when that is the goal.
    fn stopped(&mut self) {
        answer_all(std::mem::take(&mut self.stop_waiting), &Ok(()));
        if self.goal < PodGoal::Remove {
            return;
        }
        let waiting: Vec<_> = self.members.keys().copied().collect();
        if waiting.is_empty() {
            self.pod.phase = PodPhase::Removing;
            // Whoever finds the record goes on with the removal, and shows the pod to nobody.
            self.keep_pod();
            let (node, id) = (Arc::clone(&self.node), self.pod.id);
            self.work.push(Box::pin(async move {
                Done::Forgotten(blocking(move || node.delete_pod_dir(id)).await)
            }));
            return;
        }
        for id in waiting {
            self.apply(id, ContainerEvent::RemoveAsked);
        }
    }

    pub(super) fn forgotten(&mut self, result: Result<(), PodError>) {
        if let (true, Err(error)) = (self.unkept, &result) {
            tracing::warn!(pod = %self.pod.id, error = error_chain(error), "the pod is not removed yet");
            // The disk says that the pod is stopped, and so it is until the disk takes something else.
            self.pod.phase = PodPhase::NotReady;
            self.goal = PodGoal::Stop;
            self.keep_pod();
            let outcome = result.map_err(Arc::new);
            return answer_all(std::mem::take(&mut self.remove_waiting), &outcome);
        }
        self.node
            .debts
            .owe(&self.pod, &[], result.err().into_iter().collect());
        self.node
            .index
            .remove_pod(self.pod.id, &PodKey::from(&self.pod.config.metadata));
        self.publish();
        self.announce(EventKind::Deleted, &self.pod.id);
        answer_all(std::mem::take(&mut self.stop_waiting), &Ok(()));
        answer_all(std::mem::take(&mut self.remove_waiting), &Ok(()));
        self.gone = true;
    }
}
