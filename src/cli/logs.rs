//! `holdfast logs`: the container's log file, in the CRI format.
//!
//! A line is `TIME STREAM TAG CONTENT`; the tag P says that the line goes on in the next one of its stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use clap::Args;
use cri_api::runtime::v1 as cri;

use super::connect::Daemon;
use super::{CliError, select};

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast logs -f two-containers/a")]
pub struct LogsArgs {
    /// POD/CONTAINER by name, or a container id or a unique prefix of it.
    pub container: String,
    /// Go on with what is written later, until the container ends.
    #[arg(short, long)]
    pub follow: bool,
    /// Put the time in front of each line.
    #[arg(short, long)]
    pub timestamps: bool,
}

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Shows a container's log.
pub(super) async fn run(mut daemon: Daemon, args: LogsArgs) -> Result<(), CliError> {
    let container = select::container(&mut daemon, &args.container).await?;
    let status = status(&mut daemon, &container.id).await?;
    if status.log_path.is_empty() {
        return Err(CliError::NoLog(container.id));
    }
    let open =
        || File::open(&status.log_path).map_err(CliError::io(format!("open {}", status.log_path)));
    let mut log = BufReader::new(open()?);
    let mut state = status.state();
    let mut pending = Vec::new();
    loop {
        let shown = show(&mut log, &mut pending, &args)
            .map_err(CliError::io(format!("show {}", status.log_path)))?;
        if shown == Progress::ReaderGone
            || !args.follow
            || state == cri::ContainerState::ContainerExited
        {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
        // The state is asked before the last look at the file, so that nothing written before the exit is missed.
        state = self::status(&mut daemon, &container.id).await?.state();
    }
}

async fn status(daemon: &mut Daemon, id: &str) -> Result<cri::ContainerStatus, CliError> {
    let request = cri::ContainerStatusRequest {
        container_id: id.to_owned(),
        verbose: false,
    };
    let reply = daemon
        .runtime
        .container_status(request)
        .await
        .map_err(CliError::refused("look at the container"))?;
    Ok(reply.into_inner().status.unwrap_or_default())
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    CaughtUp,
    ReaderGone,
}

/// Shows all complete lines that are there; `pending` keeps the beginning of one that is not.
fn show(log: &mut impl BufRead, pending: &mut Vec<u8>, args: &LogsArgs) -> io::Result<Progress> {
    loop {
        if log.read_until(b'\n', pending)? == 0 || !pending.ends_with(b"\n") {
            return Ok(Progress::CaughtUp);
        }
        let Some(line) = parse(pending) else {
            pending.clear();
            continue;
        };
        let result = match line.stream {
            b"stderr" => print(&mut io::stderr().lock(), &line, args),
            _ => print(&mut io::stdout().lock(), &line, args),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Progress::ReaderGone);
            }
            result => result?,
        }
        pending.clear();
    }
}

/// A line of the CRI format.
pub(super) struct Line<'a> {
    time: &'a [u8],
    stream: &'a [u8],
    partial: bool,
    /// What the container wrote.
    pub content: &'a [u8],
}

/// Reads a whole line; none when it has another format.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n")?;
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    // Tags after a colon are reserved by the format.
    let partial = tag == b"P" || tag.starts_with(b"P:");
    Some(Line {
        time,
        stream,
        partial,
        content: parts.next().unwrap_or_default(),
    })
}

fn print(out: &mut impl Write, line: &Line<'_>, args: &LogsArgs) -> io::Result<()> {
    if args.timestamps {
        out.write_all(line.time)?;
        out.write_all(b" ")?;
    }
    out.write_all(line.content)?;
    if !line.partial || args.timestamps {
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_of_the_cri_format() {
        let line = parse(b"2026-01-02T03:04:05.6Z stdout F a b  c\n").unwrap();
        assert_eq!(
            (line.stream, line.partial, line.content),
            (&b"stdout"[..], false, &b"a b  c"[..])
        );
        assert!(
            parse(b"2026-01-02T03:04:05.6Z stderr P \n")
                .unwrap()
                .partial
        );
        assert!(parse(b"garbage\n").is_none());
        assert!(parse(b"2026 stdout F unfinished").is_none());
    }
}
