//! Finds the pod or container that a name or an id on the command line means.
//!
//! A name that fits pods of several namespaces, or several pods of one name, is refused. Only among the attempts of one
//! pod, and among those of one container, the newest is meant.

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::refusal::Refusal;
use holdfast_kernel::id::candidates;

/// Digits of an id that tell pods of one name from each other in an error.
const SHORT_ID: usize = 13;

/// Why a name or id does not mean exactly one pod, container or image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    /// No pod or container matches.
    #[error("there is no {what} {name}; see `holdfast ps -a`")]
    None {
        /// The kind of object that was looked for: a pod, a container, or either.
        what: &'static str,
        /// The name or id that was given, with the namespace.
        name: String,
    },
    /// Several ids begin with what was given.
    #[error("{name:?} means several {what}s: {candidates}; give more of the id")]
    Several {
        /// The kind of object that was looked for: a pod, a container, or either.
        what: &'static str,
        /// The name or id that was given.
        name: String,
        /// Some of the ids that match, and how many more there are.
        candidates: String,
    },
    /// Several pods or containers have the name.
    #[error("{name:?} means several {what}s: {candidates}; {remedy}")]
    Ambiguous {
        /// The kind of object that was looked for: a pod, a container, or either.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// Full names of some that match, and how many more there are.
        candidates: String,
        /// How to say which of them is meant.
        remedy: &'static str,
    },
    /// The node does not have the image.
    #[error("there is no image {0:?}; see `holdfast images`")]
    NoImage(String),
    /// The daemon does not list its pods or containers.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The option that says in which namespace pods are looked for.
#[derive(Debug, Clone, Default, Args)]
pub struct NamespaceArgs {
    /// Consider only pods of this namespace. A name that pods of several namespaces have needs it, or NAMESPACE/NAME.
    #[arg(short, long)]
    pub namespace: Option<String>,
}

impl NamespaceArgs {
    /// A name on the command line, to be looked for in the namespace.
    pub(crate) fn name<'a>(&'a self, text: &'a str) -> Name<'a> {
        let namespace = self.namespace.as_deref();
        Name { text, namespace }
    }

    /// Whether pods of a namespace are considered.
    pub(crate) fn admits(&self, namespace: &str) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == namespace)
    }
}

/// A name or an id as it was typed, and the namespace to look in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    text: &'a str,
    namespace: Option<&'a str>,
}

impl<'a> From<&'a String> for Name<'a> {
    fn from(text: &'a String) -> Self {
        let namespace = None;
        Self { text, namespace }
    }
}

impl Name<'_> {
    fn missing(self, what: &'static str) -> SelectError {
        let name = match self.namespace {
            Some(namespace) => format!("{:?} in the namespace {namespace:?}", self.text),
            None => format!("{:?}", self.text),
        };
        SelectError::None { what, name }
    }
}

/// The object that `stop`, `rm` and `inspect` take: a pod or a container.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The name means a pod.
    Pod(cri::PodSandbox),
    /// The name means a container.
    Container(cri::Container),
}

impl Target {
    fn id(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.id,
            Self::Container(container) => &container.id,
        }
    }
}

/// A pod or container that a name fits.
#[derive(Debug, Clone)]
struct Match {
    /// The full name: NAMESPACE/POD or NAMESPACE/POD/CONTAINER.
    title: String,
    /// The uid of the pod, which its attempts share.
    uid: String,
    target: Target,
}

/// All pods and containers of the node, the oldest first.
#[derive(Debug, Default)]
struct Node {
    pods: Vec<cri::PodSandbox>,
    containers: Vec<cri::Container>,
}

impl Node {
    async fn load(daemon: &mut Daemon) -> Result<Self, Refusal> {
        Ok(Self {
            pods: pods(daemon).await?,
            containers: containers(daemon).await?,
        })
    }

    /// The pods that a name fits, of each the newest attempt.
    fn pods_named(&self, name: Name<'_>) -> Vec<Match> {
        let fitting = self.pods.iter().filter(|pod| fits(pod, name));
        newest(fitting.map(|pod| Match {
            title: title(pod),
            uid: uid(pod),
            target: Target::Pod(pod.clone()),
        }))
    }

