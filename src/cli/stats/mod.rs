//! `holdfast stats`: the resource use of containers, as crictl shows it.
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
use super::select::{self, NamespaceArgs, Target};
use super::stream;
use crate::request::RequestError;

mod sample;

pub(super) use sample::{Sample, Usage, usage};

/// Clears the terminal and goes to its first line: ECMA-48.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// The command line of `holdfast stats`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast stats --watch two-containers\n\n\
    With --watch each measurement is one line of JSON, or one YAML document.")]
pub struct StatsArgs {
    /// Pod or container to show: POD, NAMESPACE/POD, POD/CONTAINER, NAMESPACE/POD/CONTAINER or an id.
    pub name: Option<String>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Show containers in all states, not only running ones.
    #[arg(short, long)]
    pub all: bool,
    /// Show the container whose id begins with ID.
    #[arg(long)]
    pub id: Option<String>,
    /// Show containers of this pod, given as POD, NAMESPACE/POD or an id.
    #[arg(short, long)]
    pub pod: Option<String>,
    /// Show containers that have this label; repeat it for several labels.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Label>,
    /// Number of seconds over which CPU use is measured.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Repeat the measurement until interrupted.
    #[arg(short, long)]
    pub watch: bool,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Shows the resource use of containers.
pub(super) async fn run(mut daemon: Daemon, args: StatsArgs) -> Result<(), RequestError> {
    let daemon = &mut daemon;
    let (pod, container) = scope(daemon, &args).await?;
    let wanted = |usage: &Usage| {
        pod.as_ref().is_none_or(|id| *id == usage.pod_id)
            && container.as_ref().is_none_or(|id| *id == usage.id)
            && args.id.as_ref().is_none_or(|id| usage.id.starts_with(id))
            && args.within.admits(&usage.namespace)
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
        scope.0 = Some(select::pod(daemon, args.within.name(name)).await?.id);
    }
    if let Some(name) = &args.name {
        match select::target(daemon, args.within.name(name)).await? {
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
