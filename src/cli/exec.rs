//! `holdfast exec`: runs a command in a container until it ends.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::exit::{FailureKind, NOT_RUN, code_of};
use super::stream::{self, NoTerminal, Outcome, SessionError, SessionStreams};
use super::{out, select};
use crate::failure::VerbError;
use crate::refusal::Refusal;
use crate::select::{NamespaceArgs, SelectError};

/// The command line of `holdfast exec`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast exec -it two-containers/a sh")]
pub struct ExecArgs {
    /// Pass standard input to the command.
    #[arg(short, long, alias = "stdin")]
    pub interactive: bool,
    /// Give the command a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Run the command as the kubelet runs exec probes (ExecSync): show the output when the command has ended.
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    pub sync: bool,
    /// With --sync, kill the command after this many seconds; 0 means never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "sync")]
    pub timeout: u32,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// POD/CONTAINER, NAMESPACE/POD/CONTAINER, or the beginning of a container id.
    pub container: String,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true)]
    pub command: Vec<String>,
}

/// Why a command cannot be run in a container, or its output not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// A name does not mean exactly one container.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Standard input is not a terminal, but a terminal was asked for.
    #[error(transparent)]
    NoTerminal(#[from] NoTerminal),
    /// The streams of the command cannot be passed on.
    #[error("cannot run the command")]
    Session(#[from] SessionError),
    /// The output of a command that has ended cannot be shown.
    #[error("cannot {operation}")]
    Output {
        /// The operation, as an infinitive.
        operation: &'static str,
        /// The error of standard output or standard error.
        #[source]
        source: io::Error,
    },
}

impl VerbError for ExecError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoTerminal(_) => FailureKind::Usage,
            Self::Select(_) | Self::Session(_) | Self::Output { .. } => FailureKind::Failed,
        }
    }
}

/// Runs a command and passes on its output and its exit code.
pub(super) async fn run(mut daemon: Daemon, args: ExecArgs) -> Result<ExitCode, ExecError> {
    if args.interactive && args.tty {
        stream::require_terminal()?;
    }
    let container = select::container(&mut daemon, args.within.name(&args.container)).await?;
    if args.sync {
        return to_the_end(daemon, container.id, args).await;
    }
    let wanted = SessionStreams {
        stdin: args.interactive,
        terminal: args.tty,
        detach_keys: false,
    };
    let request = cri::ExecRequest {
        container_id: container.id,
        cmd: args.command,
        tty: args.tty,
        stdin: args.interactive,
        stdout: true,
        // A terminal has one stream only.
        stderr: !args.tty,
    };
    let reply = match daemon.runtime.exec(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return not_run(status),
    };
    let outcome = stream::converse(&reply.url, wanted).await;
    exit_code(outcome?)
}

/// The exit code that an outcome leads to.
fn exit_code(outcome: Outcome) -> Result<ExitCode, ExecError> {
    Ok(match outcome {
        Outcome::Ended(code) => code_of(code),
        Outcome::Failed(why) => {
            out::note(&format!("holdfast: cannot run the command: {why}"));
            NOT_RUN.into()
        }
        Outcome::Detached | Outcome::ReaderGone => ExitCode::SUCCESS,
        Outcome::Signalled(number) => code_of(128 + number),
    })
}

fn not_run(status: tonic::Status) -> Result<ExitCode, ExecError> {
    let error = Refusal::to("run the command")(status);
    out::note(&format!("holdfast: {error}"));
    Ok(NOT_RUN.into())
}

async fn to_the_end(
    mut daemon: Daemon,
    container_id: String,
    args: ExecArgs,
) -> Result<ExitCode, ExecError> {
    let request = cri::ExecSyncRequest {
        container_id,
        cmd: args.command,
        timeout: args.timeout.into(),
    };
    let reply = match daemon.runtime.exec_sync(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return not_run(status),
    };
    write(
        io::stdout().lock(),
        &reply.stdout,
        "write the command's output",
    )?;
    write(
        io::stderr().lock(),
        &reply.stderr,
        "write the command's errors",
    )?;
    Ok(code_of(reply.exit_code))
}

fn write(mut out: impl Write, bytes: &[u8], operation: &'static str) -> Result<(), ExecError> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|source| ExecError::Output { operation, source }),
    }
}
