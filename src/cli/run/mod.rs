//! `holdfast run`: from a manifest to running containers.
//!
//! ```text
//!   manifest ──▶ images (provide) ──▶ directories ──▶ RunPodSandbox ──▶ keeper until all run ──▶ id on stdout
//!                                                                          │ --watch, --rm      │ else, if needed
//!                                                                          ▼                    ▼
//!                                                              session: logs and news     keep: a process
//! ```
//!
//! What this module must never do: leave something behind of a run that failed halfway. A pod that was there
//! before is not touched then.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use cri_api::runtime::v1 as cri;
use sha2::{Digest, Sha256};

use super::connect::Daemon;
use super::{CliError, out, select, stop};

mod directories;
mod drive;
mod follow;
mod interrupt;
mod keep;
mod keeper;
mod manifest;
mod provide;
mod report;
mod screen;
mod session;

pub(crate) use directories::DirectoryError;
pub(super) use directories::delete as delete_directories;
pub(super) use drive::ask_to_stop;
use interrupt::Interrupt;
pub(super) use keep::keep;
pub(crate) use keep::{KeepArgs, KeepError};
pub(crate) use manifest::ManifestError;
pub(super) use manifest::{GRACE_ANNOTATION, MANIFEST_ANNOTATION, RESTART_ANNOTATION};
use manifest::{Known, Manifest, PodPlan};
use session::{End, Session};

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast run --watch --rm pods/two-containers.yaml")]
pub struct RunArgs {
    /// The manifest, or - for standard input.
    pub file: PathBuf,
    /// Show the logs of all containers and what happens to them, until the pod has ended. Exits with 0 when all
    /// containers have succeeded, else with 1. Ctrl-C leaves the pod running.
    #[arg(short, long)]
    pub watch: bool,
    /// Wait until the pod has ended and remove it with its directories, also after Ctrl-C.
    #[arg(long)]
    pub rm: bool,
    /// Remove a pod of the same name and namespace first.
    #[arg(long)]
    pub replace: bool,
    /// When to pull images, whatever the manifest says.
    #[arg(long, value_enum)]
    pub pull: Option<provide::Pull>,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Where directories of pods are made.
#[derive(Debug, Args, Clone)]
pub struct RootArgs {
    /// Directory of the pods' logs.
    #[arg(long, env = "HOLDFAST_LOG_ROOT", default_value = "/var/log/pods")]
    pub log_root: PathBuf,
    /// Directory of emptyDir volumes.
    #[arg(
        long,
        env = "HOLDFAST_VOLUME_ROOT",
        default_value = "/var/lib/holdfast-volumes"
    )]
    pub volume_root: PathBuf,
    /// Directory of emptyDir volumes with medium Memory; it has to be on a tmpfs.
    #[arg(
        long,
        env = "HOLDFAST_MEMORY_VOLUME_ROOT",
        default_value = "/run/holdfast-volumes"
    )]
    pub memory_volume_root: PathBuf,
}

/// The largest manifest, in bytes; etcd takes no larger object.
const LARGEST_MANIFEST: u64 = 1536 << 10;

/// Why a run ended before the pod ran.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted before all containers ran")]
    Interrupted,
    /// A container could not be started.
    #[error("cannot run the container {container}: {why}")]
    Start {
        /// Its name.
        container: String,
        /// What the daemon said.
        why: String,
    },
    /// An init container failed, and the manifest wants it tried once.
    #[error(
        "the init container {container} exited with {code}; with restartPolicy OnFailure it would be tried again"
    )]
    Init {
        /// Its name.
        container: String,
        /// Its exit code.
        code: i32,
    },
    /// The pod was stopped or removed meanwhile.
    #[error("the pod {0} was stopped or removed before all its containers ran")]
    Ended(String),
    /// The pod runs, but nobody restarts or probes its containers.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// A manifest that can be run.
#[derive(Debug)]
pub(super) struct Prepared {
    /// As it was written, for the keeper.
    text: String,
    manifest: Manifest,
    known: Known,
    roots: RootArgs,
    /// What to ask of the daemon, as long as the pod has no address.
    plan: PodPlan,
}

