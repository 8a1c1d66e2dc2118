//! `holdfast pods` and `holdfast ps`.

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::out::{table, text};
use super::{CliError, select};

/// Arguments of `pods`.
#[derive(Debug, Args)]
pub struct PodsArgs {}

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {}

/// Lists containers.
pub(super) async fn containers(daemon: Daemon, _: PsArgs) -> Result<(), CliError> {
    pods(daemon, PodsArgs {}).await
}

/// Lists pods.
pub(super) async fn pods(mut daemon: Daemon, _: PodsArgs) -> Result<(), CliError> {
    let daemon = &mut daemon;
    let pods = select::pods(daemon).await?;
    let containers = select::containers(daemon).await?;
    let mut out = table::new(&["POD", "NAMESPACE", "ID", "STATE", "AGE"]);
    for pod in &pods {
        let metadata = pod.metadata.clone().unwrap_or_default();
        let state = match pod.state() {
            cri::PodSandboxState::SandboxReady => "ready",
            cri::PodSandboxState::SandboxNotready => "not ready",
        };
        let age = text::ago(pod.created_at);
        let id = text::short(&pod.id).to_owned();
        out.add_row([metadata.name, metadata.namespace, id, state.to_owned(), age]);
        for container in containers.iter().filter(|one| one.pod_sandbox_id == pod.id) {
            let name = format!("  {}", select::container_name(container));
            let id = text::short(&container.id).to_owned();
            let age = text::ago(container.created_at);
            out.add_row([
                name,
                String::new(),
                id,
                state_name(container.state()).to_owned(),
                age,
            ]);
        }
    }
    table::print(&out)
}

fn state_name(state: cri::ContainerState) -> &'static str {
    match state {
        cri::ContainerState::ContainerCreated => "created",
        cri::ContainerState::ContainerRunning => "running",
        cri::ContainerState::ContainerExited => "exited",
        cri::ContainerState::ContainerUnknown => "unknown",
    }
}
