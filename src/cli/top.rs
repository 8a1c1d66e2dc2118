//! `holdfast top`: the resource use of pods and containers, redrawn in place.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use super::connect::Daemon;
use super::out::style::{BAD, FAINT, STRONG, WARN, paint};
use super::out::{self, Format, FormatArgs, Reader, table, text};
use super::select::{self, NamespaceArgs};
use super::stats::{Sample, Usage, usage};
use super::stream;
use crate::request::RequestError;

/// The command line of `holdfast top`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast top --interval 5\n\n\
    With JSON or YAML, or without a terminal, one sample is printed.")]
pub struct TopArgs {
    /// Show only this pod: POD, NAMESPACE/POD or an id.
    pub pod: Option<String>,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Seconds between two samples.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A pod with its containers, the busiest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    id: String,
    name: String,
    namespace: String,
    cpu_percent: f64,
    memory_bytes: u64,
    processes: u64,
    containers: Vec<Usage>,
}

/// Shows the use until the reader goes away; once where nothing can be redrawn.
pub(super) async fn run(mut daemon: Daemon, args: TopArgs) -> Result<(), RequestError> {
    use std::io::IsTerminal;
    let daemon = &mut daemon;
    let only = match &args.pod {
        Some(name) => Some(select::pod(daemon, args.within.name(name)).await?.id),
        None => None,
    };
    let live = args.format.output == Format::Table && std::io::stdout().is_terminal();
    let mut before = Sample::take(daemon).await?;
    let mut drawn = 0;
    loop {
        // The first sample is shown after a second, the later ones at the interval that was asked for.
        let rest = if live && drawn == 0 { 1 } else { args.interval };
        sleep(Duration::from_secs(rest.into())).await;
        let now = Sample::take(daemon).await?;
        let mut usages = usage(&before, &now);
        usages.retain(|usage| {
            usage.running
                && args.within.admits(&usage.namespace)
                && only.as_ref().is_none_or(|id| *id == usage.pod_id)
        });
        let pods = by_pod(usages);
        if !live {
            return Ok(out::print(args.format.output, &pods, |pods| {
                out::line(&lines(pods).join("\n"))
            })?);
        }
        let shown = fit(lines(&pods));
        let up = match drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        drawn = shown.len();
        if out::print_line(&format!("{up}{}", shown.join("\n")))? == Reader::Gone {
            return Ok(());
        }
        before = now;
    }
}

/// Containers under their pods, the busiest first.
fn by_pod(usages: Vec<Usage>) -> Vec<Pod> {
    let mut pods = BTreeMap::new();
    for usage in usages {
        let pod = pods.entry(usage.pod_id.clone()).or_insert_with(|| Pod {
            id: usage.pod_id.clone(),
            name: usage.pod.clone(),
            namespace: usage.namespace.clone(),
            cpu_percent: 0.0,
            memory_bytes: 0,
            processes: 0,
            containers: Vec::new(),
        });
        pod.cpu_percent += usage.cpu_percent.unwrap_or_default();
        pod.memory_bytes += usage.memory_bytes;
        pod.processes += usage.processes.unwrap_or_default();
        pod.containers.push(usage);
    }
    let mut pods: Vec<_> = pods.into_values().collect();
    let busy = |usage: &Usage| usage.cpu_percent.unwrap_or_default();
    for pod in &mut pods {
        pod.containers
            .sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    }
    pods.sort_by(|one, other| other.cpu_percent.total_cmp(&one.cpu_percent));
    pods
}

fn lines(pods: &[Pod]) -> Vec<String> {
    let mut out = table::new(&[
        "POD / CONTAINER",
        "CPU %",
        "MEM",
        "PIDS",
        "THROTTLED",
        "CPU WAIT",
        "MEM WAIT",
        "IO WAIT",
    ]);
    for pod in pods {
        out.add_row([
            paint(STRONG, &pod.name),
            format!("{:.2}", pod.cpu_percent),
            text::size(pod.memory_bytes),
            pod.processes.to_string(),
        ]);
        for usage in &pod.containers {
            let number = |number: Option<u64>| {
                number.map_or_else(|| "-".to_owned(), |number| number.to_string())
            };
            let cpu = usage.cpu_percent.map(|cpu| format!("{cpu:.2}"));
            out.add_row([
                format!("  {}", usage.name),
                cpu.unwrap_or_else(|| "-".to_owned()),
                text::size(usage.memory_bytes),
                number(usage.processes),
                percent(usage.throttled_percent),
                percent(usage.cpu_pressure),
                percent(usage.memory_pressure),
                percent(usage.io_pressure),
            ]);
        }
    }
    table::lines(&out)
}

/// A share in percent, in a colour that warns from 10 and 50 percent on; a hyphen when it is not measured.
fn percent(share: Option<f64>) -> String {
    match share {
        None => paint(FAINT, "-"),
        Some(share) if share >= 50.0 => paint(BAD, format!("{share:.0} %")),
        Some(share) if share >= 10.0 => paint(WARN, format!("{share:.0} %")),
        Some(share) => format!("{share:.0} %"),
    }
}

/// Cuts lines to the rows and columns of the terminal, which would scroll otherwise.
fn fit(mut lines: Vec<String>) -> Vec<String> {
    let Some((rows, columns)) = stream::size() else {
        return lines;
    };
    let most = usize::from(rows.saturating_sub(1)).max(2);
    if lines.len() > most {
        let hidden = lines.len() - most + 1;
        lines.truncate(most - 1);
        lines.push(paint(FAINT, format!("{hidden} more lines")));
    }
    lines
        .iter()
        .map(|line| cut(line, usize::from(columns)))
        .collect()
}

/// Cuts a line to this many characters; colours count as none.
fn cut(line: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut room = width;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        shown.push(letter);
        if letter == '\x1b' {
            // Up to the letter that ends the sequence: ECMA-48, 5.4.
            for letter in letters.by_ref() {
                shown.push(letter);
                if letter.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        room = room.saturating_sub(1);
        if room == 0 {
            break;
        }
    }
    if shown.contains('\x1b') {
        shown.push_str("\x1b[0m");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("ab", 3), "ab");
        assert_eq!(cut("\x1b[1mab\x1b[0mcdef", 3), "\x1b[1mab\x1b[0mc\x1b[0m");
    }
}