impl Prepared {
    fn parse(text: String, roots: &RootArgs) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(&text)?;
        let namespace = manifest.metadata.namespace.as_deref().unwrap_or("default");
        let node_name = nix::unistd::gethostname().unwrap_or_default();
        let known = Known {
            uid: uid(namespace, &manifest.metadata.name),
            roots: roots.roots(),
            node_name: node_name.to_string_lossy().into_owned(),
            pod_ips: Vec::new(),
        };
        let plan = plan(&manifest, &known, roots)?;
        Ok(Self {
            text,
            manifest,
            known,
            roots: roots.clone(),
            plan,
        })
    }

    /// The plan of a pod that has these addresses.
    fn with_addresses(&self, ips: &[String]) -> Result<PodPlan, CliError> {
        let known = Known {
            pod_ips: ips.to_vec(),
            ..self.known.clone()
        };
        plan(&self.manifest, &known, &self.roots).map_err(|source| CliError::Manifest {
            file: self.manifest.metadata.name.clone(),
            source,
        })
    }

    /// Seconds between a stop signal and SIGKILL.
    fn grace(&self) -> u32 {
        let seconds = self.manifest.spec.termination_grace_period_seconds;
        seconds.unwrap_or(stop::GRACE_SECONDS)
    }

    fn metadata(&self) -> cri::PodSandboxMetadata {
        self.plan.sandbox.metadata.clone().unwrap_or_default()
    }
}

fn plan(manifest: &Manifest, known: &Known, roots: &RootArgs) -> Result<PodPlan, ManifestError> {
    let mut plan = PodPlan::new(manifest, known)?;
    directories::record(&mut plan.sandbox, roots);
    Ok(plan)
}

/// Reads the manifest and plans the pod. Nothing is asked of the daemon.
pub(super) fn prepare(args: &RunArgs) -> Result<Prepared, CliError> {
    let file = args.file.display().to_string();
    let text = read(&args.file).map_err(CliError::io(format!("read {file}")))?;
    Prepared::parse(text, &args.roots).map_err(|source| CliError::Manifest { file, source })
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

/// Runs a prepared pod and prints its id; `socket` is the daemon's, for the keeper.
pub(super) async fn run(
    mut daemon: Daemon,
    args: RunArgs,
    prepared: Prepared,
    socket: &Path,
) -> Result<ExitCode, CliError> {
    let listening = Interrupt::new();
    let mut interrupt = listening.map_err(CliError::io("listen for signals"))?;
    let metadata = prepared.metadata();
    if args.replace {
        replace(&mut daemon, &metadata, &args).await?;
    }
    tokio::select! {
        provided = provide::images(&mut daemon, &prepared.plan, args.pull) => provided?,
        () = interrupt.next() => return Err(RunError::Interrupted.into()),
    }
    let there = find(&mut daemon, &metadata).await?;
    let made = there.is_none();
    let id = match sandbox(&mut daemon, &prepared).await {
        Ok(id) => id,
        Err(error) => {
            if made {
                directories::delete_planned(&metadata, &args.roots)?;
            }
            return Err(error);
        }
    };
    let mut session = Session::new(daemon.clone(), &args, (&prepared, socket), interrupt);
    match session.run(&id).await {
        // The pod runs; it only has no keeper.
        Err(error @ CliError::Run(RunError::Keep(_))) => Err(error),
        Err(error) if made || args.rm => {
            if let Err(failure) = remove(&mut daemon, &id, &args.roots).await {
                out::note(&format!(
                    "what was made of the pod is still there: {failure}"
                ));
            }
            Err(error)
        }
        Err(error @ CliError::Run(RunError::Interrupted)) => {
            // It was there before, and had a keeper perhaps.
            session.detach(&id).await?;
            Err(error)
        }
        Err(error) => Err(error),
        Ok(End::Done(code)) if args.rm => {
            let removed = remove(&mut daemon, &id, &args.roots).await;
            removed.map(|()| code)
        }
        Ok(End::Done(code) | End::Elsewhere(code)) => Ok(code),
    }
}

/// Makes the directories and runs the sandbox. It is not broken off: the daemon would go on with it.
async fn sandbox(daemon: &mut Daemon, prepared: &Prepared) -> Result<String, CliError> {
    let plan = &prepared.plan;
    directories::make(&plan.needed)?;
    let request = cri::RunPodSandboxRequest {
        config: Some(plan.sandbox.clone()),
        runtime_handler: plan.runtime_handler.clone(),
    };
    let operation = format!("run the pod {}", prepared.metadata().name);
    let reply = daemon.runtime.run_pod_sandbox(request).await;
    let reply = reply.map_err(CliError::refused(operation))?;
    Ok(reply.into_inner().pod_sandbox_id)
}

/// A pod that this run would join.
async fn find(
    daemon: &mut Daemon,
    metadata: &cri::PodSandboxMetadata,
) -> Result<Option<cri::PodSandbox>, CliError> {
    let pods = select::pods(daemon).await?;
    let same = |pod: &cri::PodSandbox| pod.metadata.as_ref() == Some(metadata);
    Ok(pods.into_iter().find(same))
}

async fn remove(daemon: &mut Daemon, id: &str, roots: &RootArgs) -> Result<(), CliError> {
    let pods = select::pods(daemon).await?;
    match pods.iter().find(|pod| pod.id == id) {
        Some(pod) => stop::remove_pod(daemon, pod, 0, roots).await,
        // Somebody else removed it.
        None => Ok(()),
    }
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
