//! The command line of `holdfast run`.

use std::path::PathBuf;

use clap::Args;

use super::provide::Pull;
use super::roots::RootArgs;

/// The command line of `holdfast run`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast run --watch --rm pods/two-containers.yaml")]
pub struct RunArgs {
    /// File with the manifest, or - for standard input.
    pub file: PathBuf,
    /// Show logs and events of all containers until the pod has ended. The exit code is 0 when all
    /// containers succeeded, otherwise 1. Without --rm, Ctrl-C leaves the pod running.
    #[arg(short, long)]
    pub watch: bool,
    /// Wait until the pod has ended or Ctrl-C is pressed, then remove the pod and its directories.
    #[arg(long)]
    pub rm: bool,
    /// First remove a pod that has the same name and namespace.
    #[arg(long)]
    pub replace: bool,
    /// When to pull images; overrides imagePullPolicy.
    #[arg(long, value_enum)]
    pub pull: Option<Pull>,
    /// Where the directories of pods are.
    #[command(flatten)]
    pub roots: RootArgs,
}