    /// The containers that [POD/]CONTAINER or NAMESPACE/POD/CONTAINER fits, of each the newest attempt. POD may be an id.
    fn containers_named(&self, name: Name<'_>) -> Vec<Match> {
        let (of_pod, wanted) = match name.text.rsplit_once('/') {
            Some((pod, container)) => (Some(Name { text: pod, ..name }), container),
            None => (None, name.text),
        };
        let by_name = of_pod.is_none_or(|of| self.pods.iter().any(|pod| fits(pod, of)));
        let is_meant = |pod: &cri::PodSandbox| match of_pod {
            Some(of) if by_name => fits(pod, of),
            Some(of) => has_id(&pod.id, of) && is_admitted(pod, name),
            None => is_admitted(pod, name),
        };
        let named = |container: &&cri::Container| container_name(container) == wanted;
        newest(
            self.containers
                .iter()
                .filter(named)
                .filter_map(|container| {
                    let pod = self.pod_of(container).filter(|pod| is_meant(pod))?;
                    Some(Match {
                        title: format!("{}/{wanted}", title(pod)),
                        uid: uid(pod),
                        target: Target::Container(container.clone()),
                    })
                }),
        )
    }

    fn pod_of(&self, container: &cri::Container) -> Option<&cri::PodSandbox> {
        let mut pods = self.pods.iter();
        pods.find(|pod| pod.id == container.pod_sandbox_id)
    }

    fn pods_with_id(&self, name: Name<'_>) -> Vec<Target> {
        let pods = self.pods.iter();
        let pods = pods.filter(|pod| has_id(&pod.id, name) && is_admitted(pod, name));
        pods.cloned().map(Target::Pod).collect()
    }

    fn containers_with_id(&self, name: Name<'_>) -> Vec<Target> {
        let is_meant = |container: &&cri::Container| {
            has_id(&container.id, name)
                && (name.namespace.is_none()
                    || self
                        .pod_of(container)
                        .is_some_and(|pod| is_admitted(pod, name)))
        };
        let containers = self.containers.iter().filter(is_meant);
        containers.cloned().map(Target::Container).collect()
    }
}

/// The newest of each pod and of each container; the oldest come first.
fn newest(matches: impl Iterator<Item = Match>) -> Vec<Match> {
    let mut newest: Vec<Match> = Vec::new();
    for found in matches {
        let same = |older: &&mut Match| older.title == found.title && older.uid == found.uid;
        match newest.iter_mut().find(same) {
            Some(older) => *older = found,
            None => newest.push(found),
        }
    }
    newest
}

fn is_admitted(pod: &cri::PodSandbox, name: Name<'_>) -> bool {
    let namespace = pod
        .metadata
        .as_ref()
        .map(|metadata| metadata.namespace.as_str());
    name.namespace
        .is_none_or(|wanted| namespace == Some(wanted))
}

/// Whether NAME or NAMESPACE/NAME is the name of a pod.
fn fits(pod: &cri::PodSandbox, name: Name<'_>) -> bool {
    let own = pod_name(pod);
    is_admitted(pod, name) && (own == name.text || title(pod) == name.text)
}

fn has_id(id: &str, name: Name<'_>) -> bool {
    !name.text.is_empty() && id.starts_with(name.text)
}

/// The one that is meant. A name wins over an id.
fn only(
    what: &'static str,
    name: Name<'_>,
    named: Vec<Match>,
    with_id: Vec<Target>,
) -> Result<Target, SelectError> {
    let mut named = named;
    if let Some(found) = named.pop() {
        if named.is_empty() {
            return Ok(found.target);
        }
        named.push(found);
        return Err(ambiguous(what, name, &named));
    }
    let mut with_id = with_id;
    match (with_id.pop(), with_id.len()) {
        (None, _) => Err(name.missing(what)),
        (Some(target), 0) => Ok(target),
        (Some(last), _) => {
            with_id.push(last);
            Err(SelectError::Several {
                what,
                name: name.text.to_owned(),
                candidates: candidates(with_id.iter().map(Target::id)),
            })
        }
    }
}

/// The error for a name that fits all of these.
fn ambiguous(what: &'static str, name: Name<'_>, named: &[Match]) -> SelectError {
    let is_double = |one: &Match| {
        named
            .iter()
            .filter(|other| other.title == one.title)
            .count()
            > 1
    };
    let doubles = named.iter().any(is_double);
    let title = |one: &Match| match &one.target {
        _ if !is_double(one) => one.title.clone(),
        target => {
            let id = target.id();
            format!("{} ({})", one.title, id.get(..SHORT_ID).unwrap_or(id))
        }
    };
    SelectError::Ambiguous {
        what,
        name: name.text.to_owned(),
        candidates: candidates(named.iter().map(title)),
        remedy: if doubles {
            "give the full name or the id"
        } else {
            "give the full name or --namespace"
        },
    }
}

