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
//!   bench peer PEER [COUNT] [debian]   another runtime in turns: containerd, containerd:DIRECTORY or the path of
//!                               crio; with the network plugins of Debian instead of those that are built
//!   bench timeline [DIR] [COUNT] [host]   where the time of each call goes, of this build or the one in DIR
//!   bench cgroup2 WORD...       any of these where only the tree of cgroup v2 is mounted
//! ```

mod against;
mod floor;
mod guard;
mod machine;
mod measures;
mod output;
mod peer;
mod plugins;
mod table;
mod timeline;
mod unified;

use std::path::Path;
use std::process::ExitCode;

use e2e::Daemon;
use table::Table;

/// Rounds of each measurement of output.
const ROUNDS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let count = |word: Option<&&str>| word.and_then(|text| text.parse().ok());
    if let [guard::WORD, pid] = words.as_slice() {
        guard::wait_for(pid);
        return ExitCode::SUCCESS;
    }
    if let ["cgroup2", rest @ ..] = words.as_slice() {
        let error = unified::again(rest);
        eprintln!("bench: cannot run unshare: {error}");
        return ExitCode::FAILURE;
    }
    guard::start();
    match words.as_slice() {
        ["against", dir, rest @ ..] => {
            against::against(Path::new(dir), count(rest.first()).unwrap_or(200));
        }
        ["output", ..] => output::beside(&arguments[1..], ROUNDS),
        ["plugins", rest @ ..] => plugins::plugins(count(rest.first()).unwrap_or(50)),
        ["peer", peer, rest @ ..] => return ended(peer::beside(peer, rest)),
        ["timeline", rest @ ..] => return ended(timeline::draw(rest)),
        rest => table(count(rest.first()).unwrap_or(100)),
    }
    ExitCode::SUCCESS
}

/// Says why a measurement could not be made.
fn ended(result: Result<(), String>) -> ExitCode {
    let Err(problem) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("bench: {problem}");
    ExitCode::FAILURE
}

/// The whole table of this build.
fn table(count: usize) {
    let daemon = Daemon::start();
    daemon.pull(e2e::BUSYBOX);
    let mut table = Table::new();
    table.title(&format!(
        "{}: the kernel's floor (bare clone3, setns, mounts, exec)",
        e2e::machine::cgroup_version()
    ));
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
