//! Handlers of calls about containers.

use std::time::Duration;

use cri_api::runtime::v1 as cri;
use tonic::{Response, Status};

use crate::cri::convert::{self, ContainerQuery, FieldError};
use crate::cri::node::Node;
use crate::cri::observe::{Answer, observe};
use crate::cri::{info, status};

/// Creates a container in a pod.
pub(super) async fn create(
    node: &Node,
    request: cri::CreateContainerRequest,
) -> Answer<cri::CreateContainerResponse> {
    let pod = request.pod_sandbox_id.clone();
    observe("CreateContainer", &pod, async {
        let snapshot = node.pods.pod(&pod)?;
        let config = convert::container_config(&request, &snapshot.pod.config.namespaces)?;
        let id = node
            .pods
            .create_container(&pod, config)
            .await
            .map_err(status::shared)?;
        Ok(cri::CreateContainerResponse {
            container_id: id.to_string(),
        })
    })
    .await
}

/// Starts a created container, and waits until its program runs.
pub(super) async fn start(
    node: &Node,
    request: cri::StartContainerRequest,
) -> Answer<cri::StartContainerResponse> {
    let id = request.container_id;
    observe("StartContainer", &id, async {
        node.pods
            .start_container(&id)
            .await
            .map_err(status::shared)?;
        Ok(cri::StartContainerResponse {})
    })
    .await
}

/// Seconds of a request. The protocol has no meaning for negative ones.
fn seconds(seconds: i64) -> Result<Duration, FieldError> {
    let remedy = "give a number of seconds from 0";
    let seconds =
        u64::try_from(seconds).map_err(|_| FieldError::invalid("timeout", seconds, remedy))?;
    Ok(Duration::from_secs(seconds))
}

/// Stops a container within the grace period of the request.
pub(super) async fn stop(
    node: &Node,
    request: cri::StopContainerRequest,
) -> Answer<cri::StopContainerResponse> {
    let id = request.container_id;
    observe("StopContainer", &id, async {
        let grace = seconds(request.timeout)?;
        node.pods
            .stop_container(&id, grace)
            .await
            .map_err(status::shared)?;
        Ok(cri::StopContainerResponse {})
    })
    .await
}

/// Removes a container; a running one is killed first.
pub(super) async fn remove(
    node: &Node,
    request: cri::RemoveContainerRequest,
) -> Answer<cri::RemoveContainerResponse> {
    let id = request.container_id;
    observe("RemoveContainer", &id, async {
        node.pods
            .remove_container(&id)
            .await
            .map_err(status::shared)?;
        Ok(cri::RemoveContainerResponse {})
    })
    .await
}

/// Lists the containers that a filter lets through.
pub(super) async fn list(
    node: &Node,
    request: cri::ListContainersRequest,
) -> Answer<cri::ListContainersResponse> {
    let containers = items(node, request.filter)?;
    Ok(Response::new(cri::ListContainersResponse { containers }))
}

/// The containers that a filter lets through.
pub(super) fn items(
    node: &Node,
    filter: Option<cri::ContainerFilter>,
) -> Result<Vec<cri::Container>, Status> {
    let query = ContainerQuery::new(filter)?;
    let mut items = Vec::new();
    for pod in node.pods.pods() {
        if !query.matches_pod(&pod.pod.id.to_string()) {
            continue;
        }
        let wanted = pod.containers.values().filter(|record| {
            let state = convert::container_state(record);
            query.matches(&record.id.to_string(), state, &record.config.labels)
        });
        items.extend(wanted.map(|record| convert::container_item(record)));
    }
    Ok(items)
}

/// Returns the status of a container, and with `verbose` its Spec and its process.
pub(super) async fn status(
    node: &Node,
    request: cri::ContainerStatusRequest,
) -> Answer<cri::ContainerStatusResponse> {
    let id = request.container_id;
    observe("ContainerStatus", &id, async {
        let (_, record) = node.pods.container(&id)?;
        let info = request
            .verbose
            .then(|| info::container(&node.pods, &record));
        Ok(cri::ContainerStatusResponse {
            status: Some(convert::container_status(&record)),
            info: info.unwrap_or_default(),
        })
    })
    .await
}

/// Changes the resource limits of a container.
pub(super) async fn update(
    node: &Node,
    request: cri::UpdateContainerResourcesRequest,
) -> Answer<cri::UpdateContainerResourcesResponse> {
    let id = request.container_id;
    observe("UpdateContainerResources", &id, async {
        let resources = convert::resources("linux", request.linux.as_ref())?;
        node.pods
            .update_resources(&id, resources)
            .await
            .map_err(status::shared)?;
        Ok(cri::UpdateContainerResourcesResponse {})
    })
    .await
}

/// Lets the shim open the log file of a container anew, after a rotation.
pub(super) async fn reopen_log(
    node: &Node,
    request: cri::ReopenContainerLogRequest,
) -> Answer<cri::ReopenContainerLogResponse> {
    let id = request.container_id;
    observe("ReopenContainerLog", &id, async {
        node.pods.reopen_log(&id).await.map_err(status::shared)?;
        Ok(cri::ReopenContainerLogResponse {})
    })
    .await
}

/// Runs a command in a container and returns its output.
pub(super) async fn exec_sync(
    node: &Node,
    request: cri::ExecSyncRequest,
) -> Answer<cri::ExecSyncResponse> {
    let id = request.container_id;
    observe("ExecSync", &id, async {
        let timeout = Some(seconds(request.timeout)?).filter(|timeout| !timeout.is_zero());
        let output = node.pods.exec_sync(&id, request.cmd, timeout).await?;
        Ok(cri::ExecSyncResponse {
            stdout: output.stdout,
            stderr: output.stderr,
            exit_code: output.exit_code,
        })
    })
    .await
}
