//! The daemon: arguments → configuration → run → exit code.

use holdfast_kernel::error_chain;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use holdfastd::{Config, DEFAULT_PATH, run};

/// Serves CRI v1 and runs the pods of this machine.
#[derive(Debug, Parser)]
#[command(name = "holdfastd", version, about)]
struct Args {
    /// Configuration file. The files config.d/*.toml in the same directory override keys of this file.
    #[arg(long, value_name = "FILE", help = format!("Configuration file; files config.d/*.toml in the same directory override keys of FILE [default: {DEFAULT_PATH}]"))]
    config: Option<PathBuf>,
    /// Print the configuration in force and exit.
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told when standard error is gone.
            let _ = writeln!(io::stderr(), "holdfastd: {}", error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Box<dyn Error>> {
    let config = Config::load(args.config.as_deref())?;
    if args.print_config {
        return Ok(io::stdout().write_all(config.to_toml()?.as_bytes())?);
    }
    run(config)
}
