//! The calls that tests make most, in short form.

use cri_api::holdfast::v1::{PodNamespacesRequest, ProcessNamespaces};
use cri_api::runtime::v1::{
    Container, ContainerConfig, ContainerStatusResponse, CreateContainerRequest, ExecSyncRequest,
    ExecSyncResponse, Image, ImageSpec, ImageStatusRequest, ListContainersRequest,
    ListImagesRequest, ListPodSandboxRequest, PodSandbox, PodSandboxConfig,
    PodSandboxStatusResponse, PullImageRequest, RemoveContainerRequest, RemoveImageRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopContainerRequest,
    StopPodSandboxRequest,
};
use cri_api::runtime::v1::{ContainerStatusRequest, PodSandboxStatusRequest};
use tonic::Status;

use super::Daemon;
use crate::call::{call, must};
use crate::pod::Pod;
use crate::request;

/// What a call gives.
pub type Answer<T> = Result<T, Status>;

impl Daemon {
    /// The configuration of a pod with logs in this daemon's place.
    pub fn pod(&self, name: &str) -> PodSandboxConfig {
        request::pod(&self.place, name)
    }

    /// Runs a pod; the image of most containers is pulled when it is missing.
    #[track_caller]
    pub fn run(&self, config: PodSandboxConfig) -> Pod<'_> {
        self.provide(request::BUSYBOX);
        let id = must("RunPodSandbox", self.try_run(&config));
        Pod {
            daemon: self,
            id,
            config,
        }
    }

    /// Runs a pod with nothing special about it.
    #[track_caller]
    pub fn run_named(&self, name: &str) -> Pod<'_> {
        self.run(self.pod(name))
    }

    /// Calls RunPodSandbox and returns the pod's id.
    pub fn try_run(&self, config: &PodSandboxConfig) -> Answer<String> {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: String::new(),
        };
        let mut client = self.clients().runtime;
        Ok(call(client.run_pod_sandbox(request))?.pod_sandbox_id)
    }

    /// Calls StopPodSandbox for a pod.
    pub fn try_stop_pod(&self, id: &str) -> Answer<()> {
        let request = StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call(self.clients().runtime.stop_pod_sandbox(request)).map(|_| ())
    }

    /// Calls RemovePodSandbox for a pod.
    pub fn try_remove_pod(&self, id: &str) -> Answer<()> {
        let request = RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call(self.clients().runtime.remove_pod_sandbox(request)).map(|_| ())
    }

    /// Calls PodSandboxStatus for the verbose answer.
    pub fn try_pod_status(&self, id: &str) -> Answer<PodSandboxStatusResponse> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        call(self.clients().runtime.pod_sandbox_status(request))
    }

    /// ListPodSandbox without a filter.
    #[track_caller]
    pub fn pods(&self) -> Vec<PodSandbox> {
        let mut client = self.clients().runtime;
        must(
            "ListPodSandbox",
            call(client.list_pod_sandbox(ListPodSandboxRequest::default())),
        )
        .items
    }

    /// Calls CreateContainer and returns the container's id.
    pub fn try_create(
        &self,
        pod: &str,
        sandbox: &PodSandboxConfig,
        config: &ContainerConfig,
    ) -> Answer<String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(sandbox.clone()),
        };
        Ok(call(self.clients().runtime.create_container(request))?.container_id)
    }

    /// Calls StartContainer for a container.
    pub fn try_start(&self, id: &str) -> Answer<()> {
        let request = StartContainerRequest {
            container_id: id.to_owned(),
        };
        call(self.clients().runtime.start_container(request)).map(|_| ())
    }

    /// StopContainer; the grace period in seconds.
    pub fn try_stop(&self, id: &str, grace: i64) -> Answer<()> {
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout: grace,
        };
        call(self.clients().runtime.stop_container(request)).map(|_| ())
    }

    /// Calls RemoveContainer for a container.
    pub fn try_remove(&self, id: &str) -> Answer<()> {
        let request = RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        call(self.clients().runtime.remove_container(request)).map(|_| ())
    }

    /// Calls ContainerStatus for the verbose answer.
    pub fn try_status(&self, id: &str) -> Answer<ContainerStatusResponse> {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        call(self.clients().runtime.container_status(request))
    }

    /// ContainerStatus, not verbose, as a kubelet asks.
    pub fn try_status_brief(&self, id: &str) -> Answer<ContainerStatusResponse> {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        call(self.clients().runtime.container_status(request))
    }

    /// ListContainers without a filter.
    #[track_caller]
    pub fn containers(&self) -> Vec<Container> {
        let mut client = self.clients().runtime;
        must(
            "ListContainers",
            call(client.list_containers(ListContainersRequest::default())),
        )
        .containers
    }

    /// ExecSync; the timeout in seconds, 0 for none.
    pub fn try_exec(&self, id: &str, command: &[&str], timeout: i64) -> Answer<ExecSyncResponse> {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout,
        };
        call(self.clients().runtime.exec_sync(request))
    }

    /// The namespaces of a pod's processes, by PodNamespaces of holdfast.v1.
    #[track_caller]
    pub fn namespaces(&self, pod: &str) -> Vec<ProcessNamespaces> {
        let request = PodNamespacesRequest {
            pod_sandbox_id: pod.to_owned(),
        };
        must(
            "PodNamespaces",
            call(self.clients().holdfast.pod_namespaces(request)),
        )
        .processes
    }

    /// Calls PullImage without credentials and returns the image's id.
    pub fn try_pull(&self, image: &str) -> Answer<String> {
        let request = PullImageRequest {
            image: Some(spec(image)),
            ..PullImageRequest::default()
        };
        Ok(call(self.clients().images.pull_image(request))?.image_ref)
    }

    /// Pulls an image that has to be there, and gives its id.
    #[track_caller]
    pub fn pull(&self, image: &str) -> String {
        must(&format!("pull {image}"), self.try_pull(image))
    }

    /// Pulls an image unless it is present.
    #[track_caller]
    pub fn provide(&self, image: &str) {
        if self.image(image).is_none() {
            self.pull(image);
        }
    }

    /// The image as ImageStatus shows it.
    #[track_caller]
    pub fn image(&self, image: &str) -> Option<Image> {
        let request = ImageStatusRequest {
            image: Some(spec(image)),
            verbose: false,
        };
        must(
            &format!("ImageStatus {image}"),
            call(self.clients().images.image_status(request)),
        )
        .image
    }

    /// ListImages without a filter.
    #[track_caller]
    pub fn images(&self) -> Vec<Image> {
        let mut client = self.clients().images;
        must(
            "ListImages",
            call(client.list_images(ListImagesRequest::default())),
        )
        .images
    }

    /// Calls RemoveImage for an image.
    pub fn try_remove_image(&self, image: &str) -> Answer<()> {
        let request = RemoveImageRequest {
            image: Some(spec(image)),
        };
        call(self.clients().images.remove_image(request)).map(|_| ())
    }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    }
}
