//! The calls that are measured, to any runtime.

use cri_api::runtime::v1::{
    ContainerConfig, ContainerState, ContainerStatusRequest, CreateContainerRequest,
    ExecSyncRequest, ImageSpec, ListContainerStatsRequest, ListContainersRequest, PodSandboxConfig,
    PullImageRequest, RemoveContainerRequest, RemoveImageRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StopContainerRequest, StopPodSandboxRequest,
};
use e2e::call::{Clients, call, must};

/// A pod of a runtime.
#[derive(Debug)]
pub struct Sandbox {
    /// The id of the pod.
    pub id: String,
    config: PodSandboxConfig,
}

/// Calls one runtime; every call has to succeed.
#[derive(Debug, Clone)]
pub struct Calls(pub Clients);

impl Calls {
    /// Calls RunPodSandbox for a pod.
    pub fn run(&self, config: PodSandboxConfig) -> Sandbox {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: String::new(),
        };
        let mut client = self.0.runtime.clone();
        let answer = must("RunPodSandbox", call(client.run_pod_sandbox(request)));
        Sandbox {
            id: answer.pod_sandbox_id,
            config,
        }
    }

    /// Calls CreateContainer and gives the container's id.
    pub fn create(&self, pod: &Sandbox, config: &ContainerConfig) -> String {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config.clone()),
            sandbox_config: Some(pod.config.clone()),
        };
        let mut client = self.0.runtime.clone();
        must("CreateContainer", call(client.create_container(request))).container_id
    }

    /// Calls StartContainer for a container.
    pub fn start(&self, id: &str) {
        let request = StartContainerRequest {
            container_id: id.to_owned(),
        };
        let mut client = self.0.runtime.clone();
        must("StartContainer", call(client.start_container(request)));
    }

    /// Calls ExecSync for a command that has to succeed.
    pub fn exec(&self, id: &str, command: &[&str]) {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: 10,
        };
        let mut client = self.0.runtime.clone();
        let answer = must("ExecSync", call(client.exec_sync(request)));
        assert_eq!(answer.exit_code, 0, "{command:?}");
    }

    /// Calls StopContainer without a grace period.
    pub fn stop(&self, id: &str) {
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout: 0,
        };
        let mut client = self.0.runtime.clone();
        must("StopContainer", call(client.stop_container(request)));
    }

    /// Calls RemoveContainer for a container.
    pub fn remove(&self, id: &str) {
        let request = RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        let mut client = self.0.runtime.clone();
        must("RemoveContainer", call(client.remove_container(request)));
    }

    /// Stops a pod and removes it with its containers.
    pub fn remove_pod(&self, pod: &Sandbox) {
        let mut client = self.0.runtime.clone();
        let pod_sandbox_id = pod.id.clone();
        let stop = StopPodSandboxRequest { pod_sandbox_id };
        must("StopPodSandbox", call(client.stop_pod_sandbox(stop)));
        let pod_sandbox_id = pod.id.clone();
        let remove = RemovePodSandboxRequest { pod_sandbox_id };
        must("RemovePodSandbox", call(client.remove_pod_sandbox(remove)));
    }

    /// Calls ContainerStatus and gives the state.
    pub fn state(&self, id: &str) -> ContainerState {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let mut client = self.0.runtime.clone();
        let answer = must("ContainerStatus", call(client.container_status(request)));
        answer.status.unwrap_or_default().state()
    }

    /// Calls ListContainers and gives the number of containers.
    pub fn list(&self) -> usize {
        let mut client = self.0.runtime.clone();
        let answer = call(client.list_containers(ListContainersRequest::default()));
        must("ListContainers", answer).containers.len()
    }

    /// Calls ListContainerStats and gives the number of containers.
    pub fn stats(&self) -> usize {
        let mut client = self.0.runtime.clone();
        let answer = call(client.list_container_stats(ListContainerStatsRequest::default()));
        must("ListContainerStats", answer).stats.len()
    }

    /// Calls PullImage for an image.
    pub fn pull(&self, image: &str) {
        let request = PullImageRequest {
            image: Some(spec(image)),
            ..PullImageRequest::default()
        };
        let mut client = self.0.images.clone();
        must(&format!("pull {image}"), call(client.pull_image(request)));
    }

    /// Calls RemoveImage for an image.
    pub fn remove_image(&self, image: &str) {
        let request = RemoveImageRequest {
            image: Some(spec(image)),
        };
        let mut client = self.0.images.clone();
        must("RemoveImage", call(client.remove_image(request)));
    }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    }
}
