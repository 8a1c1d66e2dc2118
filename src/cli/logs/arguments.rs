//! The command line of `holdfast logs`.

use clap::Args;

use super::line::Stream;
use crate::out::time;
use crate::select::NamespaceArgs;

/// The command line of `holdfast logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast logs --follow --tail 20 two-containers")]
pub struct LogsArgs {
    /// A pod, for the logs of all its containers: POD, NAMESPACE/POD or an id. Or a container: POD/CONTAINER,
    /// NAMESPACE/POD/CONTAINER, or the beginning of an id.
    pub name: String,
    /// The namespace of pods that are named.
    #[command(flatten)]
    pub within: NamespaceArgs,
    /// Follow the logs until all containers have ended. When NAME is a name and not an id, containers are followed after a
    /// restart too.
    #[arg(short, long)]
    pub follow: bool,
    /// Show only the last LINES lines of each container; -1 means all.
    #[arg(long, value_name = "LINES", default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i64,
    /// Show only lines that are not older than TIME: an RFC 3339 time, or a duration before now such as 90s, 10m or 1h30m.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<i64>,
    /// Show the time of each line in front of the line.
    #[arg(short, long)]
    pub timestamps: bool,
    /// Show the log of the container before its last restart.
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Show at most BYTES bytes in all.
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<u64>,
    /// Show only this output stream.
    #[arg(short, long, value_enum)]
    pub stream: Option<Stream>,
}

fn since(text: &str) -> Result<i64, &'static str> {
    let ago = |seconds: i64| time::now().saturating_sub(seconds.saturating_mul(1_000_000_000));
    time::span(text)
        .map(ago)
        .or_else(|| time::parse(text))
        .ok_or("give a time such as 2026-01-02T03:04:05Z, or a duration such as 90s, 10m or 1h30m")
}
