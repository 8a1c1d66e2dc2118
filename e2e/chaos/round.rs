//! One round: a daemon, its clients, and the reckoning.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cri_api::holdfast::v1::DebtsRequest;
use e2e::{call, leaks};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::Client;
use crate::model::Checked;
use crate::report;
use crate::script::{Ground, Script};
use crate::world::World;

/// How long debts may take to be paid when their causes are gone: the longest pause between two attempts is 300 s.
const DEBTS: Duration = Duration::from_secs(330);

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
    let world = World::new(ground);
    report::set(Some(world.witness()));
    storm(&world, limits);
    world.check(settle(&world));
    let outcome = Outcome {
        calls: world.calls.load(Ordering::Relaxed),
        disturbances: world.disturbances.load(Ordering::Relaxed),
        interrupted: INTERRUPTED.load(Ordering::Relaxed),
    };
    let violation = world.violation();
    let report = violation.map(|violation| world.witness().report(&violation));
    if let Some(report) = report {
        report::set(None);
        leaks::clean(&world.daemon.place);
        // Its end would ask a daemon that is gone to remove things.
        std::mem::forget(world);
        return Err(report);
    }
    // Removes everything and compares the machine with before; a leak panics.
    drop(world);
    report::set(None);
    println!(
        "chaos: round {}: {} calls, {} disturbances",
        limits.round, outcome.calls, outcome.disturbances
    );
    Ok(outcome)
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
