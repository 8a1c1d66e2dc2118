//! `holdfast stop` and `holdfast rm`.

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::run::{
    GRACE_ANNOTATION, MANIFEST_ANNOTATION, RootArgs, ask_to_stop, delete_directories,
};
use super::select::{self, Target};
use super::{CliError, out};

/// Seconds between the stop signal and SIGKILL when nobody says.
pub(super) const GRACE_SECONDS: u32 = 10;

/// Arguments of `stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast stop --timeout 5 two-containers web/nginx")]
pub struct StopArgs {
    /// Pods by name or id, containers as POD/CONTAINER or by id.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Stop all pods.
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
    /// Seconds between the stop signal and SIGKILL; without it the manifest's, else 10.
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
}

/// Arguments of `rm`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast rm two-containers")]
pub struct RmArgs {
    /// Pods by name or id, containers as POD/CONTAINER or by id. A pod is stopped first; a container that
    /// runs is refused without --force.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Remove all pods.
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
    /// Remove containers that run, too.
    #[arg(short, long)]
    pub force: bool,
    /// Seconds between the stop signal and SIGKILL.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u32,
    /// Where the directories of pods are that do not say so themselves.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Everything that is named, or all pods without names. Nothing is done when one of the names means nothing.
async fn targets(daemon: &mut Daemon, names: Option<&[String]>) -> Result<Vec<Target>, CliError> {
    let Some(names) = names else {
        let pods = select::pods(daemon).await?;
        if pods.is_empty() {
            out::note("there are no pods");
        }
        return Ok(pods.into_iter().map(Target::Pod).collect());
    };
    let mut targets = Vec::new();
    for name in names {
        targets.push(select::target(daemon, name).await?);
    }
    Ok(targets)
}

/// Stops what is named.
pub(super) async fn stop(mut daemon: Daemon, args: StopArgs) -> Result<(), CliError> {
    let daemon = &mut daemon;
    let names = (!args.all).then_some(args.names.as_slice());
    for target in targets(daemon, names).await? {
        match target {
            Target::Pod(pod) => {
                let grace = args.timeout.unwrap_or_else(|| grace_of(&pod));
                stop_pod(daemon, &pod, grace).await?;
            }
            Target::Container(container) => {
                let grace = match args.timeout {
                    Some(grace) => grace,
                    None => grace_of_pod(daemon, &container.pod_sandbox_id).await?,
                };
                stop_container(daemon, &container, grace).await?;
            }
        }
    }
    Ok(())
}

/// Stops and removes what is named.
pub(super) async fn remove(mut daemon: Daemon, args: RmArgs) -> Result<(), CliError> {
    let daemon = &mut daemon;
    let names = (!args.all).then_some(args.names.as_slice());
    for target in targets(daemon, names).await? {
        match target {
            Target::Pod(pod) => remove_pod(daemon, &pod, args.timeout, &args.roots).await?,
            Target::Container(container) => remove_container(daemon, &container, &args).await?,
        }
    }
    Ok(())
}

fn grace_of(pod: &cri::PodSandbox) -> u32 {
    let annotation = pod.annotations.get(GRACE_ANNOTATION);
    annotation
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(GRACE_SECONDS)
}

async fn grace_of_pod(daemon: &mut Daemon, id: &str) -> Result<u32, CliError> {
    let pods = select::pods(daemon).await?;
    let pod = pods.iter().find(|pod| pod.id == id);
    Ok(pod.map_or(GRACE_SECONDS, grace_of))
}

async fn stop_container(
    daemon: &Daemon,
    container: &cri::Container,
    grace: u32,
) -> Result<(), CliError> {
    let request = cri::StopContainerRequest {
        container_id: container.id.clone(),
        timeout: grace.into(),
    };
    let operation = format!("stop the container {}", select::container_name(container));
    let mut runtime = daemon.runtime.clone();
    let stopped = runtime.stop_container(request).await;
    stopped.map(drop).map_err(CliError::refused(operation))
}

async fn remove_container(
    daemon: &Daemon,
    container: &cri::Container,
    args: &RmArgs,
) -> Result<(), CliError> {
    let name = select::container_name(container);
    if container.state() == cri::ContainerState::ContainerRunning {
        if !args.force {
            return Err(CliError::StillRuns(name));
        }
        stop_container(daemon, container, args.timeout).await?;
    }
    let request = cri::RemoveContainerRequest {
        container_id: container.id.clone(),
    };
    let operation = format!("remove the container {name}");
    let mut runtime = daemon.runtime.clone();
    let removed = runtime.remove_container(request).await;
    removed.map(drop).map_err(CliError::refused(operation))
}

/// Stops a pod: its keeper does what has an order; then all containers at the same time, then the rest.
pub(super) async fn stop_pod(
    daemon: &mut Daemon,
    pod: &cri::PodSandbox,
    grace: u32,
) -> Result<(), CliError> {
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
    if pod.annotations.contains_key(MANIFEST_ANNOTATION) {
        delete_directories(pod, roots)?;
    }
    Ok(())
}
