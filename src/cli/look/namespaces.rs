//! `holdfast ns` and `holdfast enter`: which namespaces a pod's processes are in, and how to get there.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use clap::Args;
use cri_api::holdfast::v1::process_namespaces::Role;
use cri_api::holdfast::v1::{PodNamespacesRequest, ProcessNamespaces};
use cri_api::runtime::v1 as cri;

use crate::cli::connect::Daemon;
use crate::cli::out::{self, table};
use crate::cli::{CliError, select};

/// Arguments of `ns`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast ns two-containers")]
pub struct NsArgs {
    /// Name or id.
    pub pod: String,
}

/// Arguments of `enter`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast enter two-containers/a")]
pub struct EnterArgs {
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
}

/// Kinds of namespaces, those that a pod shares first.
const KINDS: [&str; 8] = ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user", "time"];

/// Shows the namespaces of a pod by inode number.
pub(in crate::cli) async fn ns(mut daemon: Daemon, args: NsArgs) -> Result<(), CliError> {
    let name = &args.pod;
    let pod = select::pod(&mut daemon, name).await?;
    let request = PodNamespacesRequest {
        pod_sandbox_id: pod.id,
    };
    let operation = format!("look at the namespaces of {name}");
    let reply = daemon
        .holdfast
        .pod_namespaces(request)
        .await
        .map_err(CliError::refused(operation))?;
    let processes = reply.into_inner().processes;
    let host = own_namespaces();
    let mut headings = vec!["PROCESS", "PID"];
    headings.extend(KINDS);
    let mut out = table::new(&headings);
    let pause = processes
        .iter()
        .find(|process| process.role() == Role::Pause);
    for process in &processes {
        let name = match process.role() {
            Role::Pause => "pause".to_owned(),
            Role::Container | Role::Unspecified => process.name.clone(),
        };
        let cells = KINDS.iter().map(|kind| cell(kind, process, pause, &host));
        out.add_row([name, process.pid.to_string()].into_iter().chain(cells));
    }
    table::print(&out)?;
    out::line("\n= the same as the pause's    host: the same as the machine's    otherwise its own")
}

fn cell(
    kind: &str,
    process: &ProcessNamespaces,
    pause: Option<&ProcessNamespaces>,
    host: &HashMap<&'static str, u64>,
) -> String {
    let Some(inode) = process.inodes.get(kind) else {
        return "-".to_owned();
    };
    if host.get(kind) == Some(inode) {
        return format!("{inode} host");
    }
    let of_pause = pause.and_then(|pause| pause.inodes.get(kind));
    if process.role() != Role::Pause && of_pause == Some(inode) {
        return format!("{inode} =");
    }
    inode.to_string()
}

/// Namespaces of the machine's first process; without the right to see them, those of this process.
fn own_namespaces() -> HashMap<&'static str, u64> {
    let inode = |kind: &'static str| {
        let metadata = std::fs::metadata(format!("/proc/1/ns/{kind}"))
            .or_else(|_| std::fs::metadata(format!("/proc/self/ns/{kind}")));
        Some((kind, metadata.ok()?.ino()))
    };
    KINDS.into_iter().filter_map(inode).collect()
}

/// Prints a command that enters a container.
pub(in crate::cli) async fn enter(
    mut daemon: Daemon,
    args: EnterArgs,
) -> Result<ExitCode, CliError> {
    let container = select::container(&mut daemon, &args.container).await?;
    let request = cri::ContainerStatusRequest {
        container_id: container.id.clone(),
        verbose: true,
    };
    let reply = daemon
        .runtime
        .container_status(request)
        .await
        .map_err(CliError::refused("look at the container"))?
        .into_inner();
    let info = reply
        .info
        .get("info")
        .map(String::as_str)
        .unwrap_or_default();
    let pid = serde_json::from_str::<serde_json::Value>(info)
        .ok()
        .and_then(|info| info.get("pid")?.as_i64())
        .filter(|pid| *pid > 0)
        .ok_or(CliError::NotRunning(container.id))?;
    out::line(&format!(
        "nsenter --target {pid} --mount --uts --ipc --net --pid --cgroup --root --wd /bin/sh"
    ))?;
    Ok(ExitCode::SUCCESS)
}
