//! The keeper as a process of its own: how `holdfast run` starts it, and the hidden verb that it is.
//!
//! ```text
//!   holdfast run ── manifest on standard input ──▶ holdfast keep POD      own session, cwd /, log in the pod's logs
//!                ◀── "kept" on standard output ──
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::unistd::{dup2_stdin, dup2_stdout, setsid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::drive::{Keeper, Step, TakeError, find_sandbox};
use super::prepare::{LARGEST_MANIFEST, PrepareError, Prepared};
use super::report::{Names, sentence};
use super::roots::RootArgs;
use crate::connect::Daemon;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out::{self, PrintError, time};
use crate::refusal::Refusal;

/// The command line of `holdfast keep`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast keep 5f0c… < pods/two-containers.yaml")]
pub struct KeepArgs {
    /// Id of the pod. Its manifest comes on standard input.
    pub pod: String,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// The word that the keeper prints once it looks after the pod.
const READY_LINE: &str = "kept";
/// How long a keeper may take until it says so.
const BEGIN_DEADLINE: Duration = Duration::from_secs(20);
/// Name of its log in the pod's log directory.
const LOG: &str = "keeper.log";

/// Why a pod has no keeper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DetachError {
    /// Its log cannot be made.
    #[error("cannot make the keeper's log {}", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The process cannot be started or spoken to.
    #[error("cannot start the keeper of the pod")]
    Start(#[source] io::Error),
    /// The keeper ended or printed nothing.
    #[error("the keeper of the pod did not start; see its log {}", .0.display())]
    Silent(PathBuf),
}

/// Why a pod is no longer kept by `holdfast keep`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// A system call of the keeper's own process failed.
    #[error("cannot {operation}")]
    Io {
        /// The operation, as an infinitive.
        operation: &'static str,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
    /// The manifest on standard input cannot be run.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The keeper cannot listen for those who stop the pod.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// The daemon refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody can be told that the pod is kept.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl KeepError {
    fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}

impl VerbError for KeepError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Prepare(error) => error.kind(),
            Self::Io { .. } | Self::Take(_) | Self::Refused(_) | Self::Print(_) => {
                FailureKind::Failed
            }
        }
    }
}

/// Starts a keeper that outlives this process. Returns when it has the pod.
pub(super) async fn detach(
    socket: &Path,
    pod: &str,
    prepared: &Prepared,
    roots: &RootArgs,
) -> Result<(), DetachError> {
    let log = Path::new(&prepared.plan.sandbox.log_directory).join(LOG);
    let file = File::options().create(true).append(true).open(&log);
    let file = file.map_err(|source| DetachError::Log {
        path: log.clone(),
        source,
    })?;
    let mut child = spawn(socket, pod, roots, file).map_err(DetachError::Start)?;
    if let Some(mut input) = child.stdin.take() {
        let text = prepared.text.as_bytes();
        input.write_all(text).await.map_err(DetachError::Start)?;
    }
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output);
        let line = tokio::time::timeout(BEGIN_DEADLINE, output.read_line(&mut said)).await;
        line.ok().transpose().map_err(DetachError::Start)?;
    }
    if said.trim_end() == READY_LINE {
        Ok(())
    } else {
        Err(DetachError::Silent(log))
    }
}

fn spawn(
    socket: &Path,
    pod: &str,
    roots: &RootArgs,
    log: File,
) -> io::Result<tokio::process::Child> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place where keepers are started"
    )]
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg("--socket")
        .arg(std::path::absolute(socket)?)
        .arg("keep")
        .arg(pod);
    for (option, root) in [
        ("--log-root", &roots.log_root),
        ("--volume-root", &roots.volume_root),
        ("--memory-volume-root", &roots.memory_volume_root),
    ] {
        command.arg(option).arg(std::path::absolute(root)?);
    }
    command.env_clear().current_dir("/").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(log);
    tokio::process::Command::from(command).spawn()
}

/// Keeps a pod to its end.
pub(crate) async fn keep(daemon: Daemon, args: KeepArgs) -> Result<(), KeepError> {
    // It fails for the leader of a process group, which somebody made who started this by hand.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(KeepError::io("begin a session")(errno.into())),
    }
    let mut text = String::new();
    let read = io::stdin().take(LARGEST_MANIFEST).read_to_string(&mut text);
    read.map_err(KeepError::io("read the manifest"))?;
    let prepared = Prepared::parse(text, &args.roots).map_err(|source| PrepareError::Manifest {
        file: "standard input".to_owned(),
        source,
    })?;
    let looked = find_sandbox(&daemon, &args.pod).await;
    let looked = looked.map_err(Refusal::to("inspect the pod"))?;
    let Some(sandbox) = looked else {
        return let_go();
    };
    let plan = prepared.with_addresses(&sandbox.ips)?;
    let names = Names::new(&plan);
    let grace = prepared.grace();
    let Some(mut keeper) = Keeper::take(daemon, &sandbox, plan, grace).await? else {
        return let_go();
    };
    let_go()?;
    while keeper.outcome().is_none() {
        match keeper.next().await {
            Step::Yield => return Ok(()),
            Step::News(news) => {
                for text in news.iter().filter_map(|item| sentence(item, &names)) {
                    out::note(&format!("{} {}", time::millis(time::now()), text.plain()));
                }
            }
        }
    }
    Ok(())
}

/// Tells the one who waits that the pod is kept, and leaves the terminal, the pipes and everything else of his.
fn let_go() -> Result<(), KeepError> {
    out::line(READY_LINE)?;
    let leave = || {
        io::stdout().flush()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        io::Result::Ok(())
    };
    leave().map_err(KeepError::io("leave standard input and output"))
}
