//! `holdfast doctor`: checks what this kernel and this machine can do for pods, and says what to do about the rest.
//!
//! ```text
//!   kernel   calls that are tried, features of the kernel's configuration ─┐
//!   machine  cgroups, security modules, settings                          ├─▶ findings ─▶ table, JSON
//!   setup    the daemon's own conditions, network plugins, registries     ─┘
//! ```
//!
//! What can be tried without a trace is tried; only what cannot is inferred, from the kernel's configuration. It
//! works without a daemon, and says so. What this module must never do: change the machine, or
//! make a difference for a pod that runs.

mod finding;
mod kernel;
mod machine;
mod setup;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::connect::{ConnectError, Daemon};
use super::out::{self, FormatArgs, PrintError, style, table};
use finding::{Finding, Verdict};

/// The command line of `holdfast doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: holdfast doctor\n\nThe exit code is 1 when the machine lacks something that every pod needs."
)]
pub struct DoctorArgs {
    /// Format of the output.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// The JSON output of `doctor`.
#[derive(Debug, Serialize)]
struct Document {
    findings: Vec<Finding>,
}

/// Checks everything and prints the findings.
pub(super) async fn run(
    daemon: Result<Daemon, ConnectError>,
    args: DoctorArgs,
) -> Result<ExitCode, PrintError> {
    let mut findings = kernel::findings();
    findings.extend(machine::findings());
    findings.extend(setup::findings(daemon).await);
    let missing = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Missing);
    let document = Document { findings };
    out::print(args.format.output, &document, |document| {
        people(&document.findings)
    })?;
    Ok(ExitCode::from(u8::from(missing)))
}

fn people(findings: &[Finding]) -> Result<(), PrintError> {
    let mut area = "";
    let mut out = table::new(&["", "", "FOUND", "NEEDED FOR"]);
    for one in findings {
        if one.area != area {
            area = one.area;
            out.add_row([style::paint(style::STRONG, area)]);
        }
        let verdict = match one.verdict {
            Verdict::Ok => style::paint(style::GOOD, "ok"),
            Verdict::Unknown => style::paint(style::WARN, "unknown"),
            Verdict::Limited => style::paint(style::WARN, "limited"),
            Verdict::Missing => style::paint(style::BAD, "MISSING"),
        };
        out.add_row([
            &format!("  {}", one.what),
            &verdict,
            &one.found,
            one.needed_for,
        ]);
    }
    table::print(&out)?;
    let open: Vec<_> = findings
        .iter()
        .filter(|finding| !finding.remedy.is_empty())
        .collect();
    if !open.is_empty() {
        out::line(&format!("\n{}", style::paint(style::STRONG, "What to do")))?;
    }
    for finding in open {
        out::line(&format!("  {}: {}", finding.what, finding.remedy))?;
    }
    Ok(())
}
