//! `holdfast attach`: the streams of a container's first process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cri_api::runtime::v1 as cri;
use tokio::time::{Instant, sleep};

use super::connect::Daemon;
use super::exec::{code_of, needs_terminal};
use super::stream::{self, Outcome, Wanted};
use super::{CliError, inspect, out, select};

/// Arguments of `attach`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast attach -it shell/main\n\n\
    With -it, ctrl-p ctrl-q leaves the container running. Without a terminal, ctrl-c does.")]
pub struct AttachArgs {
    /// Pass standard input on, to a container that was made with one.
    #[arg(short = 'i', long, alias = "interactive")]
    pub stdin: bool,
    /// Use the container's terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
}

/// Attaches, until the container ends or the person leaves it. Exits as the container did.
pub(super) async fn run(mut daemon: Daemon, args: AttachArgs) -> Result<ExitCode, CliError> {
    if args.stdin && args.tty {
        needs_terminal()?;
    }
    let container = select::container(&mut daemon, &args.container).await?;
    let request = cri::AttachRequest {
        container_id: container.id.clone(),
        stdin: args.stdin,
        tty: args.tty,
        stdout: true,
        stderr: !args.tty,
    };
    let refused = CliError::refused(format!("attach to {}", args.container));
    let reply = daemon.runtime.attach(request).await.map_err(refused)?;
    let wanted = Wanted {
        stdin: args.stdin,
        terminal: args.tty,
        detach_keys: args.stdin && args.tty,
    };
    let outcome = stream::converse(&reply.into_inner().url, wanted).await;
    let failed = CliError::stream(format!("attach to {}", args.container));
    match outcome.map_err(failed)? {
        Outcome::Ended(_) => exit_code(&mut daemon, &container.id).await,
        Outcome::Failed(why) => Err(CliError::Detached {
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

/// How long an exit may take to be known after the container's streams are closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked for.
const POLL: Duration = Duration::from_millis(50);

/// The exit code of a container; of one that closed its streams and runs on, success.
async fn exit_code(daemon: &mut Daemon, id: &str) -> Result<ExitCode, CliError> {
    let deadline = Instant::now() + PATIENCE;
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
