//! A random storm of CRI calls from several clients, with a model of what may be answered.
//!
//! ```text
//!   chaos [--seed N] [--seconds N] [--clients N] [--round N] [--steps N]
//! ```
//!
//! Time is cut into rounds. Each has a daemon of its own on a ground of its own: the built-in bridge, a test build
//! with steps that fail, plugins that fail and hang, a small disk that fills up. At the end of a round everything is
//! repaired, what is there is compared with the model, everything is removed, and nothing may be left.
//!
//! What each client does follows from the seed, the round and the client's number. How the clients' steps fall
//! together does not: a violation may need some runs of `--round N` with the same seed to show again. `--steps`
//! says how many steps each client makes, which makes a long story short.

mod client;
mod disturb;
mod model;
mod random;
mod report;
mod round;
mod script;
mod world;

use std::time::{Duration, Instant};

use round::{Limits, Outcome};

/// What is to be done.
#[derive(Debug, Clone, Copy)]
struct Arguments {
    seed: u64,
    seconds: u64,
    clients: u64,
    round: Option<u64>,
    steps: u64,
}

/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(20);

fn arguments() -> Result<Arguments, String> {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut parsed = Arguments {
        seed: u64::from(nanos.subsec_nanos()),
        seconds: 600,
        clients: 4,
        round: None,
        steps: u64::MAX,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--seed" => parsed.seed = value,
            "--seconds" => parsed.seconds = value,
            "--clients" => parsed.clients = value.max(1),
            "--round" => parsed.round = Some(value),
            "--steps" => parsed.steps = value,
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(parsed)
}

fn main() {
    let arguments = arguments().unwrap_or_else(|error| {
        eprintln!("chaos: {error}; see the head of e2e/chaos/main.rs");
        std::process::exit(2)
    });
    println!(
        "chaos: seed {} ({} s, {} clients)",
        arguments.seed, arguments.seconds, arguments.clients
    );
    round::take_signals();
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let rounds = match arguments.round {
        Some(round) => round..round + 1,
        None => 0..u64::MAX,
    };
    let mut total = Outcome::default();
    for number in rounds {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || total.interrupted {
            break;
        }
        let limits = Limits {
            seed: arguments.seed,
            round: number,
            clients: arguments.clients,
            time: left.min(ROUND),
            steps: arguments.steps,
        };
        let again = format!(
            "--seed {} --clients {} --round {number}",
            arguments.seed, arguments.clients
        );
        report::on_panic(again.clone());
        match round::run(limits) {
            Ok(outcome) => total.add(outcome),
            Err(report) => {
                println!("{report}\nchaos: VIOLATION; again: {again}");
                std::process::exit(1);
            }
        }
    }
    println!(
        "chaos: seed {}: {} calls, {} disturbances, no violation",
        arguments.seed, total.calls, total.disturbances
    );
    if total.interrupted {
        std::process::exit(130);
    }
}