/// Lists all pods, the oldest first.
pub(super) async fn pods(daemon: &mut Daemon) -> Result<Vec<cri::PodSandbox>, Refusal> {
    let request = cri::ListPodSandboxRequest::default();
    let reply = daemon
        .runtime
        .list_pod_sandbox(request)
        .await
        .map_err(Refusal::to("list pods"))?;
    let mut pods = reply.into_inner().items;
    pods.sort_by_key(|pod| pod.created_at);
    Ok(pods)
}

/// Lists all containers, the oldest first.
pub(super) async fn containers(daemon: &mut Daemon) -> Result<Vec<cri::Container>, Refusal> {
    let request = cri::ListContainersRequest::default();
    let reply = daemon
        .runtime
        .list_containers(request)
        .await
        .map_err(Refusal::to("list containers"))?;
    let mut containers = reply.into_inner().containers;
    containers.sort_by_key(|container| container.created_at);
    Ok(containers)
}

/// The name in the metadata of a pod.
pub(super) fn pod_name(pod: &cri::PodSandbox) -> String {
    pod.metadata
        .as_ref()
        .map(|metadata| metadata.name.clone())
        .unwrap_or_default()
}

/// NAMESPACE/NAME of a pod.
fn title(pod: &cri::PodSandbox) -> String {
    let metadata = pod.metadata.as_ref();
    metadata
        .map(|metadata| format!("{}/{}", metadata.namespace, metadata.name))
        .unwrap_or_default()
}

fn uid(pod: &cri::PodSandbox) -> String {
    let metadata = pod.metadata.as_ref();
    metadata
        .map(|metadata| metadata.uid.clone())
        .unwrap_or_default()
}

/// The name in the metadata of a container.
pub(super) fn container_name(container: &cri::Container) -> String {
    container
        .metadata
        .as_ref()
        .map(|metadata| metadata.name.clone())
        .unwrap_or_default()
}

/// Finds a pod by NAME, NAMESPACE/NAME or id.
pub(super) async fn pod<'a>(
    daemon: &mut Daemon,
    name: impl Into<Name<'a>>,
) -> Result<cri::PodSandbox, SelectError> {
    let name = name.into();
    let node = Node {
        pods: pods(daemon).await?,
        ..Node::default()
    };
    match only("pod", name, node.pods_named(name), node.pods_with_id(name))? {
        Target::Pod(pod) => Ok(pod),
        Target::Container(_) => Err(name.missing("pod")),
    }
}

/// Finds a container by CONTAINER, POD/CONTAINER, NAMESPACE/POD/CONTAINER or id.
pub(super) async fn container<'a>(
    daemon: &mut Daemon,
    name: impl Into<Name<'a>>,
) -> Result<cri::Container, SelectError> {
    let name = name.into();
    let node = Node::load(daemon).await?;
    let (named, with_id) = (node.containers_named(name), node.containers_with_id(name));
    match only("container", name, named, with_id)? {
        Target::Container(container) => Ok(container),
        Target::Pod(_) => Err(name.missing("container")),
    }
}

/// Finds a pod by NAME or NAMESPACE/NAME, a container by POD/CONTAINER or NAMESPACE/POD/CONTAINER, or either by id. The
/// bare name of a container is not enough, because it would remove containers of pods that nobody named.
pub(super) async fn target<'a>(
    daemon: &mut Daemon,
    name: impl Into<Name<'a>>,
) -> Result<Target, SelectError> {
    meant(&Node::load(daemon).await?, name.into())
}

/// Finds the object that [`target`] finds, or a container by its bare name when no pod has it.
pub(super) async fn bare_target<'a>(
    daemon: &mut Daemon,
    name: impl Into<Name<'a>>,
) -> Result<Target, SelectError> {
    bare_meant(&Node::load(daemon).await?, name.into())
}

fn bare_meant(node: &Node, name: Name<'_>) -> Result<Target, SelectError> {
    if name.text.contains('/') || !node.pods_named(name).is_empty() {
        return meant(node, name);
    }
    let named = node.containers_named(name);
    if named.is_empty() {
        return meant(node, name);
    }
    only("container", name, named, Vec::new())
}

fn meant(node: &Node, name: Name<'_>) -> Result<Target, SelectError> {
    let mut named = node.pods_named(name);
    if name.text.contains('/') {
        named.extend(node.containers_named(name));
    }
    let mut with_id = node.pods_with_id(name);
    with_id.extend(node.containers_with_id(name));
    only("pod or container", name, named, with_id)
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
