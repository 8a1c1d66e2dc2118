//! `holdfast debts`: what the daemon could not release yet, and tries again.

use cri_api::holdfast::v1::DebtsRequest;

use super::connect::Daemon;
use super::{CliError, table};

/// Lists the debts. No line but the headings is the usual answer.
pub(super) async fn list(mut daemon: Daemon) -> Result<(), CliError> {
    let reply = daemon.holdfast.debts(DebtsRequest {}).await;
    let debts = reply
        .map_err(CliError::refused("list the debts"))?
        .into_inner()
        .debts;
    let mut out = table::new(&["OBJECT", "KIND", "SINCE", "ATTEMPTS", "NEXT", "REASON"]);
    for debt in debts {
        let since = table::ago(debt.since_unix_nanos);
        let object = table::short(&debt.object).to_owned();
        let next = table::ahead(debt.next_attempt_unix_nanos);
        let attempts = debt.attempts.to_string();
        out.add_row([object, debt.kind, since, attempts, next, debt.reason]);
    }
    table::print(&out)
}
