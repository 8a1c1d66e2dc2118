//! Stopping and removing pods: what `stop`, `rm` and `run` share.

use cri_api::runtime::v1 as cri;

use super::directories::{DirectoryError, delete};
use super::drive::ask_to_stop;
use super::roots::RootArgs;
use crate::annotations::MANIFEST_ANNOTATION;
use crate::connect::Daemon;
use crate::refusal::Refusal;
use crate::select;

/// Why a pod cannot be removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemovalError {
    /// The daemon refused to stop or to remove it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A directory of the pod cannot be deleted.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Stops a container: its stop signal, and SIGKILL after the grace period in seconds.
pub(crate) async fn stop_container(
    daemon: &Daemon,
    container: &cri::Container,
    grace: u32,
) -> Result<(), Refusal> {
    let request = cri::StopContainerRequest {
        container_id: container.id.clone(),
        timeout: grace.into(),
    };
    let operation = format!("stop the container {}", select::container_name(container));
    let mut runtime = daemon.runtime.clone();
    let stopped = runtime.stop_container(request).await;
    stopped.map(drop).map_err(Refusal::to(operation))
}

/// Stops a pod: its keeper does what has an order; then all containers at the same time, then the rest.
pub(crate) async fn stop_pod(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
) -> Result<(), Refusal> {
    ask_to_stop(&pod.id, grace).await;
    let containers = select::containers(daemon).await?;
    let running = containers.iter().filter(|container| {
        container.pod_sandbox_id == pod.id
            && container.state() == cri::ContainerState::ContainerRunning
    });
    let stops = running.map(|container| stop_container(daemon, container, grace));
    for result in futures_util::future::join_all(stops).await {
        result?;
    }
    let request = cri::StopPodSandboxRequest {
        pod_sandbox_id: pod.id.clone(),
    };
    let operation = format!("stop the pod {}", select::pod_name(pod));
    daemon
        .runtime
        .stop_pod_sandbox(request)
        .await
        .map_err(Refusal::to(operation))?;
    Ok(())
}

/// Stops and removes a pod. Directories go with it when it was made from a manifest.
pub(crate) async fn remove_pod(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
    roots: &RootArgs,
) -> Result<(), RemovalError> {
    stop_pod(daemon, pod, grace).await?;
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: pod.id.clone(),
    };
    let operation = format!("remove the pod {}", select::pod_name(pod));
    daemon
        .runtime
        .remove_pod_sandbox(request)
        .await
        .map_err(Refusal::to(operation))?;
    if pod.annotations.contains_key(MANIFEST_ANNOTATION) {
        delete(pod, roots)?;
    }
    Ok(())
}
