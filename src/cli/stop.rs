//! `holdfast stop` and `holdfast rm`: stopping and removing pods and containers.

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::annotations::GRACE_ANNOTATION;
use super::connect::Daemon;
use super::exit::FailureKind;
use super::failure::VerbError;
use super::out;
use super::refusal::Refusal;
use super::run::{GRACE_SECONDS, RemovalError, RootArgs, remove_pod, stop_container, stop_pod};
use super::select::{self, NamespaceArgs, SelectError, Target};

/// The command line of `holdfast stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast stop --timeout 5 two-containers web/nginx")]
pub struct StopArgs {
    /// Pods as POD, NAMESPACE/POD or by id; containers as POD/CONTAINER, NAMESPACE/POD/CONTAINER or by id.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Stop all pods of this node, or of the namespace.
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
    /// Grace period: seconds between the stop signal and SIGKILL [default: terminationGracePeriodSeconds of
    /// the manifest, otherwise 10].
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
}

/// The command line of `holdfast rm`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast rm two-containers")]
pub struct RmArgs {
    /// Pods as POD, NAMESPACE/POD or by id; containers as POD/CONTAINER, NAMESPACE/POD/CONTAINER or by id. Running pods are stopped first; a running container
    /// is removed only with --force.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Remove all pods of this node, or of the namespace.
    #[arg(short, long, conflicts_with = "names")]
    pub all: bool,
    /// Remove running containers too.
    #[arg(short, long)]
    pub force: bool,
    /// Grace period: seconds between the stop signal and SIGKILL.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u32,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Directories of pods that have no record of them.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Why something cannot be stopped or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StopError {
    /// A name does not mean exactly one pod or container.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A pod cannot be removed.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// A running container is not removed without --force.
    #[error("container {0} is running; stop it first, or give --force")]
    StillRuns(String),
}

impl VerbError for StopError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Select(_) | Self::Refused(_) | Self::Removal(_) | Self::StillRuns(_) => {
                FailureKind::Failed
            }
        }
    }
}

/// Finds everything that is named, or all pods without names. Fails before anything is done when a name means nothing.
async fn targets(
    daemon: &mut Daemon,
    names: Option<&[String]>,
    within: &NamespaceArgs,
) -> Result<Vec<Target>, StopError> {
    let Some(names) = names else {
        let mut pods = select::pods(daemon).await?;
        pods.retain(|pod| {
            let metadata = pod.metadata.as_ref();
            within.admits(metadata.map_or("", |metadata| &metadata.namespace))
        });
        if pods.is_empty() {
            out::note("there are no pods");
        }
        return Ok(pods.into_iter().map(Target::Pod).collect());
    };
    let mut targets = Vec::new();
    for name in names {
        targets.push(select::target(daemon, within.name(name)).await?);
    }
    Ok(targets)
}

/// Stops what is named.
pub(super) async fn stop(mut daemon: Daemon, args: StopArgs) -> Result<(), StopError> {
    let daemon = &mut daemon;
    let names = (!args.all).then_some(args.names.as_slice());
    for target in targets(daemon, names, &args.within).await? {
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
pub(super) async fn remove(mut daemon: Daemon, args: RmArgs) -> Result<(), StopError> {
    let daemon = &mut daemon;
    let names = (!args.all).then_some(args.names.as_slice());
    for target in targets(daemon, names, &args.within).await? {
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

async fn grace_of_pod(daemon: &mut Daemon, id: &str) -> Result<u32, Refusal> {
    let pods = select::pods(daemon).await?;
    let pod = pods.iter().find(|pod| pod.id == id);
    Ok(pod.map_or(GRACE_SECONDS, grace_of))
}

async fn remove_container(
    daemon: &Daemon,
    container: &cri::Container,
    args: &RmArgs,
) -> Result<(), StopError> {
    let name = select::container_name(container);
    if container.state() == cri::ContainerState::ContainerRunning {
        if !args.force {
            return Err(StopError::StillRuns(name));
        }
        stop_container(daemon, container, args.timeout).await?;
    }
    let request = cri::RemoveContainerRequest {
        container_id: container.id.clone(),
    };
    let operation = format!("remove the container {name}");
    let mut runtime = daemon.runtime.clone();
    let removed = runtime.remove_container(request).await;
    removed.map_err(Refusal::to(operation))?;
    Ok(())
}
