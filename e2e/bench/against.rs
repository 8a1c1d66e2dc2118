//! Two builds in turns, so that what drifts on a machine meets both alike.

use std::path::Path;
use std::time::Duration;

use e2e::Daemon;

use crate::machine;
use crate::measures::{Life, Network, STEPS, TICKS};
use crate::table::{Samples, Table};

/// One of the two builds.
struct Side {
    daemon: Daemon,
    steps: Life,
    busy: u64,
}

impl Side {
    /// A daemon of the programs in `dir`, or of those that are measured.
    fn start(dir: Option<&Path>) -> Self {
        let daemon = Daemon::start();
        if let Some(dir) = dir {
            daemon.terminate();
            daemon.restart_as(&dir.join("holdfastd"));
        }
        daemon.pull(e2e::BUSYBOX);
        Self {
            daemon,
            steps: Life::default(),
            busy: 0,
        }
    }

    fn live(&mut self, name: &str, network: Network) {
        let begin = machine::busy();
        self.steps.live(&self.daemon, name, network);
        self.busy += machine::busy() - begin;
    }
}

/// The lives of `count` pods of either build, and what ours takes of the other's time.
pub fn against(dir: &Path, count: usize) {
    let mut table = Table::new();
    let mut sides = [Side::start(None), Side::start(Some(dir))];
    for network in [Network::Pod, Network::Host] {
        table.title(&format!(
            "{network:?} network: this build, the other, ratio"
        ));
        for number in 0..count {
            let name = format!("life-{network:?}-{number}").to_lowercase();
            let [ours, other] = &mut sides;
            if number % 2 == 0 {
                ours.live(&name, network);
                other.live(&name, network);
            } else {
                other.live(&name, network);
                ours.live(&name, network);
            }
        }
        let [ours, other] = sides.each_mut().map(|side| std::mem::take(&mut side.steps));
        let mut others = other.0.into_iter().map(Samples::median);
        for (what, ours) in STEPS.iter().zip(ours.0) {
            table.pair(
                what,
                millis(ours.median()),
                millis(others.next().unwrap_or_default()),
            );
        }
        let [ours, other] = sides
            .each_mut()
            .map(|side| std::mem::take(&mut side.busy) as f64 / TICKS * 1e3 / count as f64);
        table.pair("machine CPU for such a life", ours, other);
    }
    table.print();
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
