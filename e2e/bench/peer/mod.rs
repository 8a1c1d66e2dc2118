//! Another runtime beside this one: the same requests, in turns, suite by suite.
//!
//! ```text
//!   machine's network namespace   ours on the built-in bridge     the peer: memory, pulls, host network, output
//!   a namespace of its own        ours with network plugins       the peer, started again: plugins, many pods
//! ```
//!
//! Durable state is on the disk of /var/tmp, volatile state on a tmpfs, as on a node.

mod calls;
mod containerd;
mod crio;
mod daemon;
mod programs;
mod request;
mod sides;
mod suites;
mod volatile;

use e2e::BUSYBOX;
use e2e::cni::Release;

use crate::table::Table;
use programs::Programs;
use sides::Sides;

/// Measures a peer beside this build; `words` are the count of lives and the release of the plugins.
pub fn beside(peer: &str, words: &[&str]) -> Result<(), String> {
    let programs = Programs::find(peer)?;
    if !request::can_limit() {
        return Err(format!(
            "{} does not start containers without the controllers cpu and memory, which no mounted cgroup tree \
             has; boot with cgroup_no_v1=all, or measure it on cgroup v1",
            programs.name
        ));
    }
    let count = words
        .iter()
        .find_map(|word| word.parse().ok())
        .unwrap_or(30);
    let release = match words.contains(&"debian") {
        true => Release::Debian,
        false => Release::Built,
    };
    let name = programs.name;
    let mut sides = Sides::start(programs, release)?;
    let mut table = Table::new();
    table.title(&format!(
        "{name} and Holdfast in turns, {}, {count} lives, plugins: {release:?}\n  {:<44} {:>10} {:>10}        {:>8}  goal",
        e2e::machine::cgroup_version(),
        "", name, "Holdfast", "ratio"
    ));
    let goals = suites::Goals::of_this_machine();
    suites::fresh(&mut table, &sides);
    suites::pulls(&mut table, &sides);
    for side in [sides.bridge(), sides.peer()] {
        side.calls.pull(BUSYBOX);
    }
    suites::host(&mut table, &sides, &goals, count);
    suites::output(&mut table, &sides);
    sides.move_peer_home();
    suites::networks(&mut table, &sides, &goals, count);
    suites::masquerading(&mut table, &sides, count);
    suites::crowd(&mut table, &sides, count);
    table.print();
    Ok(())
}
