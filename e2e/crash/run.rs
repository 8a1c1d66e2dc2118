//! One operation: find its points, kill it at each.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use e2e::fault::Point;

use crate::Options;
use crate::operations::Operation;
use crate::world::World;

/// How long an armed point may be hit after the operation has answered: what is left is done in the background.
const BACKGROUND: Duration = Duration::from_millis(700);

/// What the runs of one operation found.
#[derive(Debug, Default)]
pub struct Report {
    name: &'static str,
    /// Different steps that the operation takes.
    pub steps: usize,
    /// Points at which something was killed.
    pub killed: usize,
    /// Points at which the step failed.
    pub failed: usize,
    /// Points that the operation did not come to the second time.
    pub missed: Vec<Point>,
    /// What must not be.
    pub violations: Vec<String>,
    took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18} {:>3} steps, {:>3} kills, {:>3} errors, {:>2} not reached, {} violations, {:.0} s",
            self.name,
            self.steps,
            self.killed,
            self.failed,
            self.missed.len(),
            self.violations.len(),
            self.took.as_secs_f32()
        )?;
        for violation in &self.violations {
            write!(f, "\n  VIOLATION {violation}")?;
        }
        Ok(())
    }
}

/// Kills an operation at each of its points.
pub fn explore(operation: &Operation, options: &Options) -> Report {
    let start = Instant::now();
    let mut report = Report {
        name: operation.name,
        ..Report::default()
    };
    let mut world = None;
    let points = match catch(|| find(operation, &mut world)) {
        Ok(points) => points,
        Err(problem) => {
            report.violations.push(format!("undisturbed: {problem}"));
            return report;
        }
    };
    report.steps = steps(&points);
    for (point, fault) in chosen(points, options) {
        let outcome = catch(|| disturb(operation, &mut world, &point, fault));
        let count = match fault {
            Fault::Kill => &mut report.killed,
            Fault::Errno(_) => &mut report.failed,
        };
        match outcome {
            Ok(true) => *count += 1,
            Ok(false) => report.missed.push(point),
            Err(problem) => {
                *count += 1;
                let log = world.as_ref().map_or_else(String::new, World::log_tail);
                report
                    .violations
                    .push(format!("{fault} at {point}: {problem}\n{log}"));
                // The next point begins on a clean machine.
                drop(catch(|| world = None));
            }
        }
    }
    if let Err(problem) = catch(|| world = None) {
        report.violations.push(format!("at the end: {problem}"));
    }
    report.took = start.elapsed();
    report
}

fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().cloned();
    owned
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// All points that an undisturbed run comes to.
fn find(operation: &Operation, world: &mut Option<World>) -> Vec<Point> {
    let world = world.get_or_insert_with(|| World::start(operation.network));
    let mut subject = (operation.prepare)(world);
    world.faults.clear();
    (operation.act)(world, &subject);
    std::thread::sleep(BACKGROUND);
    let trace = world.faults.trace();
    world.revive();
    (operation.retry)(world, &mut subject);
    world.remove_all();
    world.require_clean();
    trace
}

fn steps(points: &[Point]) -> usize {
    let names = points.iter().map(|point| (&point.process, &point.step));
    names.collect::<std::collections::BTreeSet<_>>().len()
}

/// What is done at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The step fails with this errno.
    Errno(i32),
}

/// Input/output error, and no space left on device: errno(3).
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Steps for which a full disk has no room.
const NEEDS_ROOM: [&str; 4] = [
    "disk.write",
    "disk.make-dir",
    "disk.create-file",
    "shim.reserve-exit",
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Errno(number) => write!(f, "errno {number}"),
        }
    }
}

/// The points to be tried, and what is done at each: a kill at all of them, an error of the kernel at each step,
/// and a disk that stays full.
fn chosen(points: Vec<Point>, options: &Options) -> Vec<(Point, Fault)> {
    let kinds = [Fault::Kill, Fault::Errno(EIO)];
    if let Some(point) = &options.point {
        return kinds.map(|fault| (point.clone(), fault)).into();
    }
    let begins = points
        .iter()
        .filter(|point| point.when == "before" && point.process != "plugin");
    let mut failures: Vec<_> = begins
        .clone()
        .map(|point| (point.clone(), Fault::Errno(EIO)))
        .collect();
    let mut full: Vec<Point> = begins
        .filter(|point| NEEDS_ROOM.contains(&point.step.as_str()))
        .map(|point| Point {
            hit: 0,
            ..point.clone()
        })
        .collect();
    full.sort();
    full.dedup();
    failures.extend(full.into_iter().map(|point| (point, Fault::Errno(ENOSPC))));
    let mut chosen: Vec<_> = kills(points, options)
        .into_iter()
        .map(|point| (point, Fault::Kill))
        .collect();
    chosen.extend(failures);
    chosen
}

/// The points at which a process is killed.
fn kills(points: Vec<Point>, options: &Options) -> Vec<Point> {
    let same = |point: &Point, next: &Point| {
        point.when == "after" && next.when == "before" && point.process == next.process
    };
    let mut chosen = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let repeated = points.get(at + 1).is_some_and(|next| same(point, next));
        if options.thorough || !repeated {
            chosen.push(point.clone());
        }
    }
    chosen
}

/// Disturbs the operation at a point and demands that everything is as it must be. False when it was not reached.
fn disturb(operation: &Operation, world: &mut Option<World>, point: &Point, fault: Fault) -> bool {
    let world = world.get_or_insert_with(|| World::start(operation.network));
    let mut subject = (operation.prepare)(world);
    world.faults.arm(point, &fault.to_string());
    (operation.act)(world, &subject);
    let start = Instant::now();
    // What fails every time stays armed.
    let limit = if point.hit == 0 {
        Duration::from_millis(100)
    } else {
        BACKGROUND
    };
    while world.faults.is_armed() && start.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
    let reached = point.hit == 0 || !world.faults.is_armed();
    let killed = reached && fault == Fault::Kill;
    world.faults.disarm();
    if killed && point.process == "daemon" {
        let gone = || (!world.daemon.is_alive()).then_some(());
        e2e::call::until("the end of the killed daemon", Duration::from_secs(5), gone);
    }
    world.revive();
    if killed && point.process == "shim" {
        // It may be kept waiting before its end, and the daemon hears of that a moment later.
        let told = || (!world.has_shim(world.faults.killed()?)).then_some(());
        let patience = Duration::from_secs(10);
        e2e::call::until("the end of the pod of the killed shim", patience, told);
    }
    (operation.retry)(world, &mut subject);
    world.remove_all();
    world.require_clean();
    reached
}
