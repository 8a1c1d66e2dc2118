//! Handlers of the CRI's `RuntimeService`, in a module for each subject.
//!
//! The trait has all methods, so all of them are listed here. Each calls a function of `pods`, `containers`,
//! `streaming`, `stats`, `metrics`, `events` or `node`. Methods that are not listed answer UNIMPLEMENTED.

mod containers;
mod events;
mod metrics;
mod node;
mod pods;
mod stats;
mod streaming;

use cri_api::runtime::v1 as cri;
use cri_api::runtime::v1::runtime_service_server::RuntimeService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response};

use super::batch;
use super::node::Node;
use super::observe::Answer;

/// The runtime service of the CRI.
pub(super) struct Runtime(pub Node);

/// Methods that only hand the message over.
macro_rules! handlers {
    ($($method:ident => $place:ident::$function:ident($request:ident) -> $reply:ident;)*) => {
        #[tonic::async_trait]
        impl RuntimeService for Runtime {
            $(async fn $method(&self, request: Request<cri::$request>) -> Answer<cri::$reply> {
                $place::$function(&self.0, request.into_inner()).await
            })*

            async fn get_container_events(
                &self,
                request: Request<cri::GetEventsRequest>,
            ) -> Answer<BoxStream<cri::ContainerEventResponse>> {
                events::listen(&self.0, request.into_inner()).await
            }

            async fn stream_pod_sandboxes(
                &self,
                request: Request<cri::StreamPodSandboxesRequest>,
            ) -> Answer<BoxStream<cri::StreamPodSandboxesResponse>> {
                let items = pods::items(&self.0, request.into_inner().filter)?;
                let message = |pod_sandboxes| cri::StreamPodSandboxesResponse { pod_sandboxes };
                Ok(Response::new(batch::stream(items, message)))
            }

            async fn stream_containers(
                &self,
                request: Request<cri::StreamContainersRequest>,
            ) -> Answer<BoxStream<cri::StreamContainersResponse>> {
                let items = containers::items(&self.0, request.into_inner().filter)?;
                let message = |containers| cri::StreamContainersResponse { containers };
                Ok(Response::new(batch::stream(items, message)))
            }

            async fn stream_container_stats(
                &self,
                request: Request<cri::StreamContainerStatsRequest>,
            ) -> Answer<BoxStream<cri::StreamContainerStatsResponse>> {
                let items = stats::items(&self.0, request.into_inner().filter).await;
                let message = |container_stats| cri::StreamContainerStatsResponse { container_stats };
                Ok(Response::new(batch::stream(items, message)))
            }

            async fn stream_pod_sandbox_stats(
                &self,
                request: Request<cri::StreamPodSandboxStatsRequest>,
            ) -> Answer<BoxStream<cri::StreamPodSandboxStatsResponse>> {
                let items = stats::pod_items(&self.0, request.into_inner().filter).await;
                let message = |pod_sandbox_stats| cri::StreamPodSandboxStatsResponse { pod_sandbox_stats };
                Ok(Response::new(batch::stream_by(batch::METRICS_PER_MESSAGE, items, message)))
            }

            async fn stream_pod_sandbox_metrics(
                &self,
                _: Request<cri::StreamPodSandboxMetricsRequest>,
            ) -> Answer<BoxStream<cri::StreamPodSandboxMetricsResponse>> {
                let items = metrics::items(&self.0).await?;
                let message = |pod_sandbox_metrics| cri::StreamPodSandboxMetricsResponse { pod_sandbox_metrics };
                Ok(Response::new(batch::stream_by(batch::METRICS_PER_MESSAGE, items, message)))
            }
        }
    };
}

handlers! {
    version => node::version(VersionRequest) -> VersionResponse;
    status => node::status(StatusRequest) -> StatusResponse;
    runtime_config => node::runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
    update_runtime_config => node::update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
    run_pod_sandbox => pods::run(RunPodSandboxRequest) -> RunPodSandboxResponse;
    stop_pod_sandbox => pods::stop(StopPodSandboxRequest) -> StopPodSandboxResponse;
    remove_pod_sandbox => pods::remove(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    update_pod_sandbox_resources => pods::update(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse;
    pod_sandbox_status => pods::status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    list_pod_sandbox => pods::list(ListPodSandboxRequest) -> ListPodSandboxResponse;
    create_container => containers::create(CreateContainerRequest) -> CreateContainerResponse;
    start_container => containers::start(StartContainerRequest) -> StartContainerResponse;
    stop_container => containers::stop(StopContainerRequest) -> StopContainerResponse;
    remove_container => containers::remove(RemoveContainerRequest) -> RemoveContainerResponse;
    list_containers => containers::list(ListContainersRequest) -> ListContainersResponse;
    container_status => containers::status(ContainerStatusRequest) -> ContainerStatusResponse;
    update_container_resources => containers::update(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    reopen_container_log => containers::reopen_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    exec => streaming::exec(ExecRequest) -> ExecResponse;
    attach => streaming::attach(AttachRequest) -> AttachResponse;
    port_forward => streaming::port_forward(PortForwardRequest) -> PortForwardResponse;
    exec_sync => containers::exec_sync(ExecSyncRequest) -> ExecSyncResponse;
    container_stats => stats::container(ContainerStatsRequest) -> ContainerStatsResponse;
    list_container_stats => stats::list(ListContainerStatsRequest) -> ListContainerStatsResponse;
    pod_sandbox_stats => stats::pod(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
    list_pod_sandbox_stats => stats::list_pods(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
    list_metric_descriptors => metrics::descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
    list_pod_sandbox_metrics => metrics::list(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
}
