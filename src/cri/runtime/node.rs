//! What the runtime is and how it does.

use cri_api::runtime::v1 as cri;
use tonic::Response;
use tracing::info;

use crate::cgroup::Driver;
use crate::cri::convert::RUNTIME_HANDLER;
use crate::cri::observe::Answer;
use crate::cri::{Node, RUNTIME_NAME, info};

/// Version of the kubelet's side of the API; both older runtimes answer this.
const KUBELET_API: &str = "0.1.0";

/// Version of the CRI.
const RUNTIME_API: &str = "v1";

pub(super) async fn version(_: &Node, _: cri::VersionRequest) -> Answer<cri::VersionResponse> {
    Ok(Response::new(cri::VersionResponse {
        version: KUBELET_API.to_owned(),
        runtime_name: RUNTIME_NAME.to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: RUNTIME_API.to_owned(),
    }))
}

pub(super) async fn status(
    node: &Node,
    request: cri::StatusRequest,
) -> Answer<cri::StatusResponse> {
    let user_namespaces = node.pods.user_namespace_problem().is_none();
    let features = cri::RuntimeHandlerFeatures {
        recursive_read_only_mounts: node.facts.recursive_read_only,
        // It stands for idmapped mounts as well, which volumes need in such a pod.
        user_namespaces,
    };
    let handler = |name: &str| cri::RuntimeHandler {
        name: name.to_owned(),
        features: Some(features),
    };
    let network = node.pods.network_problem().await;
    Ok(Response::new(cri::StatusResponse {
        status: Some(cri::RuntimeStatus {
            conditions: vec![runtime_ready(node).await, network_ready(&network)],
        }),
        info: if request.verbose {
            info::node(&node.pods, &node.facts.config)
        } else {
            Default::default()
        },
        // The default handler is listed by its name and by the empty one: kubelets look up both.
        runtime_handlers: vec![handler(""), handler(RUNTIME_HANDLER)],
        features: Some(cri::RuntimeFeatures {
            supplemental_groups_policy: true,
            user_namespaces_host_network: user_namespaces,
        }),
    }))
}

/// Whether pods can be run at all.
async fn runtime_ready(node: &Node) -> cri::RuntimeCondition {
    let problem = node.pods.check().await.err();
    cri::RuntimeCondition {
        r#type: "RuntimeReady".to_owned(),
        status: problem.is_none(),
        reason: problem
            .as_ref()
            .map_or("", |_| "RuntimeUnusable")
            .to_owned(),
        message: problem.map_or_else(String::new, |error| crate::pod::chain(&error)),
    }
}

fn network_ready(network_problem: &str) -> cri::RuntimeCondition {
    let ready = network_problem.is_empty();
    let reason = if ready { "" } else { "NetworkPluginNotReady" };
    cri::RuntimeCondition {
        r#type: "NetworkReady".to_owned(),
        status: ready,
        reason: reason.to_owned(),
        message: network_problem.to_owned(),
    }
}

pub(super) async fn runtime_config(
    node: &Node,
    _: cri::RuntimeConfigRequest,
) -> Answer<cri::RuntimeConfigResponse> {
    let driver = match node.pods.cgroup_driver() {
        Driver::Cgroupfs => cri::CgroupDriver::Cgroupfs,
        Driver::Systemd => cri::CgroupDriver::Systemd,
    };
    let linux = cri::LinuxRuntimeConfiguration {
        cgroup_driver: driver.into(),
    };
    Ok(Response::new(cri::RuntimeConfigResponse {
        linux: Some(linux),
    }))
}

/// The pod CIDR of a kubelet is for network plugins that take ranges; the built-in network has its own from
/// the configuration.
pub(super) async fn update_runtime_config(
    node: &Node,
    request: cri::UpdateRuntimeConfigRequest,
) -> Answer<cri::UpdateRuntimeConfigResponse> {
    let network = request
        .runtime_config
        .and_then(|config| config.network_config);
    if let Some(pod_cidr) = network
        .map(|network| network.pod_cidr)
        .filter(|cidr| !cidr.is_empty())
    {
        node.pods.set_ranges(&pod_cidr).await?;
        info!(%pod_cidr, "later pods get it from the network plugins that take ranges");
    }
    Ok(Response::new(cri::UpdateRuntimeConfigResponse {}))
}
