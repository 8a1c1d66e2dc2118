//! `holdfast tour`: the manifests of pods/, one after the other, in the terminal.
//!
//! ```text
//!   pods/*.yaml ── script ──▶ stops (title, text, commands) ── guide ──▶ shown, run, taken away
//! ```
//!
//! The head of each manifest is the script: what it says is shown, and the very commands that it lists are run, so
//! that neither can go stale. Whatever a stop has made is removed when it ends, also when it is left early.

mod guide;
mod image;
mod script;

use std::process::ExitCode;

use clap::Args;

use super::connect::Daemon;
use super::exit::FailureKind;
use super::failure::VerbError;
use super::out::{self, PrintError, table};
use guide::GuideError;
use script::Stop;

/// The command line of `holdfast tour`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: holdfast tour                       the whole tour; Enter runs each command
          holdfast tour --list                the list of stops
          holdfast tour oom cpu-throttling    only these stops
          holdfast tour --yes | less -R       without waiting for Enter"
)]
pub struct TourArgs {
    /// Stops of the tour to show, by the names that --list prints; by default all stops.
    pub stops: Vec<String>,
    /// List the stops of the tour.
    #[arg(short, long)]
    pub list: bool,
    /// Run all commands without waiting for Enter.
    #[arg(short, long)]
    pub yes: bool,
}

/// Why the tour cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TourError {
    /// There is no such stop.
    #[error("the tour has no stop {0:?}; see `holdfast tour --list`")]
    Unknown(String),
    /// A stop could not be shown or run.
    #[error(transparent)]
    Guide(#[from] GuideError),
    /// The list of stops cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl VerbError for TourError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Unknown(_) | Self::Guide(_) | Self::Print(_) => FailureKind::Failed,
        }
    }
}

/// Goes through the tour.
pub(super) async fn run(daemon: Daemon, args: TourArgs) -> Result<ExitCode, TourError> {
    let stops = chosen(&args.stops)?;
    Ok(guide::go(daemon, &stops, args.yes).await?)
}

/// Carries out `holdfast tour --list`.
pub(super) fn list(args: &TourArgs) -> Result<(), TourError> {
    let mut out = table::new(&["STOP", "WHAT IT SHOWS"]);
    for stop in chosen(&args.stops)? {
        out.add_row([stop.name, stop.title]);
    }
    table::print(&out)?;
    out::line(
        "\nRun `holdfast tour STOP...` to see a stop. Its manifest is in pods/ of the sources.",
    )?;
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Stop>, TourError> {
    let all = script::stops();
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let found = all
            .iter()
            .find(|stop| stop.name == name.trim_end_matches(".yaml"));
        found
            .cloned()
            .ok_or_else(|| TourError::Unknown(name.clone()))
    };
    names.iter().map(find).collect()
}
