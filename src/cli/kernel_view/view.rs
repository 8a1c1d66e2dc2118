//! Pods as the daemon and the kernel together show them.

use std::collections::BTreeMap;

use cri_api::holdfast::v1::process_namespaces::Role;
use cri_api::holdfast::v1::{PodNamespacesRequest, ProcessNamespaces};
use cri_api::runtime::v1 as cri;

use super::kind::Kind;
use super::procfs;
use crate::connect::Daemon;
use crate::refusal::Refusal;
use crate::select::{self, NamespaceArgs, SelectError, Target};
use holdfast_kernel::sys::pid::Pid;

/// Why a process of a pod cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    /// A name does not mean exactly one pod or container.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing runs that could be looked at.
    #[error("{0} is not running; see `holdfast ps -a`")]
    NotRunning(String),
    /// The daemon's process number means another process here.
    #[error(transparent)]
    Mismatch(#[from] ProcessMismatch),
}

/// A process number of the daemon means another process, or none, to this command.
#[derive(Debug, thiserror::Error)]
#[error(
    "process {pid} is not the one that the daemon means: it has ended, or this command runs in another pid namespace than the daemon"
)]
pub(crate) struct ProcessMismatch {
    pid: Pid,
}

/// A pod and its processes.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub ip: String,
    /// The pause first, then the containers by time of creation.
    pub members: Vec<Member>,
}

/// The pause or a container's first process.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub role: Part,
    /// Id of the container or of the sandbox.
    pub id: String,
    /// Name of the container; `pause` for the pause.
    pub name: String,
    pub image: String,
    pub pid: Pid,
    pub namespaces: BTreeMap<Kind, u64>,
}

/// The part that a process has in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    Pause,
    Container,
}

/// Whose a namespace is, from one member's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// The namespace belongs to the machine itself.
    Machine,
    /// This one's, whoever else is in it.
    Own,
    /// The pause's of its pod.
    Pause,
    /// The namespace of another member: the index of its pod in the view, and of the member in the pod.
    Other(usize, usize),
}

