//! The limits of a container and their present use: cgroups(7), getrlimit(2).

use std::path::Path;

use super::super::control_group::{Groups, Value, counter};
use super::super::procfs;
use super::fact::Fact;
use crate::out::text;
use holdfast_kernel::sys::pid::Pid;

/// Memory limits from here on mean none: v1 has a number for it, the largest multiple of the page size.
const UNLIMITED: u64 = i64::MAX as u64 >> 13 << 12;

/// Facts on memory, CPU, processes and open files.
pub(super) fn facts(pid: Pid) -> Vec<Fact> {
    let groups = Groups::of_process(pid);
    [
        memory(&groups),
        cpu(&groups),
        pids(&groups),
        oom(pid),
        files(pid),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn fact(statement: String, values: &[&Option<Value>]) -> Fact {
    let files = values
        .iter()
        .filter_map(|value| Some(value.as_ref()?.file.as_path()));
    Fact::new("limits", statement, join_paths(&files.collect::<Vec<_>>()))
}

/// Files of one directory, which is named once, as a shell would take them.
fn join_paths(files: &[&Path]) -> String {
    let directory = files.first().and_then(|file| file.parent());
    let is_there = |file: &&Path| file.parent() == directory;
    match (files, directory) {
        ([file], _) => file.display().to_string(),
        (files, Some(directory)) if files.iter().all(is_there) => {
            let names = files.iter().filter_map(|file| file.file_name()?.to_str());
            format!(
                "{}/{{{}}}",
                directory.display(),
                names.collect::<Vec<_>>().join(",")
            )
        }
        (files, _) => {
            let files: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            files.join(", ")
        }
    }
}

fn number(value: &Option<Value>) -> Option<u64> {
    value.as_ref()?.text.parse().ok()
}

fn size(value: &Option<Value>) -> String {
    number(value).map_or_else(|| "?".to_owned(), text::size)
}

fn memory(groups: &Groups) -> Option<Fact> {
    let limit = groups.read("memory", "memory.limit_in_bytes", "memory.max");
    let used = groups.read("memory", "memory.usage_in_bytes", "memory.current");
    let most = groups.read("memory", "memory.max_usage_in_bytes", "memory.peak");
    let events = groups.read("memory", "memory.oom_control", "memory.events");
    limit.as_ref()?;
    let mut statement = match number(&limit).filter(|bytes| *bytes < UNLIMITED) {
        Some(bytes) => format!(
            "memory: at most {}; beyond it the kernel kills",
            text::size(bytes)
        ),
        None => format!("memory: no limit of its own{}", above(groups)),
    };
    statement.push_str(&format!(
        ". Now {}, at most so far {}",
        size(&used),
        size(&most)
    ));
    let kills = events
        .as_ref()
        .and_then(|events| counter(&events.text, "oom_kill"));
    if let Some(kills) = kills.filter(|kills| *kills > 0) {
        statement.push_str(&format!(". Out of memory: {kills} process(es) killed"));
    }
    Some(fact(statement, &[&limit, &used, &most, &events]))
}

/// The next limit above, since a group is bounded by all that it is in.
fn above(groups: &Groups) -> String {
    let names = ("memory.limit_in_bytes", "memory.max");
    let mut directory = groups.directory("memory").and_then(Path::parent);
    while let Some(group) = directory {
        let Some(value) = groups.read_in(group, "memory", names) else {
            break;
        };
        let limit = value
            .text
            .parse()
            .ok()
            .filter(|bytes: &u64| *bytes < UNLIMITED);
        if let Some(bytes) = limit {
            return format!(", but {} for all in {}", text::size(bytes), group.display());
        }
        directory = group.parent();
    }
    String::new()
}

fn cpu(groups: &Groups) -> Option<Fact> {
    let stat = groups.read("cpu", "cpu.stat", "cpu.stat");
    let weight = groups.read("cpu", "cpu.shares", "cpu.weight");
    let (quota, bound) = if groups.is_v2() {
        let value = groups.read("cpu", "", "cpu.max");
        let bound = value.as_ref().and_then(|value| {
            let (quota, period) = value.text.split_once(' ')?;
            Some((quota.parse().ok()?, period.parse().ok()?))
        });
        (value, bound)
    } else {
        let quota = groups.read("cpu", "cpu.cfs_quota_us", "");
        let period = groups.read("cpu", "cpu.cfs_period_us", "");
        let bound = number(&quota).zip(number(&period));
        (quota, bound)
    };
    stat.as_ref()?;
    let mut statement = match bound {
        Some((quota, period)) => format!(
            "cpu: at most {}: {} ms of every {} ms, then it waits",
            share(quota, period),
            milliseconds(quota),
            milliseconds(period)
        ),
        None => "cpu: no limit".to_owned(),
    };
    if let Some(weight) = &weight {
        statement.push_str(&format!(
            ". Its weight beside others that want the CPU is {} ({} is the usual)",
            weight.text,
            if groups.is_v2() { 100 } else { 1024 }
        ));
    }
    if let Some(waited) = stat.as_ref().and_then(|stat| throttled(&stat.text)) {
        statement.push_str(&waited);
    }
    Some(fact(statement, &[&quota, &weight, &stat]))
}

/// A share of CPUs with two digits.
fn share(quota: u64, period: u64) -> String {
    let hundredths = quota.saturating_mul(100) / period.max(1);
    format!("{}.{:02} CPUs", hundredths / 100, hundredths % 100)
}

fn milliseconds(micros: u64) -> String {
    match micros % 1000 {
        0 => (micros / 1000).to_string(),
        rest => format!("{}.{rest:03}", micros / 1000),
    }
}

/// How often and how long it had to wait; v2 counts microseconds, v1 nanoseconds.
fn throttled(stat: &str) -> Option<String> {
    let times = counter(stat, "nr_throttled").filter(|times| *times > 0)?;
    let micros = counter(stat, "throttled_usec")
        .or_else(|| counter(stat, "throttled_time").map(|nanos| nanos / 1000))
        .unwrap_or_default();
    let periods = counter(stat, "nr_periods").unwrap_or_default();
    Some(format!(
        ". It had to wait in {times} of {periods} periods, {} ms altogether",
        micros / 1000
    ))
}

fn pids(groups: &Groups) -> Option<Fact> {
    let limit = groups.read("pids", "pids.max", "pids.max");
    let now = groups.read("pids", "pids.current", "pids.current");
    let most = match limit.as_ref()?.text.as_str() {
        "max" => "no limit".to_owned(),
        most => format!("at most {most}; fork fails beyond it"),
    };
    let count = now.as_ref().map_or("?", |now| now.text.as_str());
    Some(fact(
        format!("processes and threads: {most}. Now {count}"),
        &[&limit, &now],
    ))
}

fn oom(pid: Pid) -> Option<Fact> {
    let score = procfs::text(pid, "oom_score_adj").ok()?;
    let statement = format!(
        "when the node is out of memory, its score is moved by {} (−1000: never killed, 1000: first)",
        score.trim().replace('-', "−")
    );
    Some(Fact::new(
        "limits",
        statement,
        pid.proc_file("oom_score_adj"),
    ))
}

fn files(pid: Pid) -> Option<Fact> {
    let limits = procfs::text(pid, "limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    let mut words = line.split_whitespace().skip(3);
    let (soft, hard) = (words.next()?, words.next()?);
    let statement = format!("open files: {soft} for each process, which may raise it to {hard}");
    Some(Fact::new("limits", statement, pid.proc_file("limits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_waiting() {
        assert_eq!(share(50_000, 100_000), "0.50 CPUs");
        assert_eq!(share(250_000, 100_000), "2.50 CPUs");
        assert_eq!(milliseconds(1500), "1.500");
        let v1 = "nr_periods 10\nnr_throttled 4\nthrottled_time 2500000\n";
        let v2 = "nr_periods 10\nnr_throttled 4\nthrottled_usec 2500\n";
        assert_eq!(throttled(v1), throttled(v2));
        assert!(throttled(v1).unwrap().contains("4 of 10 periods, 2 ms"));
        assert_eq!(throttled("nr_throttled 0\n"), None);
    }
}
