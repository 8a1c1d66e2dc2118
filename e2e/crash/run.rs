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

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    name: &'static str,
    /// Different steps that the operation takes.
    pub steps: usize,
    /// Points at which something was killed.
    pub killed: usize,
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
            "{:<18} {:>3} steps, {:>3} kills, {:>2} not reached, {} violations, {:.0} s",
            self.name,
            self.steps,
            self.killed,
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
    for point in chosen(points, options) {
        let outcome = catch(|| kill_at(operation, &mut world, &point));
        match outcome {
            Ok(true) => report.killed += 1,
            Ok(false) => report.missed.push(point),
            Err(problem) => {
                report.killed += 1;
                let log = world.as_ref().map_or_else(String::new, World::log_tail);
                report.violations.push(format!("{point}: {problem}\n{log}"));
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

/// The points to be tried.
fn chosen(points: Vec<Point>, options: &Options) -> Vec<Point> {
    if let Some(point) = &options.point {
        return vec![point.clone()];
    }
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

/// Kills the operation at a point and demands that everything is as it must be. False when it was not reached.
fn kill_at(operation: &Operation, world: &mut Option<World>, point: &Point) -> bool {
    let world = world.get_or_insert_with(|| World::start(operation.network));
    let mut subject = (operation.prepare)(world);
    world.faults.arm(point, "kill");
    (operation.act)(world, &subject);
    let start = Instant::now();
    while world.faults.is_armed() && start.elapsed() < BACKGROUND {
        std::thread::sleep(Duration::from_millis(5));
    }
    let reached = !world.faults.is_armed();
    world.faults.disarm();
    if reached && point.process == "daemon" {
        let gone = || (!world.daemon.is_alive()).then_some(());
        e2e::call::until("the end of the killed daemon", Duration::from_secs(5), gone);
    }
    world.revive();
    if reached && point.process == "shim" {
        // The daemon hears of it a moment later.
        let told = || (!crate::kubelet::is_ready(world, &subject)).then_some(());
        e2e::call::until(
            "the sandbox whose shim was killed",
            Duration::from_secs(5),
            told,
        );
    }
    (operation.retry)(world, &mut subject);
    world.remove_all();
    world.require_clean();
    reached
}
