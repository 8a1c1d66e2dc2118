//! Handlers of calls about pod sandboxes.

use std::collections::HashMap;

use cri_api::runtime::v1 as cri;
use tonic::{Response, Status};

use crate::cri::convert::{self, PodQuery};
use crate::cri::node::Node;
use crate::cri::observe::{Answer, observe};
use crate::cri::{info, status};
use crate::pod::PodSnapshot;

/// Makes a pod sandbox.
pub(super) async fn run(
    node: &Node,
    request: cri::RunPodSandboxRequest,
) -> Answer<cri::RunPodSandboxResponse> {
    let metadata = request
        .config
        .as_ref()
        .and_then(|config| config.metadata.as_ref());
    let name = metadata
        .map(|pod| format!("{}/{}", pod.namespace, pod.name))
        .unwrap_or_default();
    observe("RunPodSandbox", name, async {
        let config = convert::pod_config(&request)?;
        let id = node.pods.run_pod(config).await.map_err(status::shared)?;
        Ok(cri::RunPodSandboxResponse {
            pod_sandbox_id: id.to_string(),
        })
    })
    .await
}

/// Stops a pod sandbox and all its containers.
pub(super) async fn stop(
    node: &Node,
    request: cri::StopPodSandboxRequest,
) -> Answer<cri::StopPodSandboxResponse> {
    let id = request.pod_sandbox_id;
    observe("StopPodSandbox", &id, async {
        node.pods.stop_pod(&id).await.map_err(status::shared)?;
        Ok(cri::StopPodSandboxResponse {})
    })
    .await
}

/// Removes a pod sandbox; one that runs is stopped first.
pub(super) async fn remove(
    node: &Node,
    request: cri::RemovePodSandboxRequest,
) -> Answer<cri::RemovePodSandboxResponse> {
    let id = request.pod_sandbox_id;
    observe("RemovePodSandbox", &id, async {
        node.pods.remove_pod(&id).await.map_err(status::shared)?;
        Ok(cri::RemovePodSandboxResponse {})
    })
    .await
}

/// Records the resources of a pod, which the kubelet itself writes to the cgroup.
pub(super) async fn update(
    node: &Node,
    request: cri::UpdatePodSandboxResourcesRequest,
) -> Answer<cri::UpdatePodSandboxResourcesResponse> {
    let id = request.pod_sandbox_id.clone();
    observe("UpdatePodSandboxResources", &id, async {
        let resources = convert::pod_resources(&request)?;
        node.pods
            .update_pod_resources(&id, resources)
            .await
            .map_err(status::shared)?;
        Ok(cri::UpdatePodSandboxResourcesResponse {})
    })
    .await
}

/// Returns the status of a pod and of its containers.
pub(super) async fn status(
    node: &Node,
    request: cri::PodSandboxStatusRequest,
) -> Answer<cri::PodSandboxStatusResponse> {
    let id = request.pod_sandbox_id;
    observe("PodSandboxStatus", &id, async {
        let pod = node.pods.pod(&id)?;
        let info = request.verbose.then(|| info::pod(&node.pods, &pod.pod));
        Ok(status_response(&pod, info.unwrap_or_default()))
    })
    .await
}

fn status_response(
    pod: &PodSnapshot,
    info: HashMap<String, String>,
) -> cri::PodSandboxStatusResponse {
    let containers = pod.containers.values();
    cri::PodSandboxStatusResponse {
        status: Some(convert::pod_status(&pod.pod)),
        info,
        containers_statuses: containers
            .map(|record| convert::container_status(record))
            .collect(),
        // A kubelet with the gate EventedPLEG takes the containers from this answer when it is stamped, and then
        // never learns of running init containers (`GetPodStatus` of kubernetes v1.37 and v1.38.0-beta.0): it
        // starts a sidecar again and again. Without a stamp it asks for each container. containerd 2.4 sets none
        // either, and a request has no way to ask for one.
        timestamp: 0,
    }
}

/// Lists the pods that a filter lets through.
pub(super) async fn list(
    node: &Node,
    request: cri::ListPodSandboxRequest,
) -> Answer<cri::ListPodSandboxResponse> {
    let items = items(node, request.filter)?;
    Ok(Response::new(cri::ListPodSandboxResponse { items }))
}

/// The pods that a filter lets through.
pub(super) fn items(
    node: &Node,
    filter: Option<cri::PodSandboxFilter>,
) -> Result<Vec<cri::PodSandbox>, Status> {
    let query = PodQuery::new(filter)?;
    let pods = node.pods.pods();
    let wanted = pods.iter().map(|snapshot| &snapshot.pod).filter(|pod| {
        query.matches(
            &pod.id.to_string(),
            convert::pod_state(pod),
            &pod.config.labels,
        )
    });
    Ok(wanted.map(|pod| convert::pod_item(pod)).collect())
}
