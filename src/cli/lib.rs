//! The `holdfast` command: a client of the daemon like any other.
//!
//! It speaks gRPC over the socket: CRI v1 where CRI has a call, and holdfast.v1 where CRI has none. It reads log files
//! by the path that the daemon gives; `kernel_view` and `doctor` read /proc and the cgroup files of the machine. What
//! this crate must never do: open the daemon's own directories, or know how anything inside the daemon works.
//!
//! ```text
//!   args ──▶ run ── manifest · keeper   a pod from a manifest, restarted and probed
//!         ├─ pods · ps · stop · rm · logs · images · inspect   what crictl does, with its flags
//!         ├─ events · stats · top                              what goes on
//!         ├─ stream ── exec · attach · port-forward            WebSocket to the address that the daemon gives
//!         ├─ kernel_view ── ns · enter · tree · why            what the kernel says of pods
//!         ├─ tour                                              the manifests of pods/, step by step
//!         └─ debts · doctor
//!                    all print through out
//! ```
//!
//! Each verb has an error of its own beside its code. [`CliError`] carries any of them to the exit code.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;

mod annotations;
mod args;
mod attach;
mod connect;
mod debts;
mod doctor;
mod events;
mod exec;
mod exit;
mod failure;
mod images;
mod inspect;
mod kernel_view;
mod logs;
mod manual;
mod out;
mod port_forward;
mod ps;
mod refusal;
mod request;
mod run;
mod select;
mod stats;
mod stop;
mod stream;
mod top;
mod tour;

pub use args::Cli;
use args::Command;
use connect::Daemon;
use exit::FailureKind;
pub use failure::CliError;
use failure::VerbError;

/// Carries out a command line. Results go to standard output.
///
/// # Errors
/// [`CliError`] with what was attempted; [`CliError::exit_code`] is for the caller to use.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    // Here and not in main.rs: async code is compiled where it is run, and in both it would be compiled twice.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RuntimeError)?;
    let result = runtime.block_on(carry_out(cli));
    // Not joined: a thread that reads standard input would be waited for.
    runtime.shutdown_background();
    result
}

/// The command cannot wait for anything.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the async runtime")]
struct RuntimeError(#[source] io::Error);

impl VerbError for RuntimeError {
    fn kind(&self) -> FailureKind {
        FailureKind::Failed
    }
}

async fn carry_out(cli: Cli) -> Result<ExitCode, CliError> {
    let connect = || Daemon::connect(&cli.socket);
    match cli.command {
        Command::Run(args) => {
            let prepared = run::prepare(&args)?;
            return Ok(run::run(connect().await?, args, prepared, &cli.socket).await?);
        }
        Command::Keep(args) => run::keep(connect().await?, args).await?,
        Command::Pods(args) => ps::pods(connect().await?, args).await?,
        Command::Ps(args) => ps::containers(connect().await?, args).await?,
        Command::Stop(args) => stop::stop(connect().await?, args).await?,
        Command::Rm(args) => stop::remove(connect().await?, args).await?,
        Command::Exec(args) => return Ok(exec::run(connect().await?, args).await?),
        Command::Attach(args) => return Ok(attach::run(connect().await?, args).await?),
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
        Command::Ns(args) => kernel_view::ns(connect().await?, args).await?,
        Command::Enter(args) => return Ok(kernel_view::enter(connect().await?, args).await?),
        Command::Tree(args) => kernel_view::tree(connect().await?, args).await?,
        Command::Why(args) => kernel_view::why(connect().await?, args).await?,
        Command::Debts(args) => debts::list(connect().await?, args).await?,
        Command::Tour(args) if args.list => tour::list(&args)?,
        Command::Tour(args) => return Ok(tour::run(connect().await?, args).await?),
        Command::Doctor(args) => return Ok(doctor::run(connect().await, args).await?),
        Command::Man(args) => manual::write(Cli::command(), &args)?,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
            out::line(String::from_utf8_lossy(&script).trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
