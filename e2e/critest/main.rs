//! Runs critest, the conformance suite of the CRI, against a daemon of its own, and compares what each spec did
//! with `expected.toml`: a spec that fails unlisted fails the run, and so does a listed one that passes.
//!
//! ```text
//!   conformance [--websocket] [--parallel N] [--focus REGEX] [--set KEY=VALUE]...
//! ```
//!
//! `--set` changes a key of the daemon's configuration, such as `cgroup.driver=systemd`. With `--focus` only the
//! specs that ran are compared.

mod expected;
mod report;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Daemon, Options};

use expected::{Expected, Outcome};

/// What was asked on the command line.
#[derive(Debug, Default)]
struct Arguments {
    websocket: bool,
    parallel: Option<u32>,
    focus: Option<String>,
    settings: Vec<(&'static str, String)>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let expected = Expected::read(&e2e::program::source("e2e/critest/expected.toml"))?;
    // The suite removes and counts images: it must be alone on its daemon.
    let mut options = Options::default();
    for (key, value) in &arguments.settings {
        options = options.set(key, value.as_str());
    }
    let daemon = Daemon::with(options);
    let dir = tempfile::tempdir().context("make a directory for the report")?;
    run_critest(&arguments, &daemon, dir.path())?;
    let specs = report::read(dir.path())?;
    let outcome = expected.compare(&specs, arguments.focus.is_some());
    summary(&outcome);
    Ok(outcome.surprises.is_empty())
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} wants a value"))
            };
            match word.as_str() {
                "--websocket" => arguments.websocket = true,
                "--parallel" => {
                    arguments.parallel =
                        Some(value()?.parse().context("--parallel wants a number")?);
                }
                "--focus" => arguments.focus = Some(value()?),
                "--set" => {
                    let setting = value()?;
                    let (key, value) = setting.split_once('=').context("--set wants KEY=VALUE")?;
                    arguments
                        .settings
                        .push((String::leak(key.to_owned()), value.to_owned()));
                }
                other => bail!("unknown argument {other}; see the head of e2e/critest/main.rs"),
            }
        }
        Ok(arguments)
    }
}

/// Runs the suite to its end. That specs fail is no error here: the report tells.
fn run_critest(arguments: &Arguments, daemon: &Daemon, dir: &Path) -> Result<()> {
    // Without a configuration file of its own critest would read one of the machine.
    let config = dir.join("crictl.yaml");
    std::fs::write(&config, "timeout: 0\n").context("write crictl.yaml")?;
    let endpoint = format!("unix://{}", daemon.place.socket().display());
    let mut command = Command::new("critest");
    command
        .arg(format!("-config={}", config.display()))
        .arg(format!("-runtime-endpoint={endpoint}"))
        .arg(format!("-image-endpoint={endpoint}"))
        .arg("-ginkgo.no-color")
        .arg(format!(
            "-ginkgo.json-report={}",
            dir.join(report::NAME).display()
        ))
        .current_dir(dir)
        .env("TMPDIR", dir)
        .stdin(Stdio::null());
    if arguments.websocket {
        command.args([
            "-websocket-exec",
            "-websocket-attach",
            "-websocket-portforward",
        ]);
    }
    if let Some(count) = arguments.parallel {
        command.arg(format!("-parallel={count}"));
    }
    if let Some(focus) = &arguments.focus {
        command.arg(format!("-ginkgo.focus={focus}"));
    }
    let status = command
        .status()
        .context("run critest; e2e/tools/install.sh builds it")?;
    ensure!(status.code().is_some(), "critest was killed: {status}");
    Ok(())
}

fn summary(outcome: &Outcome) {
    println!();
    for line in &outcome.excused {
        println!("  excused   {line}");
    }
    for line in &outcome.surprises {
        println!("  SURPRISE  {line}");
    }
    println!(
        "critest: {} passed, {} excused, {} surprises",
        outcome.passed,
        outcome.excused.len(),
        outcome.surprises.len()
    );
}
