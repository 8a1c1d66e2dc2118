//! The command line of `holdfast logs`.

use clap::Args;

use super::line::Stream;
use crate::out::time;

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast logs --follow --tail 20 two-containers")]
pub struct LogsArgs {
    /// POD for all its containers, POD/CONTAINER, or a container id or a unique prefix of it.
    pub name: String,
    /// Go on with what is written later, until everything has ended. By name, restarted containers too.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with the last so many lines of each container; -1 for all.
    #[arg(long, value_name = "LINES", default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i64,
    /// Begin with lines of this time, RFC 3339, or of a span before now, such as 90s, 10m or 1h30m.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<i64>,
    /// Put the time in front of each line.
    #[arg(short, long)]
    pub timestamps: bool,
    /// Show the container before the last restart.
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Show at most so many bytes.
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<u64>,
    /// Show one stream only.
    #[arg(short, long, value_enum)]
    pub stream: Option<Stream>,
}

fn since(text: &str) -> Result<i64, &'static str> {
    let ago = |seconds: i64| time::now().saturating_sub(seconds.saturating_mul(1_000_000_000));
    time::span(text)
        .map(ago)
        .or_else(|| time::parse(text))
        .ok_or("give a time such as 2026-01-02T03:04:05Z, or a span such as 90s, 10m or 1h30m")
}
