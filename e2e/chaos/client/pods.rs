//! Calls that change pods.

use std::time::Instant;

use cri_api::runtime::v1::{
    PodSandboxConfig, RemovePodSandboxRequest, RunPodSandboxRequest, StopPodSandboxRequest,
};
use tonic::Code;

use super::{Answer, Client};
use crate::model::{Checked, Model, Pod, PodKey, When};
use crate::script::Step;

/// Pods of a slot that are there at the same time.
const CROWD: usize = 3;

/// What comes before the slot in a pod's name.
pub const POD: &str = "pod";

impl Client<'_> {
    /// The configuration of a pod follows from its key: a repeated request is the same.
    pub fn pod_config(&self, key: PodKey) -> PodSandboxConfig {
        let mut config = self.world.daemon.pod(&format!("{POD}{}", key.slot));
        if let Some(metadata) = &mut config.metadata {
            metadata.attempt = key.attempt;
        }
        config
    }

    pub fn run_pod(&self, step: &Step) {
        let key = {
            let mut model = self.world.model();
            let now = Instant::now();
            let there: Vec<_> = model
                .pods
                .values()
                .filter(|pod| pod.key.slot == step.pod && !pod.gone.by(now))
                .map(|pod| (pod.key.attempt, pod.may_be_down(now), pod.id.clone()))
                .collect();
            if there.len() >= CROWD {
                let oldest = there.into_iter().min().map(|(_, _, id)| id);
                drop(model);
                return oldest.map_or((), |id| self.remove_this_pod(&id, step));
            }
            // A kubelet takes the next attempt when it knows that the last one is over.
            let over = there.iter().max().is_some_and(|(_, down, _)| *down);
            if over && step.choice.is_multiple_of(2) {
                model.attempts[step.pod] += 1;
            }
            PodKey {
                slot: step.pod,
                attempt: model.attempts[step.pod],
            }
        };
        let request = RunPodSandboxRequest {
            config: Some(self.pod_config(key)),
            runtime_handler: String::new(),
        };
        let what = format!("RunPodSandbox {key:?}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.run_pod_sandbox(request));
        match answer {
            Answer::Is(answer) => {
                self.note(&format!("{what} is {}", answer.pod_sandbox_id));
                let checked = self
                    .world
                    .model()
                    .pod_made(&answer.pod_sandbox_id, key, when);
                self.world.check(checked);
            }
            Answer::Refused(status) => {
                let (mut down, mut removed) = (false, false);
                let mut model = self.world.model();
                for pod in model.pods.values().filter(|pod| pod.key == key) {
                    down |= pod.may_be_down(when.end);
                    removed |= pod.remove_asked.by(when.end);
                }
                if status.code() == Code::AlreadyExists && model.attempts[key.slot] == key.attempt {
                    model.attempts[key.slot] += 1;
                }
                drop(model);
                let allowed: [(bool, &[Code]); 2] =
                    [(down, &[Code::AlreadyExists]), (removed, &[Code::NotFound])];
                self.world.check(self.allow(&what, &status, when, &allowed));
            }
            Answer::Lost => {}
        }
    }

    pub fn stop_pod(&self, step: &Step) {
        let Some(id) = self.pick_pod(step) else {
            return;
        };
        if let Some(pod) = self.world.model().pods.get_mut(&id) {
            pod.stop_asked.note(Instant::now());
        }
        let request = StopPodSandboxRequest {
            pod_sandbox_id: id.clone(),
        };
        let what = format!("StopPodSandbox {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.stop_pod_sandbox(request));
        match answer {
            Answer::Is(_) => self.world.model().pod_stopped(&id, when),
            Answer::Refused(status) => self.world.check(self.allow(&what, &status, when, &[])),
            Answer::Lost => {}
        }
    }

    pub fn remove_pod(&self, step: &Step) {
        if let Some(id) = self.pick_pod(step) {
            self.remove_this_pod(&id, step);
        }
    }

    fn remove_this_pod(&self, id: &str, step: &Step) {
        if let Some(pod) = self.world.model().pods.get_mut(id) {
            pod.stop_asked.note(Instant::now());
            pod.remove_asked.note(Instant::now());
        }
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let what = format!("RemovePodSandbox {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.remove_pod_sandbox(request));
        match answer {
            Answer::Is(_) => {
                let mut model = self.world.model();
                model.pod_stopped(id, when);
                if let Some(pod) = model.pods.get_mut(id) {
                    pod.gone.note(when.end);
                }
                for container in model.containers_of(id) {
                    container.gone.note(when.end);
                }
            }
            Answer::Refused(status) => self.world.check(self.allow(&what, &status, when, &[])),
            Answer::Lost => {}
        }
    }
}

impl Model {
    /// A pod's id became known, by the call that made it or by a list.
    pub fn pod_made(&mut self, id: &str, key: PodKey, when: When) -> Checked {
        let twin = self
            .pods
            .values()
            .find(|pod| pod.key == key && pod.id != id && !pod.remove_asked.by(when.end));
        if let Some(twin) = twin {
            return Err(format!(
                "{id} is {key:?}, and so is {}, which nobody removed",
                twin.id
            ));
        }
        let pod = self
            .pods
            .entry(id.to_owned())
            .or_insert_with(|| Pod::new(id, key, when.end));
        if pod.key != key {
            return Err(format!("{id} is both {:?} and {key:?}", pod.key));
        }
        Ok(())
    }

    /// A call that stopped a pod has succeeded.
    fn pod_stopped(&mut self, id: &str, when: When) {
        if let Some(pod) = self.pods.get_mut(id) {
            pod.not_ready.note(when.end);
        }
        for container in self.containers_of(id) {
            if container.running.by(when.start) {
                container.exited.note(when.end);
            }
        }
    }
}
