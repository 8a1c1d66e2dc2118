//! Reads the state of a pod's sandbox from the daemon.

use cri_api::runtime::v1 as cri;

use crate::connect::Daemon;

/// A pod that is there.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub id: String,
    pub ips: Vec<String>,
    pub containers: Vec<cri::ContainerStatus>,
}

/// Looks at a pod. None when it is not ready, or not there.
pub(crate) async fn find_sandbox(
    daemon: &Daemon,
    id: &str,
) -> Result<Option<Sandbox>, tonic::Status> {
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: false,
    };
    let reply = match daemon.runtime.clone().pod_sandbox_status(request).await {
        Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
        reply => reply?.into_inner(),
    };
    let status = reply.status.unwrap_or_default();
    if status.state() != cri::PodSandboxState::SandboxReady {
        return Ok(None);
    }
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    let ips = std::iter::once(network.ip).chain(more);
    Ok(Some(Sandbox {
        id: status.id,
        ips: ips.filter(|ip| !ip.is_empty()).collect(),
        containers: reply.containers_statuses,
    }))
}
