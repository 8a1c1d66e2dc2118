//! Starting a container: its log, its cgroup and its plan go to the shim.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::blocking::blocking;
use super::cgroups;
use super::container::{full_plan, launch_spec, make_cgroup};
use super::entry::PodSnapshot;
use super::error::{LaunchError, PodError, Refusal};
use super::launch_error;
use super::launch_error::unexpected;
use super::launch_plan::LaunchPlan;
use super::link::{LinkError, ShimLink};
use super::log_file;
use super::node::Node;
use super::patience::{DEADLINE, patiently};
use super::process::ProcessIdentity;
use super::record::ContainerRecord;
use super::seccomp;
use super::state::Run;
use crate::spec::{ContainerConfig, PodConfig};
use holdfast_kernel::cgroup::Cgroup;
use holdfast_wire::{Reply, Request};

/// Inputs of a launch.
#[derive(Debug)]
struct Launch {
    plan: LaunchPlan,
    cgroup: Cgroup,
}

/// The operation, for errors.
const START: &str = "start the container";

/// Asks the shim to start a container, with the plan of its creation if there is one. Returns the process and what was
/// left out.
pub(super) async fn launch(
    node: Arc<Node>,
    pod: Arc<PodSnapshot>,
    record: Arc<ContainerRecord>,
    plan: Option<LaunchPlan>,
    (link, given_up): (ShimLink, Arc<AtomicBool>),
) -> Result<(Run, Vec<String>), PodError> {
    let id = record.id;
    // Opened beside it: the log may be on a file system that takes its time.
    let (log, launch) = tokio::join!(
        log_of(&pod, &record),
        ready_launch(&node, &pod, &record, plan)
    );
    let log = log?;
    if link.is_closed() {
        // The pod was stopped while the log was waited for.
        let (doing, source) = (START, LinkError::Closed);
        return Err(PodError::Launch(LaunchError::Shim { doing, source }));
    }
    let launch = launch?;
    let (slots, directories) = cgroups::slots(&launch.cgroup);
    let mut descriptors = vec![launch.plan.sealed.as_fd()];
    descriptors.extend(log.as_ref().map(|log| log.as_fd()));
    descriptors.extend(directories);
    let request = Request::StartContainer {
        container: id,
        log: log.is_some(),
        cgroup: slots,
    };
    // Nothing is awaited from here to the sending: an end that is asked for later reaches the shim later.
    if given_up.load(Ordering::Relaxed) {
        return Err(PodError::Refused(Refusal::ContainerPhase {
            id,
            phase: "to end",
            wanted: "it was stopped before it was started",
        }));
    }
    let answer = link.ask(request, &descriptors).await;
    let answer = answer.map_err(|error| explained(&pod.pod.config, &record, launch, error))?;
    match answer.body {
        Reply::Started {
            pid,
            start_ticks,
            degraded,
        } => Ok((
            Run {
                process: ProcessIdentity { pid, start_ticks },
                started_at: record.started_at,
            },
            degraded.iter().map(ToString::to_string).collect(),
        )),
        _ => Err(unexpected(START, &answer).into()),
    }
}

/// The error of a start that the shim could not make, with the field of the request that explains it.
fn explained(
    pod: &PodConfig,
    record: &ContainerRecord,
    launch: Launch,
    error: LinkError,
) -> LaunchError {
    let limit = record.resources.memory_limit;
    if limit > 0 && launch_error::is_killed(&error) && starved(&launch.cgroup) {
        return LaunchError::MemoryTooLow(limit);
    }
    let mount_at = |target: &str| {
        let mut mounts = record.config.mounts.iter();
        mounts.position(|mount| mount.container_path.as_str() == target)
    };
    seccomp::of_start(launch.plan.suspect, |error| {
        launch_error::with_limits(
            launch_error::container_launch_error(START, error, mount_at),
            pod,
        )
    })(error)
}

/// Whether the kernel has killed a process of the group for want of memory.
fn starved(cgroup: &Cgroup) -> bool {
    let detail = cgroup.detail();
    detail.is_ok_and(|detail| detail.memory.oom_kills.is_some_and(|kills| kills > 0))
}

/// Opens the cgroup for a plan of the creation; without such a plan, or when the cgroup is gone, all is made anew.
async fn ready_launch(
    node: &Arc<Node>,
    pod: &Arc<PodSnapshot>,
    record: &Arc<ContainerRecord>,
    plan: Option<LaunchPlan>,
) -> Result<Launch, PodError> {
    if let Some(plan) = plan {
        let path = cgroups::of_container(&pod.pod, record.id)?;
        if let Some(cgroup) = node.cgroups.open(&path)? {
            return Ok(Launch { plan, cgroup });
        }
    }
    let (node, pod, record) = (Arc::clone(node), Arc::clone(pod), Arc::clone(record));
    blocking(move || new_launch(&node, &pod, &record)).await
}

fn new_launch(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
) -> Result<Launch, PodError> {
    let spec = launch_spec(node, pod, record)?;
    let path = cgroups::of_container(&pod.pod, record.id)?;
    let cgroup = match node.cgroups.open(&path)? {
        Some(cgroup) => cgroup,
        // Somebody removed it: it is made anew rather than started without limits.
        None => make_cgroup(node, &pod.pod, record, &spec)?,
    };
    let plan = full_plan(node, record, &spec)?;
    if plan.hooks.is_some() {
        let text = serde_json::to_vec(&spec).map_err(|error| PodError::System {
            doing: "write the container's Spec as JSON",
            source: error.into(),
        })?;
        node.make_bundle(record.id, &text)?;
    }
    let plan = LaunchPlan::seal(node, (&pod.pod, record), &spec, &plan)?;
    Ok(Launch { plan, cgroup })
}

/// The log of a container, opened.
async fn log_of(pod: &PodSnapshot, record: &ContainerRecord) -> Result<Option<OwnedFd>, PodError> {
    let (pod, config) = (Arc::clone(&pod.pod.config), Arc::clone(&record.config));
    open_log(pod, config).await
}

/// Opens the log that [`log_of`] names, from the two configurations.
pub(super) async fn open_log(
    pod: Arc<PodConfig>,
    config: Arc<ContainerConfig>,
) -> Result<Option<OwnedFd>, PodError> {
    let Some(path) = log_file::path(&pod, &config) else {
        return Ok(None);
    };
    let open = move || log_file::open_log(&pod, &config);
    patiently(&path.to_string_lossy(), DEADLINE, open).await
}
