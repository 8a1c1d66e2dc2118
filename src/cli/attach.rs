//! `holdfast attach`: the streams of a container's first process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cri_api::runtime::v1 as cri;
use tokio::time::{Instant, sleep};

use super::connect::Daemon;
use super::exit::{FailureKind, code_of};
use super::stream::{self, NoTerminal, Outcome, SessionError, SessionStreams};
use super::{inspect, out, select};
use crate::failure::VerbError;
use crate::refusal::Refusal;
use crate::select::{NamespaceArgs, SelectError};

/// The command line of `holdfast attach`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast attach -it shell/main\n\n\
    With -it, ctrl-p ctrl-q detaches; otherwise ctrl-c detaches. The container keeps running.")]
pub struct AttachArgs {
    /// Pass standard input to the container, if it was created with `stdin: true`.
    #[arg(short = 'i', long, alias = "interactive")]
    pub stdin: bool,
    /// Use the container's terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// POD/CONTAINER, NAMESPACE/POD/CONTAINER, or the beginning of a container id.
    pub container: String,
}

/// Why a container cannot be attached to, or was left before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// A name does not mean exactly one container.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Standard input is not a terminal, but a terminal was asked for.
    #[error(transparent)]
    NoTerminal(#[from] NoTerminal),
    /// The daemon refused the attachment.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The streams of the container cannot be passed on.
    #[error("cannot attach to {container}")]
    Session {
        /// The container, as it was given.
        container: String,
        /// The failure of the streams.
        #[source]
        source: SessionError,
    },
    /// The daemon ended the attachment before the container ended.
    #[error("detached from {container}: {why}")]
    Detached {
        /// The container, as it was given.
        container: String,
        /// The answer of the daemon.
        why: String,
    },
}

impl VerbError for AttachError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoTerminal(_) => FailureKind::Usage,
            Self::Select(_) | Self::Refused(_) | Self::Session { .. } | Self::Detached { .. } => {
                FailureKind::Failed
            }
        }
    }
}

/// Attaches until the container ends or the person leaves it, and passes on the container's exit code.
pub(super) async fn run(mut daemon: Daemon, args: AttachArgs) -> Result<ExitCode, AttachError> {
    if args.stdin && args.tty {
        stream::require_terminal()?;
    }
    let container = select::container(&mut daemon, args.within.name(&args.container)).await?;
    let request = cri::AttachRequest {
        container_id: container.id.clone(),
        stdin: args.stdin,
        tty: args.tty,
        stdout: true,
        stderr: !args.tty,
    };
    let refused = Refusal::to(format!("attach to {}", args.container));
    let reply = daemon.runtime.attach(request).await.map_err(refused)?;
    let wanted = SessionStreams {
        stdin: args.stdin,
        terminal: args.tty,
        detach_keys: args.stdin && args.tty,
    };
    let outcome = stream::converse(&reply.into_inner().url, wanted).await;
    let outcome = outcome.map_err(|source| AttachError::Session {
        container: args.container.clone(),
        source,
    });
    match outcome? {
        Outcome::Ended(_) => Ok(exit_code(&mut daemon, &container.id).await?),
        Outcome::Failed(why) => Err(AttachError::Detached {
            container: args.container,
            why,
        }),
        Outcome::Detached => {
            out::note("\r\ndetached");
            Ok(ExitCode::SUCCESS)
        }
        Outcome::ReaderGone => Ok(ExitCode::SUCCESS),
        Outcome::Signalled(number) => Ok(code_of(128 + number)),
    }
}

/// How long the exit of a container may stay unknown after its streams were closed.
const EXIT_DEADLINE: Duration = Duration::from_secs(1);
/// How often the exit is asked for.
const POLL: Duration = Duration::from_millis(50);

/// The exit code of a container; success for a container that closed its streams and still runs.
async fn exit_code(daemon: &mut Daemon, id: &str) -> Result<ExitCode, Refusal> {
    let deadline = Instant::now() + EXIT_DEADLINE;
    loop {
        let status = inspect::container_status(daemon, id).await?;
        if status.state() == cri::ContainerState::ContainerExited {
            return Ok(code_of(status.exit_code));
        }
        if Instant::now() >= deadline {
            return Ok(ExitCode::SUCCESS);
        }
        sleep(POLL).await;
    }
}
