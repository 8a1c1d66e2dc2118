//! The `holdfast` command: a client of the daemon like any other.
//!
//! It speaks gRPC over the socket, CRI v1 where CRI has a call and holdfast.v1 where it has none, and reads
//! log files by the path that the daemon gives; `look` and `doctor` read /proc and the cgroup files of the machine.
//! What this module must never do: open the daemon's own directories, or know how anything inside it works.
//!
//! ```text
//!   args ──▶ run ── manifest · keeper   a pod from a manifest, restarted and probed
//!         ├─ pods · ps · stop · rm · logs · images · inspect   what crictl does, with its flags
//!         ├─ events · stats · top                              what goes on
//!         ├─ stream ── exec · attach · port-forward            WebSocket to the address that the daemon gives
//!         ├─ look ── ns · enter · tree · why                   what the kernel says of pods
//!         ├─ tour                                              the manifests of pods/, step by step
//!         └─ debts · doctor
//!                    all print through out
//! ```

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;

mod args;
mod attach;
mod connect;
mod debts;
mod doctor;
mod events;
mod exec;
mod images;
mod inspect;
mod logs;
mod look;
mod manual;
mod out;
mod port_forward;
mod ps;
mod run;
mod select;
mod stats;
mod stop;
mod stream;
mod top;
mod tour;

pub use args::Cli;
use args::Command;
use connect::{ConnectError, Daemon};
use images::ArchiveError;
pub use look::LookError;
use run::{DirectoryError, ManifestError, RunError};
pub use tour::TourError;

/// Exit code for wrong usage and manifests that cannot be run; clap uses the same.
const USAGE: u8 = 2;
/// Exit code when the daemon cannot be reached.
const UNREACHABLE: u8 = 3;
/// Exit code of `exec` when the command could not be run.
const NOT_RUN: u8 = 125;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The manifest cannot be run.
    #[error("cannot run {file}")]
    Manifest {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The daemon refused.
    #[error("cannot {operation}: {} ({})", status.message(), code(status))]
    Refused {
        /// What was attempted, as a verb in the infinitive.
        operation: String,
        /// The daemon's answer.
        status: Box<tonic::Status>,
    },
    /// Nothing or too much goes by this name.
    #[error(transparent)]
    Select(#[from] select::SelectError),
    /// The archive for an import cannot be made.
    #[error("cannot make an archive of {source_name}")]
    Archive {
        /// Directory or file.
        source_name: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A file or standard output.
    #[error("cannot {operation}")]
    Io {
        /// What was attempted.
        operation: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A directory of a pod.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A run ended before the pod ran.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A container that must not run as root would.
    #[error(
        "container {0:?} has runAsNonRoot, but would run as root; give runAsUser another number"
    )]
    Root(String),
    /// A log cannot be shown.
    #[error("container {0} has no log: its pod has no log directory or it has no log path")]
    NoLog(String),
    /// There is no log of the container before.
    #[error("container {0} was not restarted, or its log of before is gone")]
    NoPrevious(String),
    /// A result has no JSON form; it cannot happen with what is printed here.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// A result has no YAML form, likewise.
    #[error("cannot write YAML")]
    Yaml(#[source] serde_yaml_ng::Error),
    /// The tour cannot go on.
    #[error(transparent)]
    Tour(#[from] tour::TourError),
    /// There is no image of this name.
    #[error("there is no image {0:?}; see `holdfast images`")]
    NoImage(String),
    /// A container that runs is not removed without force.
    #[error("container {0} runs; stop it first, or give --force")]
    StillRuns(String),
    /// A stream of a container or a pod.
    #[error("cannot {operation}")]
    Stream {
        /// What was attempted.
        operation: String,
        /// Why it failed.
        #[source]
        source: stream::StreamError,
    },
    /// An attachment ended before its container.
    #[error("detached from {container}: {why}")]
    Detached {
        /// The container, as it was given.
        container: String,
        /// What the daemon said.
        why: String,
    },
    /// A pod that is to be used is not ready, or has ended meanwhile.
    #[error("the pod {0} has ended; see `holdfast pods`")]
    PodEnded(String),
    /// A command line that contradicts itself or the world.
    #[error("{0}")]
    Usage(String),
    /// Something cannot be looked at.
    #[error(transparent)]
    Look(#[from] look::LookError),
}

impl CliError {
    /// The daemon refused to do something.
    fn refused(operation: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let operation = operation.into();
        move |status| Self::Refused {
            operation,
            status: Box::new(status),
        }
    }

    /// A stream to a container or a pod failed.
    fn stream(operation: impl Into<String>) -> impl FnOnce(stream::StreamError) -> Self {
        let operation = operation.into();
        move |source| Self::Stream { operation, source }
    }

    /// A file or stream failed.
    fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Io { operation, source }
    }

    /// The exit code that belongs to it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Connect(_) => UNREACHABLE.into(),
            Self::Manifest { .. } | Self::Root(_) | Self::Usage(_) => USAGE.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

fn code(status: &tonic::Status) -> String {
    format!("{:?}", status.code())
}

/// Carries out a command line. Results go to standard output.
///
/// # Errors
/// [`CliError`] with what was attempted; [`CliError::exit_code`] is for the caller to use.
pub async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let connect = || Daemon::connect(&cli.socket);
    match cli.command {
        Command::Run(args) => {
            let prepared = run::prepare(&args)?;
            return run::run(connect().await?, args, prepared, &cli.socket).await;
        }
        Command::Keep(args) => run::keep(connect().await?, args).await?,
        Command::Pods(args) => ps::pods(connect().await?, args).await?,
        Command::Ps(args) => ps::containers(connect().await?, args).await?,
        Command::Stop(args) => stop::stop(connect().await?, args).await?,
        Command::Rm(args) => stop::remove(connect().await?, args).await?,
        Command::Exec(args) => return exec::run(connect().await?, args).await,
        Command::Attach(args) => return attach::run(connect().await?, args).await,
        Command::Logs(args) => logs::run(connect().await?, args).await?,
        Command::PortForward(args) => port_forward::run(connect().await?, args).await?,
        Command::Events(args) => events::run(connect().await?, args).await?,
        Command::Stats(args) => stats::run(connect().await?, args).await?,
        Command::Top(args) => top::run(connect().await?, args).await?,
        Command::Inspect(args) => inspect::run(connect().await?, args).await?,
        Command::Images(args) => images::list(connect().await?, args).await?,
        Command::Pull(args) => images::pull(connect().await?, args).await?,
        Command::Rmi(args) => images::remove(connect().await?, args).await?,
        Command::Image(command) => images::run(connect().await?, command).await?,
        Command::Ns(args) => look::ns(connect().await?, args).await?,
        Command::Enter(args) => return look::enter(connect().await?, args).await,
        Command::Tree(args) => look::tree(connect().await?, args).await?,
        Command::Why(args) => look::why(connect().await?, args).await?,
        Command::Debts(args) => debts::list(connect().await?, args).await?,
        Command::Tour(args) if args.list => tour::list(&args)?,
        Command::Tour(args) => return tour::run(connect().await?, args).await,
        Command::Doctor(args) => return doctor::run(connect().await, args).await,
        Command::Man(args) => manual::write(&args)?,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut io::stdout());
        }
    }
    Ok(ExitCode::SUCCESS)
}
