//! The command line for people: arguments → run → exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use holdfast::{Cli, run};
use holdfast_kernel::error_chain;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, ExitCode::FAILURE),
    };
    // Not joined: a thread that reads standard input would be waited for.
    let result = runtime.block_on(run(cli));
    runtime.shutdown_background();
    result.unwrap_or_else(|error| failed(&error, error.exit_code()))
}

/// Shows an error with its causes.
fn failed(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    let text = error_chain(error);
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(io::stderr(), "holdfast: {text}");
    code
}
