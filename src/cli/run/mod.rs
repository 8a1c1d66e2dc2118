//! `holdfast run`: from a manifest to running containers.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use cri_api::runtime::v1 as cri;
use sha2::{Digest, Sha256};

use super::connect::Daemon;
use super::{CliError, images, out, select, stop};

mod directories;
mod manifest;

pub use directories::DirectoryError;
pub(super) use directories::delete as delete_directories;
pub use manifest::ManifestError;
pub(super) use manifest::{GRACE_ANNOTATION, MANIFEST_ANNOTATION};
use manifest::{Manifest, PlannedContainer, PodPlan, PullPolicy};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast run pods/two-containers.yaml")]
pub struct RunArgs {
    /// The manifest, or - for standard input.
    pub file: PathBuf,
    /// Remove a pod of the same name and namespace first.
    #[arg(long)]
    pub replace: bool,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Where directories of pods are made.
#[derive(Debug, Args, Clone)]
pub struct RootArgs {
    /// Directory of the pods' logs.
    #[arg(long, default_value = "/var/log/pods")]
    pub log_root: PathBuf,
    /// Directory of emptyDir volumes.
    #[arg(long, default_value = "/var/lib/holdfast-volumes")]
    pub volume_root: PathBuf,
    /// Directory of emptyDir volumes with medium Memory; it has to be on a tmpfs.
    #[arg(long, default_value = "/run/holdfast-volumes")]
    pub memory_volume_root: PathBuf,
}

/// The largest manifest, in bytes; etcd takes no larger object.
const LARGEST_MANIFEST: u64 = 1536 << 10;

/// Reads the manifest and plans the pod. Nothing is asked of the daemon.
pub(super) fn prepare(args: &RunArgs) -> Result<PodPlan, CliError> {
    let file = args.file.display().to_string();
    let text = read(&args.file).map_err(CliError::io(format!("read {file}")))?;
    plan(&text, args).map_err(|source| CliError::Manifest { file, source })
}

fn plan(text: &str, args: &RunArgs) -> Result<PodPlan, ManifestError> {
    let manifest = Manifest::parse(text)?;
    let namespace = manifest.metadata.namespace.as_deref().unwrap_or("default");
    let uid = uid(namespace, &manifest.metadata.name);
    let mut plan = PodPlan::new(&manifest, &uid, &args.roots.roots())?;
    directories::record(&mut plan.sandbox, &args.roots);
    Ok(plan)
}

fn read(file: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(fs::File::open(file)?)
    };
    let mut text = String::new();
    input.take(LARGEST_MANIFEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_MANIFEST {
        return Err(io::Error::other("a manifest has 1.5 MiB at most"));
    }
    Ok(text)
}

/// A uid that follows from the name: running a file twice means the same pod.
fn uid(namespace: &str, name: &str) -> String {
    let digits = hex::encode(Sha256::digest(format!("{namespace}/{name}")));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32],
    ];
    parts.join("-")
}

/// Runs a planned pod and prints its id.
pub(super) async fn run(
    mut daemon: Daemon,
    args: RunArgs,
    plan: PodPlan,
) -> Result<ExitCode, CliError> {
    let metadata = plan.sandbox.metadata.clone().unwrap_or_default();
    if args.replace {
        replace(&mut daemon, &metadata, &args).await?;
    }
    for container in &plan.containers {
        provide_image(&mut daemon, container).await?;
    }
    directories::make(&plan.directories)?;
    let request = cri::RunPodSandboxRequest {
        config: Some(plan.sandbox.clone()),
        runtime_handler: plan.runtime_handler.clone(),
    };
    let operation = format!("run the pod {}", metadata.name);
    let reply = daemon
        .runtime
        .run_pod_sandbox(request)
        .await
        .map_err(CliError::refused(operation))?;
    let id = reply.into_inner().pod_sandbox_id;
    for container in plan.containers {
        start(&mut daemon, &id, &plan.sandbox, container).await?;
    }
    out::line(&id)?;
    Ok(ExitCode::SUCCESS)
}

async fn replace(
    daemon: &mut Daemon,
    metadata: &cri::PodSandboxMetadata,
    args: &RunArgs,
) -> Result<(), CliError> {
    for old in select::pods(daemon).await? {
        let same = |old: &cri::PodSandboxMetadata| {
            old.name == metadata.name && old.namespace == metadata.namespace
        };
        if old.metadata.as_ref().is_some_and(same) {
            stop::remove_pod(daemon, &old, 0, &args.roots).await?;
        }
    }
    Ok(())
}

async fn provide_image(daemon: &mut Daemon, container: &PlannedContainer) -> Result<(), CliError> {
    let name = container
        .config
        .image
        .as_ref()
        .map(|image| image.image.as_str())
        .unwrap_or_default();
    let mut present = images::status(daemon, name).await?;
    let pull = match container.pull {
        PullPolicy::Always => true,
        PullPolicy::IfNotPresent => present.is_none(),
        // CreateContainer says that it is missing.
        PullPolicy::Never => false,
    };
    if pull {
        images::fetch(daemon, name).await?;
        present = images::status(daemon, name).await?;
    }
    match present {
        Some(image) if container.non_root && runs_as_root(&container.config, &image) => {
            Err(CliError::Root(container_name(&container.config)))
        }
        _ => Ok(()),
    }
}

/// Whether the first process would have user id 0. A name other than root is taken at its word, since only
/// the image's files say what it means; the kubelet refuses names altogether.
fn runs_as_root(config: &cri::ContainerConfig, image: &cri::Image) -> bool {
    let context = config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref());
    let requested = context.and_then(|context| context.run_as_user);
    match (requested, image.uid) {
        (Some(user), _) | (None, Some(user)) => user.value == 0,
        (None, None) => matches!(image.username.as_str(), "" | "root"),
    }
}

fn container_name(config: &cri::ContainerConfig) -> String {
    config
        .metadata
        .as_ref()
        .map(|metadata| metadata.name.clone())
        .unwrap_or_default()
}

async fn start(
    daemon: &mut Daemon,
    pod: &str,
    sandbox: &cri::PodSandboxConfig,
    container: PlannedContainer,
) -> Result<(), CliError> {
    let name = container_name(&container.config);
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(container.config),
        sandbox_config: Some(sandbox.clone()),
    };
    let operation = format!("create the container {name}");
    let reply = daemon
        .runtime
        .create_container(request)
        .await
        .map_err(CliError::refused(operation))?;
    let request = cri::StartContainerRequest {
        container_id: reply.into_inner().container_id,
    };
    let operation = format!("start the container {name}");
    daemon
        .runtime
        .start_container(request)
        .await
        .map_err(CliError::refused(operation))?;
    Ok(())
}
