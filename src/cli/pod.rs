//! `holdfast pod` but for `run`: see, stop and remove pods.

use cri_api::runtime::v1 as cri;

use super::args::{PodCommand, RootArgs};
use super::connect::Daemon;
use super::manifest::{GRACE_ANNOTATION, MANIFEST_ANNOTATION};
use super::{CliError, directories, namespaces, select, table};

/// Seconds between the stop signal and SIGKILL when nobody says.
const GRACE_SECONDS: u32 = 10;

/// Carries out a command on pods.
pub(super) async fn run(mut daemon: Daemon, command: PodCommand) -> Result<(), CliError> {
    match command {
        // It is carried out before a connection is made.
        PodCommand::Run(_) => Ok(()),
        PodCommand::Ls => list(&mut daemon).await,
        PodCommand::Stop { pods, grace } => {
            for name in pods {
                let pod = select::pod(&mut daemon, &name).await?;
                let grace = grace.unwrap_or_else(|| grace_of(&pod));
                stop(&mut daemon, &pod, grace).await?;
            }
            Ok(())
        }
        PodCommand::Rm { pods, grace, roots } => {
            for name in pods {
                let pod = select::pod(&mut daemon, &name).await?;
                remove(&mut daemon, &pod, grace, &roots).await?;
            }
            Ok(())
        }
        PodCommand::Ns { pod } => namespaces::show(daemon, &pod).await,
    }
}

fn grace_of(pod: &cri::PodSandbox) -> u32 {
    let annotation = pod.annotations.get(GRACE_ANNOTATION);
    annotation
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(GRACE_SECONDS)
}

async fn list(daemon: &mut Daemon) -> Result<(), CliError> {
    let pods = select::pods(daemon).await?;
    let containers = select::containers(daemon).await?;
    let mut out = table::new(&["POD", "NAMESPACE", "ID", "STATE", "AGE"]);
    for pod in &pods {
        let metadata = pod.metadata.clone().unwrap_or_default();
        let state = match pod.state() {
            cri::PodSandboxState::SandboxReady => "ready",
            cri::PodSandboxState::SandboxNotready => "not ready",
        };
        let age = table::ago(pod.created_at);
        let id = table::short(&pod.id).to_owned();
        out.add_row([metadata.name, metadata.namespace, id, state.to_owned(), age]);
        for container in containers.iter().filter(|one| one.pod_sandbox_id == pod.id) {
            let name = format!("  {}", select::container_name(container));
            let id = table::short(&container.id).to_owned();
            let age = table::ago(container.created_at);
            out.add_row([
                name,
                String::new(),
                id,
                state_name(container.state()).to_owned(),
                age,
            ]);
        }
    }
    table::print(&out)
}

fn state_name(state: cri::ContainerState) -> &'static str {
    match state {
        cri::ContainerState::ContainerCreated => "created",
        cri::ContainerState::ContainerRunning => "running",
        cri::ContainerState::ContainerExited => "exited",
        cri::ContainerState::ContainerUnknown => "unknown",
    }
}

/// Stops a pod: all containers at the same time, then the rest.
async fn stop(daemon: &mut Daemon, pod: &cri::PodSandbox, grace: u32) -> Result<(), CliError> {
    let running = select::containers(daemon)
        .await?
        .into_iter()
        .filter(|container| {
            container.pod_sandbox_id == pod.id
                && container.state() == cri::ContainerState::ContainerRunning
        });
    let stops = running.map(|container| {
        let mut runtime = daemon.runtime.clone();
        let request = cri::StopContainerRequest {
            container_id: container.id.clone(),
            timeout: grace.into(),
        };
        async move {
            let operation = format!("stop the container {}", select::container_name(&container));
            runtime
                .stop_container(request)
                .await
                .map_err(CliError::refused(operation))
        }
    });
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
        .map_err(CliError::refused(operation))?;
    Ok(())
}

/// Stops and removes a pod. Directories go with it when it was made from a manifest.
pub(super) async fn remove(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
    roots: &RootArgs,
) -> Result<(), CliError> {
    stop(daemon, pod, grace).await?;
    let request = cri::RemovePodSandboxRequest {
        pod_sandbox_id: pod.id.clone(),
    };
    let operation = format!("remove the pod {}", select::pod_name(pod));
    daemon
        .runtime
        .remove_pod_sandbox(request)
        .await
        .map_err(CliError::refused(operation))?;
    match &pod.metadata {
        Some(metadata) if pod.annotations.contains_key(MANIFEST_ANNOTATION) => {
            Ok(directories::delete(metadata, roots)?)
        }
        _ => Ok(()),
    }
}
