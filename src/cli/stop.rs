//! `holdfast stop` and `holdfast rm`.

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::run::{
    GRACE_ANNOTATION, MANIFEST_ANNOTATION, RootArgs, ask_to_stop, delete_directories,
};
use super::{CliError, select};

/// Seconds between the stop signal and SIGKILL when nobody says.
pub(super) const GRACE_SECONDS: u32 = 10;

/// Arguments of `stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast stop two-containers")]
pub struct StopArgs {
    /// Names or ids of pods.
    #[arg(required = true)]
    pub pods: Vec<String>,
    /// Seconds between the stop signal and SIGKILL; without it the manifest's, else 10.
    #[arg(short, long)]
    pub timeout: Option<u32>,
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast rm two-containers")]
pub struct RmArgs {
    /// Names or ids of pods.
    #[arg(required = true)]
    pub pods: Vec<String>,
    /// Seconds between the stop signal and SIGKILL.
    #[arg(short, long, default_value_t = 0)]
    pub timeout: u32,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Stops what is named.
pub(super) async fn stop(mut daemon: Daemon, args: StopArgs) -> Result<(), CliError> {
    for name in args.pods {
        let pod = select::pod(&mut daemon, &name).await?;
        let grace = args.timeout.unwrap_or_else(|| grace_of(&pod));
        stop_pod(&mut daemon, &pod, grace).await?;
    }
    Ok(())
}

/// Stops and removes what is named.
pub(super) async fn remove(mut daemon: Daemon, args: RmArgs) -> Result<(), CliError> {
    for name in args.pods {
        let pod = select::pod(&mut daemon, &name).await?;
        remove_pod(&mut daemon, &pod, args.timeout, &args.roots).await?;
    }
    Ok(())
}

fn grace_of(pod: &cri::PodSandbox) -> u32 {
    let annotation = pod.annotations.get(GRACE_ANNOTATION);
    annotation
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(GRACE_SECONDS)
}

/// Stops a pod: its keeper does what has an order; then all containers at the same time, then the rest.
pub(super) async fn stop_pod(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
) -> Result<(), CliError> {
    ask_to_stop(&pod.id, grace).await;
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
pub(super) async fn remove_pod(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
    roots: &RootArgs,
) -> Result<(), CliError> {
    stop_pod(daemon, pod, grace).await?;
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
            Ok(delete_directories(metadata, roots)?)
        }
        _ => Ok(()),
    }
}
