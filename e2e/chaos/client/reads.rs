//! Calls that change nothing, and what they show.

use std::time::Duration;

use cri_api::runtime::v1::{
    Container, ContainerState, ContainerStatsRequest, ContainerStatusRequest,
    ListContainersRequest, ListPodSandboxMetricsRequest, ListPodSandboxRequest, PodSandbox,
    PodSandboxStatsRequest, PodSandboxStatusRequest, RemoveContainerRequest,
    RemovePodSandboxRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tonic::{Code, Response, Status};

use super::pods::POD;
use super::{Answer, Client};
use crate::model::{Checked, Model, PodKey, Seen, Trouble, When};
use crate::script::{Op, Step};

/// How long after the disk has room again something may still be unrecorded: it is asked again every second.
const AGAIN: Duration = Duration::from_secs(2);

impl Client<'_> {
    pub fn pod_status(&self, step: &Step) {
        if let Some(id) = self.pick_pod(step) {
            self.look_at_pod(&id);
        }
    }

    /// Asks for a pod's status and checks it.
    pub fn look_at_pod(&self, id: &str) {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let what = format!("PodSandboxStatus {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, None, client.pod_sandbox_status(request));
        self.read_in_time(&what, when);
        let state = match answer {
            Answer::Is(answer) => answer.status.map(|status| status.state()),
            Answer::Refused(status) if status.code() == Code::NotFound => None,
            Answer::Refused(status) => {
                return self.world.check(Err(format!("{what}: {status}")));
            }
            Answer::Lost => return,
        };
        let mut model = self.world.model();
        let checked = match model.pods.get_mut(id) {
            Some(pod) => pod.seen(state, when),
            None => Ok(()),
        };
        drop(model);
        self.world.check(checked);
    }

    /// Lists all pods, checks them, and gives them.
    pub fn list_pods(&self) -> Vec<PodSandbox> {
        let mut client = self.clients.runtime.clone();
        let request = ListPodSandboxRequest::default();
        let (answer, when) = self.ask("ListPodSandbox", None, client.list_pod_sandbox(request));
        self.read_in_time("ListPodSandbox", when);
        let Answer::Is(answer) = answer else {
            return Vec::new();
        };
        let checked = self.world.model().pods_listed(&answer.items, when);
        self.world.check(checked);
        answer.items
    }

    pub fn container_status(&self, step: &Step) {
        if let Some(id) = self.pick_container(step) {
            self.look_at_container(&id);
        }
    }

    /// Asks for a container's status and checks it.
    pub fn look_at_container(&self, id: &str) {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let what = format!("ContainerStatus {id}");
        let mut client = self.clients.runtime.clone();
        let (answer, when) = self.ask(&what, None, client.container_status(request));
        self.read_in_time(&what, when);
        let status = match answer {
            Answer::Is(answer) => answer.status,
            Answer::Refused(status) if status.code() == Code::NotFound => None,
            Answer::Refused(status) => {
                return self.world.check(Err(format!("{what}: {status}")));
            }
            Answer::Lost => return,
        };
        let seen = match &status {
            Some(status) => Seen::of(status.state(), Some(status)),
            None => Ok(Seen::GONE),
        };
        let checked = seen.and_then(|seen| self.world.model().container_seen(id, seen, when));
        self.world.check(checked);
    }

    /// Lists all containers, checks them, and gives them.
    pub fn list_containers(&self) -> Vec<Container> {
        let mut client = self.clients.runtime.clone();
        let request = ListContainersRequest::default();
        let (answer, when) = self.ask("ListContainers", None, client.list_containers(request));
        self.read_in_time("ListContainers", when);
        let Answer::Is(answer) = answer else {
            return Vec::new();
        };
        let checked = self
            .world
            .model()
            .containers_listed(&answer.containers, when);
        self.world.check(checked);
        answer.containers
    }

    pub fn statistics(&self, step: &Step) {
        let mut client = self.clients.runtime.clone();
        match step.op {
            Op::PodStats => {
                let pod_sandbox_id = self.pick_pod(step).unwrap_or_default();
                let request = PodSandboxStatsRequest { pod_sandbox_id };
                self.figures("PodSandboxStats", client.pod_sandbox_stats(request));
            }
            Op::ContainerStats => {
                let container_id = self.pick_container(step).unwrap_or_default();
                let request = ContainerStatsRequest { container_id };
                self.figures("ContainerStats", client.container_stats(request));
            }
            _ => {
                let request = ListPodSandboxMetricsRequest::default();
                self.figures(
                    "ListPodSandboxMetrics",
                    client.list_pod_sandbox_metrics(request),
                );
            }
        }
    }

    /// Figures of what is, or that it is not there.
    fn figures<T>(&self, what: &str, asked: impl Future<Output = Result<Response<T>, Status>>) {
        let (answer, when) = self.ask(what, None, asked);
        self.read_in_time(what, when);
        if let Answer::Refused(status) = answer {
            let codes: &[Code] = &[
                Code::NotFound,
                Code::InvalidArgument,
                Code::FailedPrecondition,
            ];
            self.world
                .check(self.allow(what, &status, when, &[(true, codes)]));
        }
    }

    /// What nobody knows is stopped and removed.
    pub fn unknown(&self) {
        let id = "0123456789abcdef".repeat(4);
        let mut client = self.clients.runtime.clone();
        let pod_sandbox_id = id.clone();
        let request = StopPodSandboxRequest { pod_sandbox_id };
        self.succeeds("StopPodSandbox", client.stop_pod_sandbox(request));
        let pod_sandbox_id = id.clone();
        let request = RemovePodSandboxRequest { pod_sandbox_id };
        self.succeeds("RemovePodSandbox", client.remove_pod_sandbox(request));
        let (container_id, timeout) = (id.clone(), 1);
        let request = StopContainerRequest {
            container_id,
            timeout,
        };
        self.succeeds("StopContainer", client.stop_container(request));
        let request = RemoveContainerRequest { container_id: id };
        self.succeeds("RemoveContainer", client.remove_container(request));
    }

    fn succeeds<T>(&self, what: &str, asked: impl Future<Output = Result<Response<T>, Status>>) {
        let (answer, when) = self.ask(what, None, asked);
        self.read_in_time(what, when);
        if let Answer::Refused(status) = answer {
            self.world
                .check(Err(format!("{what} of an unknown id: {status}")));
        }
    }
}

impl Model {
    fn container_seen(&mut self, id: &str, mut seen: Seen<'_>, when: When) -> Checked {
        let start = when.start.checked_sub(AGAIN).unwrap_or(when.start);
        seen.unkept = self.troubled(Trouble::Broken, When { start, ..when });
        match self.with_pod(id) {
            Some((container, pod)) => container.seen(pod, seen, when),
            None => Ok(()),
        }
    }

    fn pods_listed(&mut self, items: &[PodSandbox], when: When) -> Checked {
        for item in items {
            let metadata = item.metadata.clone().unwrap_or_default();
            let slot = metadata
                .name
                .strip_prefix(POD)
                .and_then(|slot| slot.parse().ok());
            let Some(slot) = slot else {
                return Err(format!("a pod that nobody made is listed: {item:?}"));
            };
            let attempt = metadata.attempt;
            self.pod_made(&item.id, PodKey { slot, attempt }, when)?;
        }
        for pod in self.pods.values_mut() {
            let item = items.iter().find(|item| item.id == pod.id);
            pod.seen(item.map(PodSandbox::state), when)?;
        }
        Ok(())
    }

    fn containers_listed(&mut self, items: &[Container], when: When) -> Checked {
        for item in items {
            let metadata = item.metadata.clone().unwrap_or_default();
            let slot = metadata
                .name
                .strip_prefix('c')
                .and_then(|slot| slot.parse().ok());
            let Some(slot) = slot else {
                return Err(format!("a container that nobody made is listed: {item:?}"));
            };
            // Its pod may have become known to nobody yet.
            if self.pods.contains_key(&item.pod_sandbox_id) {
                let name = (slot, metadata.attempt);
                self.container_made(&item.id, &item.pod_sandbox_id, name, when)?;
            }
        }
        let known: Vec<_> = self.containers.keys().cloned().collect();
        for id in known {
            let item = items.iter().find(|item| item.id == id);
            let seen = match item {
                Some(item) => Seen::of(
                    ContainerState::try_from(item.state).unwrap_or_default(),
                    None,
                )?,
                None => Seen::GONE,
            };
            self.container_seen(&id, seen, when)?;
        }
        Ok(())
    }
}
