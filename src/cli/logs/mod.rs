//! `holdfast logs`: the log files of containers, in the CRI format, merged by time.
//!
//! ```text
//!   name ── which ──▶ containers ──▶ file, file, file ── merge by time ──▶ print
//!             ▲                        │  each followed across rotations
//!             └── looks again while following: a restart is a container of the same name
//! ```
//!
//! What this module must never do: lose a line or show one twice, whatever the kubelet does to the files
//! meanwhile; or change a byte of what a container has written.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::connect::Daemon;
use super::out::{Reader, time};

mod file;
mod line;
mod print;
mod tail;
mod which;

pub(super) use file::LogFile;
pub(super) use line::Line;
use print::Printer;
use which::Which;

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

/// Streams of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How often followed logs are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often it is asked which containers there are and whether they still run.
const LOOK: Duration = Duration::from_millis(500);
/// How long others are waited for when everything has ended: those that start after init containers, or what
/// somebody restarts by hand.
const LINGER: Duration = Duration::from_secs(2);
/// Longer than the first rest between two restarts, which is 10 s as with the kubelet.
const FIRST_REST: Duration = Duration::from_secs(12);

fn since(text: &str) -> Result<i64, &'static str> {
    let ago = |seconds: i64| time::now().saturating_sub(seconds.saturating_mul(1_000_000_000));
    time::span(text)
        .map(ago)
        .or_else(|| time::parse(text))
        .ok_or("give a time such as 2026-01-02T03:04:05Z, or a span such as 90s, 10m or 1h30m")
}

/// Shows logs.
pub(super) async fn run(mut daemon: Daemon, args: LogsArgs) -> Result<(), CliError> {
    let mut which = Which::find(&mut daemon, &args).await?;
    let mut printer = Printer::new(&args, which.heads());
    let mut looked = Instant::now();
    let mut ended: Option<Instant> = None;
    loop {
        if printer.drain(which.sources())? == Reader::Gone || !args.follow {
            return Ok(());
        }
        which.forget_ended();
        if which.is_done() {
            let since = *ended.get_or_insert_with(Instant::now);
            if since.elapsed() >= which.patience() {
                return Ok(());
            }
        } else {
            ended = None;
        }
        sleep(POLL).await;
        if looked.elapsed() >= LOOK {
            which.look(&mut daemon).await?;
            looked = Instant::now();
        }
    }
}
