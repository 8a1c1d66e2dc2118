//! Metrics of pods and containers.

use cri_api::runtime::v1 as cri;
use tonic::Response;

use crate::cri::convert;
use crate::cri::node::Node;
use crate::cri::observe::{Answer, observe};

/// Lists the names and help texts of the pod metrics.
pub(super) async fn descriptors(
    _: &Node,
    _: cri::ListMetricDescriptorsRequest,
) -> Answer<cri::ListMetricDescriptorsResponse> {
    let descriptors = convert::descriptors();
    Ok(Response::new(cri::ListMetricDescriptorsResponse {
        descriptors,
    }))
}

/// Lists the metrics of all pods.
pub(super) async fn list(
    node: &Node,
    _: cri::ListPodSandboxMetricsRequest,
) -> Answer<cri::ListPodSandboxMetricsResponse> {
    observe("ListPodSandboxMetrics", "all pods", async {
        let pod_metrics = items(node).await?;
        Ok(cri::ListPodSandboxMetricsResponse { pod_metrics })
    })
    .await
}

/// The metrics of all pods that run.
pub(super) async fn items(node: &Node) -> Result<Vec<cri::PodSandboxMetrics>, tonic::Status> {
    let (pods, store) = node.pods.measure().await?;
    let metrics = pods
        .iter()
        .map(|pod| convert::pod_metrics(pod, store.as_ref()));
    Ok(metrics.collect())
}
