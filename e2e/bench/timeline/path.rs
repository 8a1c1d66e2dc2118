//! What the answer to a call waited for, from its end back to its beginning.
//!
//! Whoever answers was woken by somebody, who ran from some moment on, because somebody had woken that one: so every
//! moment of a call belongs to exactly one thread that ran, or that was woken and had to wait for a processor, or that
//! waited for the kernel in a system call.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, What};

/// The use of one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The thread runs; its system calls with their number and time, and the time outside of them.
    Runs(Vec<(String, usize, f64)>, f64),
    /// The thread has been woken and waits for a processor.
    Hop,
    /// The thread waits for another program on this machine.
    Preempted,
    /// The thread waits for the kernel, in a system call.
    Waits(String),
    /// The client and the socket between.
    Client,
}

/// A stretch of the time of a call.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Its begin in milliseconds.
    pub from: f64,
    /// Its end in milliseconds.
    pub to: f64,
    /// The thread it belongs to.
    pub thread: i32,
    /// The use of the stretch.
    pub kind: Kind,
}

/// The events of one call, and who is who.
#[derive(Debug)]
pub struct Call<'e> {
    /// The events, in their order.
    pub events: &'e [Event],
    /// Begin and end in milliseconds.
    pub bounds: (f64, f64),
    /// Threads of the daemon and of all that it has started.
    pub family: &'e BTreeSet<i32>,
    /// Threads of the client.
    pub clients: &'e BTreeSet<i32>,
}

impl Call<'_> {
    /// The stretches from begin to end.
    ///
    /// The two sides also wake each other for what HTTP/2 has beside answers: of the ways that end with a word to the
    /// client, the way of the answer is that on which the client has the least share.
    pub fn path(&self) -> Vec<Stretch> {
        let (begin, end) = self.bounds;
        let told = |event: &&Event| {
            matches!(event.what, What::Waking(target) if self.clients.contains(&target))
                && self.family.contains(&event.thread)
                && event.at > begin
                && event.at <= end
        };
        let words = self.events.iter().filter(told);
        let ways = words.map(|word| self.path_to(word));
        let share = |path: &[Stretch]| -> f64 {
            let of_client = path.iter().filter(|stretch| stretch.kind == Kind::Client);
            of_client.map(|stretch| stretch.to - stretch.from).sum()
        };
        let best = ways.min_by(|one, other| share(one).total_cmp(&share(other)));
        best.unwrap_or_default()
    }

    /// The stretches of a way that ends with a word to the client.
    fn path_to(&self, word: &Event) -> Vec<Stretch> {
        let (begin, end) = self.bounds;
        let (mut thread, mut at) = (word.thread, word.at);
        let mut path = vec![stretch(at, end, thread, Kind::Client)];
        while at > begin {
            let step = self.back(thread, at);
            let next = step.first().map_or(begin, |first| first.from);
            thread = step.first().map_or(thread, |first| first.thread);
            let is_client = step.first().is_some_and(|first| first.kind == Kind::Client);
            let waker = self.waker(&step);
            path.extend(step.into_iter().rev());
            if is_client || next >= at {
                break;
            }
            (thread, at) = (waker.unwrap_or(thread), next);
        }
        path.reverse();
        path
    }

    /// The stretches of one thread before a moment, back to where another one woke it, in their order.
    fn back(&self, thread: i32, at: f64) -> Vec<Stretch> {
        let begin = self.bounds.0;
        let on = self.last(
            at,
            |event| matches!(event.what, What::Switch(_, _, next) if next == thread),
        );
        let Some(on) = on.filter(|on| on.at > begin) else {
            return vec![self.runs(begin, at, thread)];
        };
        let runs = self.runs(on.at, at, thread);
        let off = self.last(
            on.at,
            |event| matches!(event.what, What::Switch(prev, ..) if prev == thread),
        );
        let since = off.map_or(begin, |off| off.at).max(begin);
        if off.is_some_and(|off| matches!(off.what, What::Switch(_, 'R', _))) {
            return vec![stretch(since, on.at, thread, Kind::Preempted), runs];
        }
        let woken = self.last(on.at, |event| event.what == What::Waking(thread));
        let Some(woken) = woken.filter(|woken| woken.at >= since) else {
            let waits = Kind::Waits(self.call_at(thread, since));
            return vec![stretch(since, on.at, thread, waits), runs];
        };
        let hop = stretch(woken.at, on.at, thread, Kind::Hop);
        if self.clients.contains(&woken.thread) {
            return vec![stretch(begin, woken.at, thread, Kind::Client), hop, runs];
        }
        if self.is_waker(woken, thread) {
            return vec![hop, runs];
        }
        let waits = Kind::Waits(self.call_at(thread, since));
        vec![stretch(since, woken.at, thread, waits), hop, runs]
    }

    fn is_waker(&self, woken: &Event, thread: i32) -> bool {
        self.family.contains(&woken.thread) && woken.thread != thread && !woken.interrupt
    }

    /// The thread that woke the one of the first stretch, when that is a hop.
    fn waker(&self, step: &[Stretch]) -> Option<i32> {
        let first = step.first().filter(|first| first.kind == Kind::Hop)?;
        let woken = self.last(first.from, |event| event.what == What::Waking(first.thread))?;
        Some(woken.thread)
    }

    fn last(&self, until: f64, wanted: impl Fn(&Event) -> bool) -> Option<&Event> {
        let end = self.events.partition_point(|event| event.at <= until);
        self.events[..end].iter().rev().find(|event| wanted(event))
    }

    /// The system call in which a thread is at a moment; empty when it is in none.
    fn call_at(&self, thread: i32, at: f64) -> String {
        let last = self.last(at, |event| {
            event.thread == thread && matches!(event.what, What::Enter(_) | What::Exit)
        });
        match last.map(|event| &event.what) {
            Some(What::Enter(name)) => name.clone(),
            _ => String::new(),
        }
    }

    fn runs(&self, from: f64, to: f64, thread: i32) -> Stretch {
        let mut calls: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        let mut open: Option<(String, f64)> = None;
        let own = self.events.iter().filter(|event| event.thread == thread);
        for event in own.filter(|event| event.at >= from && event.at <= to) {
            match &event.what {
                What::Enter(name) => open = Some((name.clone(), event.at)),
                What::Exit => {
                    if let Some((name, since)) = open.take() {
                        let entry = calls.entry(name).or_default();
                        *entry = (entry.0 + 1, entry.1 + event.at - since);
                    }
                }
                _ => {}
            }
        }
        if let Some((name, since)) = open {
            let entry = calls.entry(name).or_default();
            *entry = (entry.0 + 1, entry.1 + to - since);
        }
        let inside: f64 = calls.values().map(|(_, time)| time).sum();
        let mut all: Vec<_> = calls
            .into_iter()
            .map(|(name, (count, time))| (name, count, time))
            .collect();
        all.sort_by(|one, other| other.2.total_cmp(&one.2));
        stretch(from, to, thread, Kind::Runs(all, to - from - inside))
    }
}

fn stretch(from: f64, to: f64, thread: i32, kind: Kind) -> Stretch {
    Stretch {
        from,
        to,
        thread,
        kind,
    }
}
