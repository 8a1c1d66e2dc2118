//! Shows logs until they have ended, or as they grow.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::arguments::LogsArgs;
use super::logs_error::LogsError;
use super::print::Printer;
use super::shown::ShownLogs;
use crate::connect::Daemon;
use crate::out::Reader;

/// How often followed logs are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often it is asked which containers there are and whether they still run.
const CONTAINER_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Carries out `holdfast logs`.
pub(crate) async fn run(mut daemon: Daemon, args: LogsArgs) -> Result<(), LogsError> {
    let mut logs = ShownLogs::find(&mut daemon, &args).await?;
    let mut printer = Printer::new(&args, logs.heads());
    let mut looked = Instant::now();
    let mut ended: Option<Instant> = None;
    loop {
        if printer.drain(logs.sources())? == Reader::Gone || !args.follow {
            return Ok(());
        }
        logs.forget_ended();
        if logs.is_done() {
            let since = *ended.get_or_insert_with(Instant::now);
            if since.elapsed() >= logs.wait_for_others() {
                return Ok(());
            }
        } else {
            ended = None;
        }
        sleep(POLL).await;
        if looked.elapsed() >= CONTAINER_POLL_INTERVAL {
            logs.poll_containers(&mut daemon).await?;
            looked = Instant::now();
        }
    }
}
