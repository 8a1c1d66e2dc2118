//! `holdfast exec`: a command in a container, to its end.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::{CliError, NOT_RUN, select};

/// Arguments of `exec`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast exec two-containers/a -- ps")]
pub struct ExecArgs {
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
    /// Seconds after which the command is killed; 0: never.
    #[arg(long, default_value_t = 0)]
    pub timeout: u32,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Runs a command and passes its output and its exit code on.
pub(super) async fn run(mut daemon: Daemon, args: ExecArgs) -> Result<ExitCode, CliError> {
    let container = select::container(&mut daemon, &args.container).await?;
    let request = cri::ExecSyncRequest {
        container_id: container.id,
        cmd: args.command,
        timeout: args.timeout.into(),
    };
    let reply = match daemon.runtime.exec_sync(request).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => {
            let error = CliError::refused("run the command")(status);
            writeln!(io::stderr(), "holdfast: {error}").map_err(CliError::io("write an error"))?;
            return Ok(NOT_RUN.into());
        }
    };
    io::stdout()
        .write_all(&reply.stdout)
        .map_err(CliError::io("write the command's output"))?;
    io::stderr()
        .write_all(&reply.stderr)
        .map_err(CliError::io("write the command's errors"))?;
    Ok(u8::try_from(reply.exit_code).unwrap_or(u8::MAX).into())
}
