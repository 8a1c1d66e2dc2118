//! The command line of `holdfast run`.

use std::path::PathBuf;

use clap::Args;

use super::provide::Pull;
use super::roots::RootArgs;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast run --watch --rm pods/two-containers.yaml")]
pub struct RunArgs {
    /// The manifest, or - for standard input.
    pub file: PathBuf,
    /// Show the logs of all containers and what happens to them, until the pod has ended. Exits with 0 when all
    /// containers have succeeded, else with 1. Ctrl-C leaves the pod running.
    #[arg(short, long)]
    pub watch: bool,
    /// Wait until the pod has ended and remove it with its directories, also after Ctrl-C.
    #[arg(long)]
    pub rm: bool,
    /// Remove a pod of the same name and namespace first.
    #[arg(long)]
    pub replace: bool,
    /// When to pull images, whatever the manifest says.
    #[arg(long, value_enum)]
    pub pull: Option<Pull>,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}