impl Pod {
    /// A name that tells it from others: NAME in the namespace `default`, otherwise NAMESPACE/NAME.
    pub(super) fn title(&self) -> String {
        if self.namespace.is_empty() || self.namespace == "default" {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

/// Whose namespace of this kind a member is in. The first one in it, in the order of the view, has it.
pub(super) fn whose(
    pods: &[Pod],
    at: (usize, usize),
    kind: Kind,
    machine: &BTreeMap<Kind, u64>,
) -> Option<Whose> {
    let inode = *pods.get(at.0)?.members.get(at.1)?.namespaces.get(&kind)?;
    if machine.get(&kind) == Some(&inode) {
        return Some(Whose::Machine);
    }
    let is = |pod: usize, member: usize| {
        let member = pods.get(pod).and_then(|pod| pod.members.get(member));
        member.is_some_and(|member| member.namespaces.get(&kind) == Some(&inode))
    };
    let all = pods
        .iter()
        .enumerate()
        .flat_map(|(index, pod)| (0..pod.members.len()).map(move |member| (index, member)));
    // Its own pod first, because a pause that has joined another pod's namespace passes it on.
    let own = (0..pods[at.0].members.len()).map(|member| (at.0, member));
    let first = match at.1 {
        0 => all.clone().find(|(pod, member)| is(*pod, *member)),
        _ => own.chain(all).find(|(pod, member)| is(*pod, *member)),
    };
    Some(match first {
        Some(found) if found == at => Whose::Own,
        Some((pod, 0)) if pod == at.0 && pods[pod].members[0].role == Part::Pause => Whose::Pause,
        Some((pod, member)) => Whose::Other(pod, member),
        None => Whose::Own,
    })
}

/// Looks at pods by name; without names at all that are ready.
pub(super) async fn pods(
    daemon: &mut Daemon,
    names: &[String],
    within: &NamespaceArgs,
) -> Result<Vec<Pod>, SelectError> {
    let mut found = Vec::new();
    if names.is_empty() {
        let ready = |pod: &cri::PodSandbox| {
            let metadata = pod.metadata.as_ref();
            pod.state() == cri::PodSandboxState::SandboxReady
                && within.admits(metadata.map_or("", |metadata| &metadata.namespace))
        };
        found.extend(select::pods(daemon).await?.into_iter().filter(ready));
    }
    for name in names {
        found.push(select::pod(daemon, within.name(name)).await?);
    }
    let containers = select::containers(daemon).await?;
    let mut pods = Vec::new();
    for sandbox in found {
        match pod(daemon, &sandbox, &containers).await {
            // A pod may end while the others are looked at; one that was named must be there.
            Err(refusal) if names.is_empty() && refusal.code() == tonic::Code::NotFound => {}
            result => pods.push(result?),
        }
    }
    Ok(pods)
}

async fn pod(
    daemon: &mut Daemon,
    sandbox: &cri::PodSandbox,
    containers: &[cri::Container],
) -> Result<Pod, Refusal> {
    let operation = format!("inspect the pod {}", select::pod_name(sandbox));
    let request = PodNamespacesRequest {
        pod_sandbox_id: sandbox.id.clone(),
    };
    let reply = daemon.holdfast.pod_namespaces(request).await;
    let processes = reply
        .map_err(Refusal::to(operation.clone()))?
        .into_inner()
        .processes;
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.id.clone(),
        verbose: false,
    };
    let reply = daemon.runtime.pod_sandbox_status(request).await;
    let status = reply.map_err(Refusal::to(operation))?.into_inner();
    let network = status.status.unwrap_or_default().network;
    let metadata = sandbox.metadata.clone().unwrap_or_default();
    Ok(Pod {
        id: sandbox.id.clone(),
        name: metadata.name,
        namespace: metadata.namespace,
        ip: network.unwrap_or_default().ip,
        members: processes
            .into_iter()
            .map(|process| member(process, containers))
            .collect(),
    })
}

fn member(process: ProcessNamespaces, containers: &[cri::Container]) -> Member {
    let container = containers
        .iter()
        .find(|container| container.id == process.id);
    let image = container
        .and_then(|container| container.image.as_ref())
        .map(image_name)
        .unwrap_or_default();
    let kind = |(name, inode): (String, u64)| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        Some((kind, inode))
    };
    let (role, name) = match process.role() {
        Role::Pause => (Part::Pause, "pause".to_owned()),
        Role::Container | Role::Unspecified => (Part::Container, process.name),
    };
    Member {
        role,
        id: process.id,
        name,
        image,
        pid: i32::try_from(process.pid).map_or(Pid::NONE, Pid::from_raw),
        namespaces: process.inodes.into_iter().filter_map(kind).collect(),
    }
}

fn image_name(image: &cri::ImageSpec) -> String {
    let given = &image.user_specified_image;
    if given.is_empty() {
        &image.image
    } else {
        given
    }
    .clone()
}

/// Finds the pod or container of a name: returns the pod, and the index of the member in it.
pub(super) async fn target(
    daemon: &mut Daemon,
    name: &str,
    within: &NamespaceArgs,
) -> Result<(Pod, usize), ViewError> {
    let container = match select::bare_target(daemon, within.name(name)).await? {
        Target::Container(container) => container,
        // A pod's name means its pause.
        Target::Pod(sandbox) => return running(daemon, &sandbox, &sandbox.id, name).await,
    };
    let pods = select::pods(daemon).await?;
    let owns_container = |pod: &&cri::PodSandbox| pod.id == container.pod_sandbox_id;
    let sandbox = pods
        .iter()
        .find(owns_container)
        .cloned()
        .unwrap_or_default();
    running(daemon, &sandbox, &container.id, name).await
}

async fn running(
    daemon: &mut Daemon,
    sandbox: &cri::PodSandbox,
    id: &str,
    name: &str,
) -> Result<(Pod, usize), ViewError> {
    let containers = select::containers(daemon).await?;
    let pod = pod(daemon, sandbox, &containers).await?;
    let at = pod.members.iter().position(|member| member.id == id);
    let at = at.ok_or_else(|| ViewError::NotRunning(name.to_owned()))?;
    verify(&pod.members[at])?;
    Ok((pod, at))
}

/// Whether a process number means here what it means to the daemon: its namespaces must be the same.
pub(super) fn verify(member: &Member) -> Result<(), ProcessMismatch> {
    let here = procfs::namespaces(member.pid);
    if here.is_empty() || here != member.namespaces {
        return Err(ProcessMismatch { pid: member.pid });
    }
    Ok(())
}

/// POD/NAME of a member.
pub(super) fn full_name(pods: &[Pod], (pod, member): (usize, usize)) -> String {
    let pod = &pods[pod];
    format!("{}/{}", pod.title(), pod.members[member].name)
}
