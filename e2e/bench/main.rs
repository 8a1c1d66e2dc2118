//! Measures Holdfast beside the kernel's own cost of a pod, and prints the budgets beside both.
//!
//! Everything goes through the CRI socket of a daemon of its own, one call after the other unless a line says
//! otherwise. Being over budget fails nothing: times drift from machine to machine, and what counts is the
//! ratio to the floor of the same run.
//!
//! ```text
//!   bench [COUNT]               the table
//!   bench against DIR [COUNT]   this build beside the one in DIR, pod by pod in turns
//!   bench output [OTHER ...]    output beside other builds (directories) and conmon (a path), in turns
//!   bench plugins [COUNT]       reference plugins served by the daemon beside their programs, in turns
//! ```

mod against;
mod floor;
mod machine;
mod measures;
mod output;
mod plugins;
mod table;

use std::path::Path;

use e2e::Daemon;
use table::Table;

/// Rounds of each measurement of output.
const ROUNDS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    if let [word, dir, ..] = arguments.as_slice()
        && word == "against"
    {
        against::against(Path::new(dir), count(2).unwrap_or(200));
        return;
    }
    if let [word, others @ ..] = arguments.as_slice()
        && word == "output"
    {
        output::beside(others, ROUNDS);
        return;
    }
    if arguments.first().is_some_and(|word| word == "plugins") {
        plugins::plugins(count(1).unwrap_or(50));
        return;
    }
    let count = count(0).unwrap_or(100);
    let daemon = Daemon::start();
    daemon.pull(e2e::BUSYBOX);
    let mut table = Table::new();
    table.title("the kernel's floor (bare clone3, setns, mounts, exec)");
    floor::measure(&mut table, &daemon, count);
    table.title("one pod after the other, pod network");
    measures::lifecycle(&mut table, &daemon, count, measures::Network::Pod);
    table.title("one pod after the other, host network");
    measures::lifecycle(&mut table, &daemon, count, measures::Network::Host);
    table.title("32 at once");
    measures::storm(&mut table, &daemon);
    table.title("many pods");
    measures::crowd(&mut table, &daemon);
    table.title("container output into the log");
    output::measure(&mut table, &daemon);
    table.title("images");
    measures::pull(&mut table, &daemon);
    table.print();
}
