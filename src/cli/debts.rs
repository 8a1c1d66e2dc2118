//! `holdfast debts`: what the daemon could not release yet, and keeps trying to release.

use clap::Args;
use cri_api::holdfast::v1::{self as api, DebtsRequest};
use serde::Serialize;

use super::connect::Daemon;
use super::out::{self, FormatArgs, table, text};
use crate::out::PrintError;
use crate::refusal::Refusal;
use crate::request::RequestError;

/// The command line of `holdfast debts`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast debts -o json")]
pub struct DebtsArgs {
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// A debt as the list shows it. Times are in Unix nanoseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    object: String,
    kind: String,
    since: i64,
    attempts: u32,
    next_attempt: i64,
    reason: String,
}

impl From<api::Debt> for Listed {
    fn from(debt: api::Debt) -> Self {
        Self {
            object: debt.object,
            kind: debt.kind,
            since: debt.since_unix_nanos,
            attempts: debt.attempts,
            next_attempt: debt.next_attempt_unix_nanos,
            reason: debt.reason,
        }
    }
}

/// Lists the debts. Usually there are none, and only the headings are printed.
pub(super) async fn list(mut daemon: Daemon, args: DebtsArgs) -> Result<(), RequestError> {
    let reply = daemon.holdfast.debts(DebtsRequest {}).await;
    let reply = reply.map_err(Refusal::to("list the debts"))?;
    let debts = reply.into_inner().debts.into_iter().map(Listed::from);
    let debts: Vec<_> = debts.collect();
    Ok(out::print(args.format.output, &debts, |debts| show(debts))?)
}

fn show(debts: &[Listed]) -> Result<(), PrintError> {
    let mut out = table::new(&["OBJECT", "KIND", "SINCE", "ATTEMPTS", "NEXT", "REASON"]);
    for debt in debts {
        out.add_row([
            text::short(&debt.object),
            &debt.kind,
            &text::ago(debt.since),
            &debt.attempts.to_string(),
            &text::ahead(debt.next_attempt),
            &debt.reason,
        ]);
    }
    table::print(&out)
}
