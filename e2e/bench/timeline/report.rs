//! One call in words: the stretches of its time, and the CPU time of each process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::event::{Event, What};
use super::path::{Call, Kind, Stretch};

/// Stretches shorter than this are added to their neighbours.
const SHORT: f64 = 0.02;

/// How many system calls of a stretch are named.
const NAMED: usize = 5;

/// One call that was traced.
#[derive(Debug)]
pub struct Drawn<'d> {
    /// Process id of the daemon.
    pub daemon: i32,
    /// The process and the name of each thread.
    pub names: &'d BTreeMap<i32, (i32, String)>,
    /// Threads of the daemon and of all that it has started.
    pub family: &'d BTreeSet<i32>,
    /// Threads of the client.
    pub clients: &'d BTreeSet<i32>,
    /// The events of the call.
    pub events: &'d [Event],
}

/// The work that one process did during a call.
#[derive(Debug, Default)]
struct Share {
    cpu: f64,
    threads: BTreeSet<i32>,
    switches: usize,
    calls: usize,
}

impl Drawn<'_> {
    /// The lines of the call.
    pub fn text(&self) -> String {
        let Some(bounds) = self.bounds() else {
            return "  the trace has lost the call".to_owned();
        };
        let call = Call {
            events: self.events,
            bounds,
            family: self.family,
            clients: self.clients,
        };
        let path = call.path();
        let mut text = format!("  {}\n", self.sums(&path));
        for stretch in &merged(path) {
            let (at, took) = (stretch.from - bounds.0, stretch.to - stretch.from);
            let who = match stretch.kind {
                Kind::Client => "client".to_owned(),
                _ => self.who(stretch.thread),
            };
            let what = describe(&stretch.kind);
            let _ = writeln!(text, "  {at:>6.2} {took:>6.2}  {who:<26} {what}");
        }
        for (who, share) in self.shares(bounds) {
            let _ = writeln!(
                text,
                "  {who}: CPU {:.2}, {} threads, {} switches, {} system calls",
                share.cpu,
                share.threads.len(),
                share.switches,
                share.calls
            );
        }
        text
    }

    /// The time of the call by what it went into.
    fn sums(&self, path: &[Stretch]) -> String {
        let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for stretch in path {
            let what = match stretch.kind {
                Kind::Runs(..) => match self.names.get(&stretch.thread) {
                    Some((process, _)) => self.role(*process),
                    None => "others".to_owned(),
                },
                Kind::Hop => "hops".to_owned(),
                Kind::Preempted => "other programs".to_owned(),
                Kind::Waits(_) => "waits for the kernel".to_owned(),
                Kind::Client => "client".to_owned(),
            };
            let sum = sums.entry(what).or_default();
            *sum = (sum.0 + stretch.to - stretch.from, sum.1 + 1);
        }
        let words = sums
            .iter()
            .map(|(what, (time, count))| match what.as_str() {
                "hops" => format!("{count} hops {time:.2}"),
                _ => format!("{what} {time:.2}"),
            });
        words.collect::<Vec<_>>().join("; ")
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        let mark = |text: &str| {
            let mut all = self.events.iter();
            all.find(|event| matches!(&event.what, What::Mark(mark) if mark == text))
        };
        Some((mark("begin")?.at, mark("end")?.at))
    }

    /// The process, and the thread of a process with several.
    fn who(&self, thread: i32) -> String {
        let Some((process, name)) = self.names.get(&thread) else {
            return format!("thread {thread}");
        };
        let role = self.role(*process);
        match thread == *process {
            true => role,
            false => format!("{role} / {name} {}", thread % 1000),
        }
    }

    fn role(&self, process: i32) -> String {
        let name = self
            .names
            .get(&process)
            .map_or("", |(_, name)| name.as_str());
        match name {
            _ if process == self.daemon => "daemon".to_owned(),
            "holdfast-shims" => "server of shims".to_owned(),
            _ if name.starts_with("holdfast-shim") => "shim".to_owned(),
            _ => format!("child ({name})"),
        }
    }

    fn shares(&self, (begin, end): (f64, f64)) -> BTreeMap<String, Share> {
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        let mut since: BTreeMap<i32, f64> = BTreeMap::new();
        let inside = |event: &&Event| event.at >= begin && event.at <= end;
        for event in self.events.iter().filter(inside) {
            match event.what {
                What::Switch(from, _, to) => {
                    let was = since.remove(&from);
                    if let Some(share) = self.share(&mut shares, from) {
                        share.cpu += event.at - was.unwrap_or(event.at);
                        share.switches += 1;
                    }
                    since.insert(to, event.at);
                }
                What::Enter(_) => {
                    if let Some(share) = self.share(&mut shares, event.thread) {
                        share.calls += 1;
                    }
                }
                _ => {}
            }
        }
        for (thread, was) in since {
            if let Some(share) = self.share(&mut shares, thread) {
                share.cpu += end - was;
            }
        }
        shares
    }

    fn share<'s>(
        &self,
        shares: &'s mut BTreeMap<String, Share>,
        thread: i32,
    ) -> Option<&'s mut Share> {
        let process = self
            .names
            .get(&thread)
            .filter(|_| self.family.contains(&thread))?
            .0;
        let share = shares.entry(self.role(process)).or_default();
        share.threads.insert(thread);
        Some(share)
    }
}

/// The stretches with those that are short added to the one before.
fn merged(path: Vec<Stretch>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    for next in path {
        let short = next.to - next.from < SHORT;
        match all.last_mut() {
            Some(last) if short || (last.thread == next.thread && last.kind == next.kind) => {
                last.to = next.to;
            }
            _ => all.push(next),
        }
    }
    all
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Runs(calls, user) => {
            let shown = calls
                .iter()
                .filter(|(_, _, time)| *time >= 0.005)
                .take(NAMED);
            let mut words: Vec<_> = shown
                .map(|(name, count, time)| match count {
                    1 => format!("{name} {time:.2}"),
                    _ => format!("{count} {name} {time:.2}"),
                })
                .collect();
            words.push(format!("rest {:.2}", user.max(0.0)));
            words.join(", ")
        }
        Kind::Hop => "is woken, waits for a processor".to_owned(),
        Kind::Preempted => "waits for a processor".to_owned(),
        Kind::Waits(call) if call.is_empty() => "waits for the kernel".to_owned(),
        Kind::Waits(call) => format!("waits for the kernel in {call}"),
        Kind::Client => "the client and the socket".to_owned(),
    }
}
