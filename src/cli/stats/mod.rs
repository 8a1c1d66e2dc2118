//! `holdfast stats`: what containers use, as crictl shows it.
//!
//! ```text
//!   ListContainerStats + ListPodSandboxMetrics ──▶ Sample ── two of them ──▶ Usage
//! ```
//!
//! CPU use is the difference of two samples. What this module must never do: read cgroups itself; the daemon has
//! what they say.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::connect::Daemon;
use super::out::{self, Format, FormatArgs, Reader, table, text};
use super::ps::Label;
use super::select::{self, Target};
use super::stream;
use crate::request::RequestError;

mod sample;

pub(super) use sample::{Sample, Usage, usage};

/// Clears the terminal and goes to its first line: ECMA-48.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast stats --watch two-containers")]
pub struct StatsArgs {
    /// Show the containers of this pod, or this container: POD, POD/CONTAINER or an id.
    pub name: Option<String>,
    /// Show containers that do not run, too.
    #[arg(short, long)]
    pub all: bool,
    /// Show the container with this id or prefix of it.
    #[arg(long)]
    pub id: Option<String>,
    /// Show containers of this pod: its name or id.
    #[arg(short, long)]
    pub pod: Option<String>,
    /// Show containers with this label; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Label>,
    /// Seconds over which the CPU use is taken.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Go on until somebody has had enough.
    #[arg(short, long)]
    pub watch: bool,
    /// How to print; with --watch each sample is a line of JSON.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Shows what containers use.
pub(super) async fn run(mut daemon: Daemon, args: StatsArgs) -> Result<(), RequestError> {
    let daemon = &mut daemon;
    let (pod, container) = scope(daemon, &args).await?;
    let wanted = |usage: &Usage| {
        pod.as_ref().is_none_or(|id| *id == usage.pod_id)
            && container.as_ref().is_none_or(|id| *id == usage.id)
            && args.id.as_ref().is_none_or(|id| usage.id.starts_with(id))
            && (args.all || usage.running)
            && Label::fit(&args.label, &usage.labels)
    };
    let mut before = Sample::take(daemon).await?;
    loop {
        sleep(Duration::from_secs(args.seconds.into())).await;
        let now = Sample::take(daemon).await?;
        let mut shown = usage(&before, &now);
        shown.retain(wanted);
        if !args.watch {
            return Ok(out::print(args.format.output, &shown, |shown| {
                table::print(&rows(shown))
            })?);
        }
        let clear = args.format.output == Format::Table && stream::size().is_some();
        let reader = out::each(args.format.output, &shown, |shown| {
            let text = table::text(&rows(shown));
            if clear {
                format!("{CLEAR}{text}")
            } else {
                text
            }
        });
        if reader? == Reader::Gone {
            return Ok(());
        }
        before = now;
    }
}

/// The pod and the container that are meant, by id.
async fn scope(
    daemon: &mut Daemon,
    args: &StatsArgs,
) -> Result<(Option<String>, Option<String>), RequestError> {
    let mut scope = (None, None);
    if let Some(name) = &args.pod {
        scope.0 = Some(select::pod(daemon, name).await?.id);
    }
    if let Some(name) = &args.name {
        match select::target(daemon, name).await? {
            Target::Pod(pod) => scope.0 = Some(pod.id),
            Target::Container(container) => scope.1 = Some(container.id),
        }
    }
    Ok(scope)
}

fn rows(usages: &[Usage]) -> comfy_table::Table {
    let mut out = table::new(&[
        "CONTAINER",
        "NAME",
        "CPU %",
        "MEM",
        "DISK",
        "INODES",
        "SWAP",
        "PIDS",
        "POD",
    ]);
    for usage in usages {
        let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let cpu = usage.cpu_percent;
        out.add_row([
            text::short(&usage.id),
            &usage.name,
            &cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.2}")),
            &text::size(usage.memory_bytes),
            &text::size(usage.disk_bytes),
            &usage.inodes.to_string(),
            &usage.swap_bytes.map_or("-".to_owned(), text::size),
            &count(usage.processes),
            &usage.pod,
        ]);
    }
    out
}
