//! Kills the daemon, a shim or a network plugin before and after every step of every operation.
//!
//! The steps are found by running the operation once: a test build writes down each change that it makes to the
//! machine (`src/kernel/fault`). Then the operation runs once for each of these moments and is killed there; the daemon
//! starts again, the client does what a kubelet would do, and at the end nothing may be left.
//!
//! ```text
//!   crash [--only NAME]… [--point 'daemon disk.replace before 3'] [--thorough] [--jobs N]
//! ```
//!
//! The moment after a step and that before the next one of the same process differ in nothing; `--thorough` tries
//! both all the same.

mod kubelet;
mod operations;
mod run;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::fault::Point;

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct Options {
    only: Vec<String>,
    point: Option<Point>,
    thorough: bool,
    jobs: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        jobs: 3,
        ..Options::default()
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--only" => options.only.push(value()?),
            "--point" => options.point = Some(value()?.parse()?),
            "--thorough" => options.thorough = true,
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "--jobs needs a number")?,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("crash: {problem}");
            return ExitCode::FAILURE;
        }
    };
    // What fails at a point is told with the point.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let all: Vec<_> = operations::all()
        .into_iter()
        .filter(|operation| wanted(operation.name))
        .collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, all.len().max(1)) {
            scope.spawn(|| {
                while let Some(operation) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run::explore(operation, &options);
                    println!("{result}");
                    if let Ok(mut results) = results.lock() {
                        results.push(result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    let total = |count: fn(&run::Report) -> usize| results.iter().map(count).sum::<usize>();
    let violations = total(|report| report.violations.len());
    println!(
        "crash: {} operations, {} steps, {} kills, {} errors, {} points not reached again, {violations} violations",
        results.len(),
        total(|report| report.steps),
        total(|report| report.killed),
        total(|report| report.failed),
        total(|report| report.missed.len()),
    );
    if violations == 0 && results.len() == all.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
