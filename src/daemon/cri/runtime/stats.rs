//! Statistics of containers and of pods.

use cri_api::runtime::v1 as cri;
use tonic::Response;

use crate::cri::convert::{self, ContainerQuery, PodQuery};
use crate::cri::node::Node;
use crate::cri::observe::{Answer, observe};
use holdfast_kernel::id::ContainerId;

/// Returns the statistics of a container.
pub(super) async fn container(
    node: &Node,
    request: cri::ContainerStatsRequest,
) -> Answer<cri::ContainerStatsResponse> {
    let id = request.container_id;
    observe("ContainerStats", &id, async {
        let stats = node.pods.container_stats(&id).await?;
        let layers = node.facts.containers_dir.to_string_lossy();
        Ok(cri::ContainerStatsResponse {
            stats: Some(convert::container_stats(&stats, &layers)),
        })
    })
    .await
}

/// Lists the statistics of running containers.
pub(super) async fn list(
    node: &Node,
    request: cri::ListContainerStatsRequest,
) -> Answer<cri::ListContainerStatsResponse> {
    let stats = items(node, request.filter).await;
    Ok(Response::new(cri::ListContainerStatsResponse { stats }))
}

/// Statistics of the containers that a filter lets through. Those that do not run have none and are left out.
pub(super) async fn items(
    node: &Node,
    filter: Option<cri::ContainerStatsFilter>,
) -> Vec<cri::ContainerStats> {
    let ids = running(node, &ContainerQuery::of_stats(filter));
    let layers = node.facts.containers_dir.to_string_lossy();
    let stats = node.pods.all_stats(ids).await;
    stats
        .iter()
        .map(|stats| convert::container_stats(stats, &layers))
        .collect()
}

/// Identifiers of the running containers that a query matches.
fn running(node: &Node, query: &ContainerQuery) -> Vec<ContainerId> {
    let mut ids = Vec::new();
    for pod in node.pods.pods() {
        if !query.matches_pod(&pod.pod.id.to_string()) {
            continue;
        }
        let wanted = pod.containers.values().filter(|record| {
            let state = convert::container_state(record);
            state == cri::ContainerState::ContainerRunning
                && query.matches(&record.id.to_string(), state, &record.config.labels)
        });
        ids.extend(wanted.map(|record| record.id));
    }
    ids
}

/// Returns the statistics of a pod.
pub(super) async fn pod(
    node: &Node,
    request: cri::PodSandboxStatsRequest,
) -> Answer<cri::PodSandboxStatsResponse> {
    let id = request.pod_sandbox_id;
    observe("PodSandboxStats", &id, async {
        let stats = node.pods.pod_stats(&id).await?;
        let layers = node.facts.containers_dir.to_string_lossy();
        Ok(cri::PodSandboxStatsResponse {
            stats: Some(convert::pod_stats(&stats, &layers)),
        })
    })
    .await
}

/// Lists the statistics of pods.
pub(super) async fn list_pods(
    node: &Node,
    request: cri::ListPodSandboxStatsRequest,
) -> Answer<cri::ListPodSandboxStatsResponse> {
    let stats = pod_items(node, request.filter).await;
    Ok(Response::new(cri::ListPodSandboxStatsResponse { stats }))
}

/// Statistics of the pods that a filter lets through. Those that are not ready have none and are left out.
pub(super) async fn pod_items(
    node: &Node,
    filter: Option<cri::PodSandboxStatsFilter>,
) -> Vec<cri::PodSandboxStats> {
    let query = PodQuery::of_stats(filter);
    let mut pods = node.pods.pods();
    pods.retain(|pod| {
        let state = convert::pod_state(&pod.pod);
        state == cri::PodSandboxState::SandboxReady
            && query.matches(&pod.pod.id.to_string(), state, &pod.pod.config.labels)
    });
    let layers = node.facts.containers_dir.to_string_lossy();
    let stats = node.pods.all_pod_stats(pods).await;
    stats
        .iter()
        .map(|stats| convert::pod_stats(stats, &layers))
        .collect()
}
