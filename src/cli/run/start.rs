//! Running a prepared pod: its images, its directories, its sandbox, and the session that starts its containers.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use cri_api::runtime::v1 as cri;

use super::arguments::RunArgs;
use super::directories::{self, DirectoryError};
use super::interrupt::Interrupt;
use super::prepare::Prepared;
use super::provide::{self, ProvideError};
use super::removal::{RemovalError, remove_pod};
use super::roots::RootArgs;
use super::session::{End, Session, SessionError};
use crate::connect::Daemon;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::refusal::Refusal;
use crate::{out, select};

/// Why a pod was not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The signals of the terminal cannot be listened for.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// An image of the pod is missing, or must not be run.
    #[error(transparent)]
    Provide(#[from] ProvideError),
    /// A directory of the pod cannot be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The daemon refused the sandbox, or to list pods.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A pod of this name was made from another manifest.
    #[error("{0} runs from another manifest; use --replace")]
    Edited(String),
    /// The pod cannot be removed afterwards, or the one that it replaces.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// Not all containers of the pod ran.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl VerbError for RunError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Provide(ProvideError::Root(_)) => FailureKind::Usage,
            Self::Session(error) => error.kind(),
            Self::Signals(_)
            | Self::Provide(ProvideError::Refused(_))
            | Self::Directory(_)
            | Self::Refused(_)
            | Self::Edited(_)
            | Self::Removal(_) => FailureKind::Failed,
        }
    }
}

/// Runs a prepared pod and prints its id; `socket` is the daemon's, for the keeper.
pub(crate) async fn run(
    mut daemon: Daemon,
    args: RunArgs,
    prepared: Prepared,
    socket: &Path,
) -> Result<ExitCode, RunError> {
    let listening = Interrupt::new();
    let mut interrupt = listening.map_err(RunError::Signals)?;
    let metadata = prepared.metadata();
    if !args.replace {
        refuse_edited(&mut daemon, &prepared).await?;
    }
    tokio::select! {
        provided = provide::images(&mut daemon, &prepared.plan, args.pull) => provided?,
        () = interrupt.next() => return Err(SessionError::Interrupted.into()),
    }
    // The pod is replaced when all images are there, so that a pull that fails leaves the pod running.
    if args.replace {
        replace(&mut daemon, &metadata, &args).await?;
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
        Err(error @ SessionError::Detach(_)) => Err(error.into()),
        Err(error) if made || args.rm => {
            out::note(&match remove(&mut daemon, &id, &args.roots).await {
                Ok(()) => format!("the pod {} is removed again", metadata.name),
                Err(failure) => format!("cannot remove what was created of the pod: {failure}"),
            });
            Err(error.into())
        }
        Err(error @ SessionError::Interrupted) => {
            // It was there before, and had a keeper perhaps.
            session.detach(&id).await.map_err(SessionError::from)?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
        Ok(End::Done(code)) if args.rm => {
            remove(&mut daemon, &id, &args.roots).await?;
            Ok(code)
        }
        Ok(End::Done(code) | End::Elsewhere(code)) => Ok(code),
    }
}

/// Makes the directories and runs the sandbox. It is not broken off: the daemon would go on with it.
async fn sandbox(daemon: &mut Daemon, prepared: &Prepared) -> Result<String, RunError> {
    let plan = &prepared.plan;
    directories::make(&plan.needed)?;
    let request = cri::RunPodSandboxRequest {
        config: Some(plan.sandbox.clone()),
        runtime_handler: plan.runtime_handler.clone(),
    };
    let operation = format!("run the pod {}", prepared.metadata().name);
    let reply = daemon.runtime.run_pod_sandbox(request).await;
    let reply = reply.map_err(Refusal::to(operation))?;
    Ok(reply.into_inner().pod_sandbox_id)
}

/// A pod that this run would join.
async fn find(
    daemon: &mut Daemon,
    metadata: &cri::PodSandboxMetadata,
) -> Result<Option<cri::PodSandbox>, Refusal> {
    let pods = select::pods(daemon).await?;
    let same = |pod: &cri::PodSandbox| pod.metadata.as_ref() == Some(metadata);
    Ok(pods.into_iter().find(same))
}

/// Refuses to take a pod for the manifest's that was made from another manifest.
async fn refuse_edited(daemon: &mut Daemon, prepared: &Prepared) -> Result<(), RunError> {
    let metadata = prepared.metadata();
    for pod in select::pods(daemon).await? {
        let named = |pod: &cri::PodSandboxMetadata| has_name_of(pod, &metadata);
        if pod.metadata.as_ref().is_some_and(named) && prepared.differs_from(&pod) {
            let name = format!("{}/{}", metadata.namespace, metadata.name);
            return Err(RunError::Edited(name));
        }
    }
    Ok(())
}

fn has_name_of(pod: &cri::PodSandboxMetadata, other: &cri::PodSandboxMetadata) -> bool {
    pod.name == other.name && pod.namespace == other.namespace
}

async fn remove(daemon: &mut Daemon, id: &str, roots: &RootArgs) -> Result<(), RemovalError> {
    let pods = select::pods(daemon).await?;
    match pods.iter().find(|pod| pod.id == id) {
        Some(pod) => remove_pod(daemon, pod, 0, roots).await,
        // Somebody else removed it.
        None => Ok(()),
    }
}

async fn replace(
    daemon: &mut Daemon,
    metadata: &cri::PodSandboxMetadata,
    args: &RunArgs,
) -> Result<(), RemovalError> {
    for old in select::pods(daemon).await? {
        let same = |old: &cri::PodSandboxMetadata| has_name_of(old, metadata);
        if old.metadata.as_ref().is_some_and(same) {
            remove_pod(daemon, &old, 0, &args.roots).await?;
        }
    }
    Ok(())
}
