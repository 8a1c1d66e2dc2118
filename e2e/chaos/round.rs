//! One round: a daemon, its clients, and the reckoning.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cri_api::holdfast::v1::DebtsRequest;
use e2e::call;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::Client;
use crate::model::Checked;
use crate::script::{Ground, Script};
use crate::world::World;

/// How long debts may take to be paid when their causes are gone.
const DEBTS: Duration = Duration::from_secs(120);

/// Lines of the history and of the daemon's log that a report shows.
const SHOWN: usize = 120;

/// What a round is to be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub seed: u64,
    pub round: u64,
    pub clients: u64,
    pub time: Duration,
    pub steps: u64,
}

/// What a round was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub calls: u64,
    pub disturbances: u64,
    pub interrupted: bool,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.disturbances += other.disturbances;
        self.interrupted |= other.interrupted;
    }
}

/// Set by SIGINT and SIGTERM: the round ends early, and cleans up after itself as always.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes the signals that end a program, from now on.
pub fn take_signals() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let wait = async {
            let mut term = signal(SignalKind::terminate())?;
            loop {
                tokio::select! {
                    done = tokio::signal::ctrl_c() => done?,
                    _ = term.recv() => {}
                }
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
        };
        let ended: std::io::Result<()> = runtime.and_then(|runtime| runtime.block_on(wait));
        eprintln!("chaos: signals are not taken: {ended:?}");
    });
}

/// Runs a round.
///
/// # Errors
/// The report of a violation.
pub fn run(limits: Limits) -> Result<Outcome, String> {
    let ground = Ground::of(limits.seed, limits.round);
    println!("chaos: round {} on {ground:?}", limits.round);
    let started = catch_unwind(|| World::new(ground));
    let world = started.map_err(|panic| format!("the round does not start: {}", text(&*panic)))?;
    storm(&world, limits);
    let settled = catch_unwind(AssertUnwindSafe(|| settle(&world)));
    world.check(settled.unwrap_or_else(|panic| Err(text(&*panic))));
    let outcome = Outcome {
        calls: world.calls.load(Ordering::Relaxed),
        disturbances: world.disturbances.load(Ordering::Relaxed),
        interrupted: INTERRUPTED.load(Ordering::Relaxed),
    };
    let report = world
        .violation()
        .map(|violation| report(&world, &violation));
    let (log, story) = (world.daemon.log(), world.model().story(&[], SHOWN));
    // Removes everything and compares the machine with before.
    let ended = catch_unwind(AssertUnwindSafe(move || drop(world)));
    if let Some(report) = report {
        return Err(report);
    }
    ended.map_err(|panic| {
        let log: Vec<_> = log.lines().collect();
        let tail = log[log.len().saturating_sub(SHOWN)..].join("\n");
        format!("{}\n{tail}\n{}", story.join("\n"), text(&*panic))
    })?;
    println!(
        "chaos: round {}: {} calls, {} disturbances",
        limits.round, outcome.calls, outcome.disturbances
    );
    Ok(outcome)
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let word = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or(word).unwrap_or_else(|| "a panic".to_owned())
}

/// The clients, all at once.
fn storm(world: &World, limits: Limits) {
    let until = Instant::now() + limits.time;
    std::thread::scope(|scope| {
        for number in 0..limits.clients {
            scope.spawn(move || {
                let script = Script::new(limits.seed, limits.round, number);
                Client::new(world, number).run(script, until, limits.steps);
            });
        }
        while Instant::now() < until && !world.is_over() {
            if INTERRUPTED.load(Ordering::Relaxed) {
                world.end();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

/// Nobody does anything any more: what is there is what the model says, and every way to ask says the same.
fn settle(world: &World) -> Checked {
    let log = world.daemon.log();
    if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
        return Err(format!("the daemon panicked: {line}"));
    }
    if world.violation().is_some() {
        return Ok(());
    }
    let client = Client::new(world, u64::MAX);
    // What was under way ends: stops with a grace, exits by themselves, pods whose shim was killed.
    std::thread::sleep(Duration::from_secs(2));
    let pods = client.list_pods();
    let containers = client.list_containers();
    client.list_images();
    for pod in &pods {
        let status = world.daemon.try_pod_status(&pod.id);
        let status = status.map_err(|status| format!("{}: {status}", pod.id))?;
        let status = status.status.unwrap_or_default();
        if (status.state, &status.metadata) != (pod.state, &pod.metadata) {
            return Err(format!(
                "pod {} is listed as {pod:?}, and is {status:?}",
                pod.id
            ));
        }
    }
    for listed in &containers {
        let status = world.daemon.try_status(&listed.id);
        let status = status.map_err(|status| format!("{}: {status}", listed.id))?;
        let status = status.status.unwrap_or_default();
        if (status.state, &status.metadata) != (listed.state, &listed.metadata) {
            let id = &listed.id;
            return Err(format!(
                "container {id} is listed as {listed:?}, and is {status:?}"
            ));
        }
        client.look_at_container(&listed.id);
    }
    debts(world)
}

/// What is owed is paid when its cause is gone.
fn debts(world: &World) -> Checked {
    let start = Instant::now();
    loop {
        let mut client = world.daemon.clients().holdfast;
        let owed = call::call(async move { client.debts(DebtsRequest {}).await });
        let owed = owed.map_err(|status| format!("Debts: {status}"))?.debts;
        if owed.is_empty() || INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(());
        }
        if start.elapsed() > DEBTS {
            return Err(format!("debts that are not paid: {owed:?}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The story of what a violation is about.
fn report(world: &World, violation: &str) -> String {
    let hex = |word: &&str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = violation.split(|c: char| !c.is_ascii_alphanumeric());
    let ids: Vec<String> = words.filter(hex).map(str::to_owned).collect();
    let mut told = ids.clone();
    told.extend(["daemon", "fault", "disk", "plugin", "VIOLATION"].map(|word| format!(" {word}")));
    let story = world.model().story(&told, SHOWN);
    let log = world.daemon.log();
    let of_them = log
        .lines()
        .filter(|line| ids.iter().any(|id| line.contains(id.as_str())));
    let lines: Vec<_> = of_them.collect();
    format!(
        "--- history ---\n{}\n--- the daemon's log about them ---\n{}\n--- its end ---\n{}\n{violation}",
        story.join("\n"),
        lines[lines.len().saturating_sub(SHOWN)..].join("\n"),
        world.daemon.log_tail(),
    )
}
