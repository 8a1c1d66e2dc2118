//! Finds the pod or container that a name or an id on the command line means.

use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::refusal::Refusal;
use holdfast_kernel::id::candidates;

/// Why a name or id does not mean exactly one pod, container or image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    /// No pod or container matches.
    #[error("there is no {what} {name:?}; see `holdfast ps -a`")]
    None {
        /// The kind of object that was looked for: a pod, a container, or either.
        what: &'static str,
        /// The name or id that was given.
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
    /// The node does not have the image.
    #[error("there is no image {0:?}; see `holdfast images`")]
    NoImage(String),
    /// The daemon does not list its pods or containers.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The item that a name or the beginning of an id means. A name wins over an id; of several items with that name the
/// newest wins.
fn find<'a, T>(
    what: &'static str,
    name: &str,
    items: &'a [T],
    describe: impl Fn(&T) -> (String, String, i64),
) -> Result<&'a T, SelectError> {
    let mut named: Vec<_> = items
        .iter()
        .filter(|item| describe(item).1 == name)
        .collect();
    named.sort_by_key(|item| describe(item).2);
    if let Some(newest) = named.pop() {
        return Ok(newest);
    }
    let by_id: Vec<_> = items
        .iter()
        .filter(|item| !name.is_empty() && describe(item).0.starts_with(name))
        .collect();
    match by_id.as_slice() {
        [item] => Ok(item),
        [] => Err(SelectError::None {
            what,
            name: name.to_owned(),
        }),
        several => Err(SelectError::Several {
            what,
            name: name.to_owned(),
            candidates: candidates(several.iter().map(|item| describe(item).0)),
        }),
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

/// The name in the metadata of a container.
pub(super) fn container_name(container: &cri::Container) -> String {
    container
        .metadata
        .as_ref()
        .map(|metadata| metadata.name.clone())
        .unwrap_or_default()
}

/// Finds a pod by NAME, NAMESPACE/NAME or id.
pub(super) async fn pod(daemon: &mut Daemon, name: &str) -> Result<cri::PodSandbox, SelectError> {
    let pods = pods(daemon).await?;
    let describe = |pod: &cri::PodSandbox| (pod.id.clone(), name_like(pod, name), pod.created_at);
    Ok(find("pod", name, &pods, describe)?.clone())
}

/// Name of a pod, with its namespace where the name that is looked for has one.
fn name_like(pod: &cri::PodSandbox, wanted: &str) -> String {
    match &pod.metadata {
        Some(metadata) if wanted.contains('/') => {
            format!("{}/{}", metadata.namespace, metadata.name)
        }
        _ => pod_name(pod),
    }
}

/// Finds a container by POD/CONTAINER, NAMESPACE/POD/CONTAINER or id.
pub(super) async fn container(
    daemon: &mut Daemon,
    name: &str,
) -> Result<cri::Container, SelectError> {
    let mut all = containers(daemon).await?;
    let mut wanted = name;
    if let Some((pod_part, container_part)) = name.rsplit_once('/') {
        let pod = pod(daemon, pod_part).await?;
        all.retain(|container| container.pod_sandbox_id == pod.id);
        wanted = container_part;
    }
    let named = |container: &cri::Container| {
        (
            container.id.clone(),
            container_name(container),
            container.created_at,
        )
    };
    Ok(find("container", wanted, &all, named)?.clone())
}

/// The object that `stop`, `rm` and `inspect` take: a pod or a container.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The name means a pod.
    Pod(cri::PodSandbox),
    /// The name means a container.
    Container(cri::Container),
}

/// Finds a pod by NAME or NAMESPACE/NAME, a container by POD/CONTAINER, or either by id. The bare name of a container is
/// not enough, because containers of many pods may have it.
pub(super) async fn target(daemon: &mut Daemon, name: &str) -> Result<Target, SelectError> {
    if name.contains('/') {
        return match container(daemon, name).await {
            Ok(found) => Ok(Target::Container(found)),
            Err(error) => pod(daemon, name).await.map(Target::Pod).map_err(|_| error),
        };
    }
    let pods = pods(daemon).await?.into_iter().map(Target::Pod);
    let containers = containers(daemon).await?.into_iter();
    let all: Vec<_> = pods.chain(containers.map(Target::Container)).collect();
    let describe = |target: &Target| match target {
        Target::Pod(pod) => (pod.id.clone(), pod_name(pod), pod.created_at),
        Target::Container(one) => (one.id.clone(), one.id.clone(), one.created_at),
    };
    Ok(find("pod or container", name, &all, describe)?.clone())
}

#[cfg(test)]
mod tests {
    use super::{SelectError, find};

    #[test]
    fn a_name_wins_over_an_id_and_the_newest_over_the_older() {
        let items = [("abc1", "web", 1), ("abc2", "web", 2), ("web", "other", 3)];
        let describe = |item: &(&str, &str, i64)| (item.0.to_owned(), item.1.to_owned(), item.2);
        assert_eq!(find("pod", "web", &items, describe).unwrap().0, "abc2");
        assert_eq!(find("pod", "abc1", &items, describe).unwrap().2, 1);
        assert!(matches!(
            find("pod", "abc", &items, describe),
            Err(SelectError::Several { .. })
        ));
        assert!(matches!(
            find("pod", "", &items, describe),
            Err(SelectError::None { .. })
        ));
    }
}
