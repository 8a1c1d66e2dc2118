//! Where the milliseconds of each call go, in daemon, shim and child: `bench timeline`.
//!
//! The kernel says who runs and who wakes whom, and which system calls are made; the programs need no code for it, so
//! any build can be drawn. The daemon is warm. What the trace itself costs is printed: the median of calls with it and
//! without.

mod event;
mod path;
mod report;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::daemon::Options;
use e2e::place::Place;
use e2e::request::{self, PodParts};
use e2e::{BUSYBOX, Daemon, leaks, must};

use crate::measures::Network;
use event::{Event, What};
use report::Drawn;
use trace::Tracer;

pub use trace::sweep;

/// The calls of a life, in their order.
const CALLS: [&str; 7] = [
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "ExecSync",
    "StopContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
];

/// The facts about the processes of a daemon.
#[derive(Debug, Default)]
struct Family {
    threads: BTreeSet<i32>,
    /// The process and the last name of each thread.
    names: BTreeMap<i32, (i32, String)>,
}

/// Draws the calls of one life; the words are a directory of programs, the number of lives, and `host`.
///
/// # Errors
/// The kernel cannot be traced.
pub fn draw(words: &[&str]) -> Result<(), String> {
    let count = words
        .iter()
        .find_map(|word| word.parse().ok())
        .unwrap_or(15);
    let network = match words.contains(&"host") {
        true => Network::Host,
        false => Network::Pod,
    };
    let daemon = start(words.iter().find(|word| word.contains('/')).map(Path::new));
    for number in 0..count {
        live(&daemon, &format!("warm-{number}"), network, |_, call| {
            call()
        });
    }
    let mut bare = BTreeMap::new();
    for number in 0..count {
        live(&daemon, &format!("bare-{number}"), network, |what, call| {
            time(&mut bare, what, call);
        });
    }
    let mut family = Family::of(&daemon);
    let tracer = Tracer::start(&daemon.place, &family.threads)?;
    let (mut traced, mut drawn) = (BTreeMap::new(), Vec::new());
    for number in 0..count {
        live(
            &daemon,
            &format!("drawn-{number}"),
            network,
            |what, call| {
                tracer.mark("begin");
                time(&mut traced, what, call);
                tracer.mark("end");
                let events = event::parse(&tracer.take());
                family.learn(&events);
                drawn.push((what, events));
            },
        );
    }
    drop(tracer);
    print(&daemon, &family, &drawn, [bare, traced]);
    Ok(())
}

fn start(programs: Option<&Path>) -> Daemon {
    let place = Place::new();
    Options::default().set("log.level", "info").write(&place);
    let daemon = Daemon::at(place);
    if let Some(programs) = programs {
        daemon.terminate();
        daemon.restart_as(&programs.join("holdfastd"));
    }
    daemon.pull(BUSYBOX);
    daemon
}

fn time(times: &mut BTreeMap<&'static str, Vec<f64>>, what: &'static str, call: &mut dyn FnMut()) {
    let begin = Instant::now();
    call();
    let took = begin.elapsed().as_secs_f64() * 1e3;
    times.entry(what).or_default().push(took);
}

/// Lets one pod live, each call by way of `around`.
fn live(
    daemon: &Daemon,
    name: &str,
    network: Network,
    mut around: impl FnMut(&'static str, &mut dyn FnMut()),
) {
    let mut config = daemon.pod(name);
    if network == Network::Host {
        config.namespaces().network = cri_api::runtime::v1::NamespaceMode::Node.into();
    }
    let (mut pod, mut container) = (String::new(), String::new());
    for what in CALLS {
        around(what, &mut || match what {
            "RunPodSandbox" => pod = must(what, daemon.try_run(&config)),
            "CreateContainer" => {
                let idle = request::idle("main");
                container = must(what, daemon.try_create(&pod, &config, &idle));
            }
            "StartContainer" => must(what, daemon.try_start(&container)),
            "ExecSync" => drop(must(what, daemon.try_exec(&container, &["/bin/true"], 0))),
            "StopContainer" => must(what, daemon.try_stop(&container, 0)),
            "StopPodSandbox" => must(what, daemon.try_stop_pod(&pod)),
            _ => must(what, daemon.try_remove_pod(&pod)),
        });
        // What a call leaves to others is not part of the next one.
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Family {
    fn of(daemon: &Daemon) -> Self {
        let mut family = Self::default();
        let others = leaks::survivors(&daemon.place);
        let others = others.iter().filter_map(|line| line.split(' ').next());
        let all = others.filter_map(|pid| pid.parse().ok());
        for pid in all.chain([daemon.pid()]) {
            family.threads.extend(threads(pid));
            for thread in threads(pid) {
                let path = format!("/proc/{pid}/task/{thread}/comm");
                let name = fs::read_to_string(path).unwrap_or_default();
                family.names.insert(thread, (pid, name.trim().to_owned()));
            }
        }
        family
    }

    /// Adds those that were started, and the names that threads have now.
    fn learn(&mut self, events: &[Event]) {
        for event in events {
            if let What::Fork(child) = event.what
                && self.threads.contains(&event.thread)
            {
                self.threads.insert(child);
            }
            if self.threads.contains(&event.thread) && event.process != 0 {
                let name = (event.process, event.name.clone());
                self.names.insert(event.thread, name);
            }
        }
    }
}

fn threads(pid: i32) -> BTreeSet<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// Prints each call as it was when it was fastest: other programs of the machine have disturbed that least.
#[expect(clippy::print_stdout, reason = "the timeline is what it is for")]
fn print(
    daemon: &Daemon,
    family: &Family,
    drawn: &[(&str, Vec<Event>)],
    [bare, traced]: [BTreeMap<&str, Vec<f64>>; 2],
) {
    let clients = threads(i32::try_from(std::process::id()).unwrap_or_default());
    println!("{}; times in milliseconds", e2e::machine::cgroup_version());
    for what in CALLS {
        let times = &traced[what];
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        let at = times.iter().position(|time| *time == best);
        let mut all = drawn.iter().filter(|(name, _)| *name == what);
        let Some((_, events)) = all.nth(at.unwrap_or_default()) else {
            continue;
        };
        let medians = [times, &bare[what]].map(|times| median(times));
        let drawn = Drawn {
            daemon: daemon.pid(),
            names: &family.names,
            family: &family.threads,
            clients: &clients,
            events,
        };
        println!(
            "\n{what}: {best:.2}, the fastest of {}; median {:.2}, without the trace {:.2}",
            times.len(),
            medians[0],
            medians[1]
        );
        print!("{}", drawn.text());
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
