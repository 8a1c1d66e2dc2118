//! Handlers of calls about the runtime itself: version, status and configuration.

use std::collections::HashMap;

use cri_api::runtime::v1 as cri;
use holdfast_kernel::error_chain;
use tonic::Response;
use tracing::info;

use crate::cri::convert::RUNTIME_HANDLER;
use crate::cri::info;
use crate::cri::node::{Node, RUNTIME_NAME};
use crate::cri::observe::Answer;
use crate::pod::Debt;
use holdfast_kernel::cgroup::Driver;

/// Version of the kubelet's side of the API; both older runtimes answer this.
const KUBELET_API: &str = "0.1.0";

/// Version of the CRI.
const RUNTIME_API: &str = "v1";

/// Returns the versions of the runtime and of the API.
pub(super) async fn version(_: &Node, _: cri::VersionRequest) -> Answer<cri::VersionResponse> {
    Ok(Response::new(cri::VersionResponse {
        version: KUBELET_API.to_owned(),
        runtime_name: RUNTIME_NAME.to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: RUNTIME_API.to_owned(),
    }))
}

/// Returns the conditions and the features of the node.
pub(super) async fn status(
    node: &Node,
    request: cri::StatusRequest,
) -> Answer<cri::StatusResponse> {
    let conditions = vec![
        runtime_ready(node).await,
        network_ready(&node.pods.network_problem().await),
        no_debts(&node.pods.debts()),
    ];
    let info = if request.verbose {
        info::node(&node.pods, &node.facts.config).await
    } else {
        HashMap::new()
    };
    Ok(Response::new(cri::StatusResponse {
        status: Some(cri::RuntimeStatus { conditions }),
        info,
        runtime_handlers: runtime_handlers(node),
        features: Some(runtime_features(node)),
    }))
}

/// The runtime handlers of this node. The default handler is listed by its name and by the empty name, because
/// kubelets look up both.
fn runtime_handlers(node: &Node) -> Vec<cri::RuntimeHandler> {
    let features = cri::RuntimeHandlerFeatures {
        recursive_read_only_mounts: node.pods.recursive_read_only_mounts(),
        // The feature includes idmapped mounts, which volumes of such a pod need.
        user_namespaces: node.pods.user_namespace_problem().is_none(),
        cgroup_namespaces: node.facts.cgroup_namespaces,
    };
    let handler = |name: &str| cri::RuntimeHandler {
        name: name.to_owned(),
        features: Some(features),
    };
    vec![handler(""), handler(RUNTIME_HANDLER)]
}

/// The features that kubelets ask for before they use the fields of a request.
fn runtime_features(node: &Node) -> cri::RuntimeFeatures {
    cri::RuntimeFeatures {
        supplemental_groups_policy: true,
        user_namespaces_host_network: node.pods.user_namespace_problem().is_none(),
        mount_options: true,
        // Every container can read its cgroup files; a client that sets the field wants to write them.
        cgroup_mount_mode: node.pods.cgroup_delegation(),
        seccomp_profile_oci: true,
    }
}

/// The condition RuntimeReady: whether pods can be run.
async fn runtime_ready(node: &Node) -> cri::RuntimeCondition {
    let problem = match node.pods.unreleased() {
        Some(unreleased) => Some(("ReleasingEarlierBoot", unreleased)),
        None => node.pods.check().await.err().map(|error| {
            let text = error_chain(&error);
            ("RuntimeUnusable", text)
        }),
    };
    condition("RuntimeReady", problem)
}

/// A condition that holds, or why not.
fn condition(name: &str, problem: Option<(&str, String)>) -> cri::RuntimeCondition {
    let status = problem.is_none();
    let (reason, message) = problem.unwrap_or_default();
    cri::RuntimeCondition {
        r#type: name.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
    }
}

/// The condition that nothing of stopped pods is still to be released. Kubelets show it, but it does not make a node
/// unready.
fn no_debts(debts: &[Debt]) -> cri::RuntimeCondition {
    /// Most debts that the message names.
    const NAMED: usize = 3;
    let named: Vec<String> = debts
        .iter()
        .take(NAMED)
        .map(|debt| format!("{} of pod {}: {}", debt.kind, debt.pod.short(), debt.reason))
        .collect();
    let more = match debts.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let problem = (!named.is_empty()).then(|| ("DebtsOwed", named.join("; ") + &more));
    condition("HoldfastHasNoDebts", problem)
}

fn network_ready(network_problem: &str) -> cri::RuntimeCondition {
    let problem = ("NetworkPluginNotReady", network_problem.to_owned());
    condition(
        "NetworkReady",
        (!network_problem.is_empty()).then_some(problem),
    )
}

/// Tells the kubelet which cgroup driver to use.
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
        info!(%pod_cidr, "stored the pod CIDR; network plugins that take ranges use it for later pods");
    }
    Ok(Response::new(cri::UpdateRuntimeConfigResponse {}))
}
