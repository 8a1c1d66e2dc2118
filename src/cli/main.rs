//! The command line for people: arguments → run → exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use holdfast::{Cli, run};
use holdfast_kernel::error_chain;

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        let text = error_chain(&error);
        // Nobody is left to be told when standard error is gone.
        let _ = writeln!(io::stderr(), "holdfast: {text}");
        error.exit_code()
    })
}
