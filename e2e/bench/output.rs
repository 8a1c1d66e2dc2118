//! How fast output goes into logs, beside other builds and conmon.
//!
//! All contenders write the same bytes with the same program in turns, because the speed of memory and disk drifts
//! more than the contenders differ.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::request;
use e2e::{BUSYBOX, Container, Daemon, Pod, program};

use crate::machine;
use crate::measures::TICKS;
use crate::table::{Samples, Table, verdict};

/// The output that is written: its name, bytes of a line, bytes of a write, all bytes, writers at once, budget in MB/s.
const LOADS: [(&str, usize, usize, usize, usize, f64); 4] = [
    ("64 KiB lines", 65_536, 65_536, 1 << 29, 1, 1200.0),
    (
        "lines of 128 B, 64 KiB writes",
        128,
        65_536,
        1 << 29,
        1,
        600.0,
    ),
    ("lines of 128 B, a write each", 128, 128, 1 << 27, 1, 500.0),
    (
        "the same, 10 containers at once",
        128,
        128,
        1 << 25,
        10,
        500.0,
    ),
];

/// A runtime that does what conmon needs of one: it starts the program and says which process it is.
const RUNTIME: &str = "#!/bin/sh
while [ $# -gt 0 ]; do [ \"$1\" != --pid-file ] || pid_file=$2; shift; done
$HOLDFAST_BENCH_WRITER </dev/null &
echo $! >\"$pid_file\"
";

/// One that takes output.
enum Contender<'d> {
    Build(&'d str, &'d Daemon, Vec<Pod<'d>>),
    Conmon(&'d str, PathBuf),
}

/// Bytes per second and CPU time of the machine for each megabyte, of several rounds.
#[derive(Default)]
struct Rates {
    megabytes: Vec<f64>,
    millis: Vec<f64>,
}

/// The rows of the whole benchmark.
pub fn measure(table: &mut Table, daemon: &Daemon) {
    let pods = vec![daemon.run_named("logs")];
    let ours = Contender::Build("", daemon, pods);
    for (what, line, chunk, total, writers, budget) in LOADS.into_iter().filter(|load| load.4 == 1)
    {
        let mut rates = Rates::default();
        // The first pass meets memory that was never touched.
        for _ in 0..4 {
            ours.run([total, line, chunk], writers, &mut rates);
        }
        let rate = rates.best();
        let budget = verdict(rate >= budget, &format!("≥ {budget} MB/s"));
        table.figure(what, rate, "MB/s", &budget);
    }
    slow_writer(table, daemon);
    after_burst(table, daemon);
}

/// The same beside other builds, by their directories, and conmon, by its path.
pub fn beside(others: &[String], rounds: usize) {
    let mut table = Table::new();
    let ours = Daemon::start();
    let builds: Vec<Option<Daemon>> = others.iter().map(|other| start(Path::new(other))).collect();
    let mut contenders = vec![Contender::Build("this build", &ours, pods(&ours))];
    for (other, build) in others.iter().zip(&builds) {
        contenders.push(match build {
            Some(daemon) => Contender::Build(other, daemon, pods(daemon)),
            None => Contender::Conmon(other, prepare(&ours)),
        });
    }
    for (what, line, chunk, total, writers, _) in LOADS {
        table.title(&format!("{what}: best and median MB/s, ms of CPU for a MB"));
        let mut rates: Vec<Rates> = contenders.iter().map(|_| Rates::default()).collect();
        for round in 0..=rounds {
            for (contender, rates) in contenders.iter().zip(&mut rates) {
                let mut warm_up = Rates::default();
                let rates = if round == 0 { &mut warm_up } else { rates };
                contender.run([total, line, chunk], writers, rates);
            }
        }
        for (contender, rates) in contenders.iter().zip(rates) {
            rates.print(contender.name(), &mut table);
        }
    }
    for contender in &contenders {
        if let Contender::Build(name, daemon, _) = contender {
            table.title(name);
            slow_writer(&mut table, daemon);
            after_burst(&mut table, daemon);
        }
    }
    let _ = fs::remove_dir_all(ours.place.logs().join("conmon"));
    table.print();
}

/// A daemon of another build, when the path is that of a directory.
fn start(dir: &Path) -> Option<Daemon> {
    if !dir.is_dir() {
        return None;
    }
    let daemon = Daemon::start();
    daemon.terminate();
    daemon.restart_as(&dir.join("holdfastd"));
    Some(daemon)
}

fn pods(daemon: &Daemon) -> Vec<Pod<'_>> {
    daemon.pull(BUSYBOX);
    let name = |number| format!("logs-{number}");
    (0..10)
        .map(|number| daemon.run_named(&name(number)))
        .collect()
}

/// Everything that conmon needs in a directory of its own, with the program that writes.
fn prepare(daemon: &Daemon) -> PathBuf {
    let directory = daemon.place.logs().join("conmon");
    let runtime = directory.join("runtime");
    let made = fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&runtime, RUNTIME))
        .and_then(|()| fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)));
    made.unwrap_or_else(|error| panic!("prepare conmon: {error}"));
    let source = program::source("e2e/images/src/probe.c");
    let options = ["-O2", "-static", "-pthread", "-o"].map(PathBuf::from);
    let files = [directory.join("probe"), source];
    program::run("gcc", options.into_iter().chain(files)).ok();
    directory
}

impl Contender<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Build(name, ..) | Self::Conmon(name, _) => name,
        }
    }

    /// Writes all bytes once with each of the writers.
    fn run(&self, numbers: [usize; 3], writers: usize, rates: &mut Rates) {
        let words = numbers.map(|number| number.to_string());
        let [total, line, chunk] = [&words[0], &words[1], &words[2]];
        let busy = machine::busy();
        let took = match self {
            Self::Build(_, _, pods) => {
                let command = ["/bin/probe", "out", total, line, chunk];
                run_containers(&pods[..writers], &command)
            }
            Self::Conmon(program, directory) => {
                let writer = format!("{}/probe out {total} {line} {chunk}", directory.display());
                run_conmon(
                    Path::new(program),
                    directory,
                    &writer,
                    writers,
                    numbers[0] as u64,
                )
            }
        };
        let megabytes = (numbers[0] * writers) as f64 / 1e6;
        let cpu = (machine::busy() - busy) as f64 / TICKS * 1e3;
        rates.megabytes.push(megabytes / took.as_secs_f64());
        rates.millis.push(cpu / megabytes);
    }
}

fn run_containers(pods: &[Pod<'_>], command: &[&str]) -> Duration {
    let config = request::container("out", BUSYBOX, command);
    let containers = pods.iter().map(|pod| pod.create(config.clone()));
    let containers: Vec<Container<'_>> = containers.collect();
    let begin = Instant::now();
    containers.iter().for_each(Container::start);
    for container in &containers {
        container.wait();
    }
    let took = begin.elapsed();
    for container in &containers {
        let _ = fs::remove_file(container.log_path());
        container.remove();
    }
    took
}

fn run_conmon(
    conmon: &Path,
    directory: &Path,
    writer: &str,
    writers: usize,
    least: u64,
) -> Duration {
    let begin = Instant::now();
    let start = |number: usize| {
        let own = directory.join(format!("c{number}"));
        let _ = fs::remove_dir_all(&own);
        let made = fs::create_dir(&own).and_then(|()| fs::write(own.join("config.json"), "{}"));
        made.unwrap_or_else(|error| panic!("{}: {error}", own.display()));
        let id = format!("bench{number}");
        let mut command = Command::new(conmon);
        command.args(["--sync", "--no-sync-log", "-c", &id, "-u", &id, "-n", &id]);
        command.arg("-b").arg(&own);
        command.arg("-r").arg(directory.join("runtime"));
        command.arg("-p").arg(own.join("pid"));
        command
            .arg("-l")
            .arg(format!("k8s-file:{}", own.join("log").display()));
        command.arg("--exit-dir").arg(&own);
        command.arg("--socket-dir-path").arg(&own);
        command.env("HOLDFAST_BENCH_WRITER", writer);
        command.stdin(Stdio::null());
        let child = command.spawn();
        child.unwrap_or_else(|error| panic!("{}: {error}", conmon.display()))
    };
    let children: Vec<_> = (0..writers).map(start).collect();
    for mut child in children {
        // Its exit code is 1 without a file for the exit, and tells nothing.
        let _ = child.wait();
    }
    let took = begin.elapsed();
    for number in 0..writers {
        let own = directory.join(format!("c{number}"));
        let logged = fs::metadata(own.join("log")).map_or(0, |about| about.len());
        assert!(logged > least, "conmon has written {logged} bytes");
        let _ = fs::remove_dir_all(own);
    }
    took
}

impl Rates {
    fn best(&self) -> f64 {
        self.megabytes.iter().copied().fold(0.0, f64::max)
    }

    fn print(mut self, name: &str, table: &mut Table) {
        let best = self.best();
        let median = |all: &mut Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let (rate, cpu) = (median(&mut self.megabytes), median(&mut self.millis));
        let rest = format!("{rate:>9.1} MB/s  {cpu:>6.3} ms");
        table.figure(name, best, "MB/s", &rest);
    }
}

/// A line each 10 ms: how late it is in the log, and what it costs the shim.
fn slow_writer(table: &mut Table, daemon: &Daemon) {
    const LINES: u32 = 300;
    let pod = daemon.run_named("slow");
    let container = pod.start(request::idle("slow"));
    // The benchmark writes in its container's place, so that it knows when.
    let path = format!("/proc/{}/fd/1", container.pid());
    let mut pipe = File::options()
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let log = File::open(container.log_path()).unwrap_or_else(|error| panic!("log: {error}"));
    let length = || log.metadata().map_or(0, |about| about.len());
    let shim = machine::parent(pod.pause());
    let (before, mut samples) = (machine::nanos(shim), Samples::default());
    for _ in 0..LINES {
        std::thread::sleep(Duration::from_millis(10));
        let (written, begin) = (length(), Instant::now());
        let _ = pipe.write_all(b"a line of a program that writes now and then\n");
        while length() == written && begin.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        samples.add(begin.elapsed());
    }
    let micros = (machine::nanos(shim) - before) as f64 / 1e3 / f64::from(LINES);
    table.times("a line each 10 ms, until it is in the log", samples, None);
    table.figure("CPU of the shim for such a line", micros, "µs", "");
    pod.remove();
}

/// Memory of a shim after much output.
fn after_burst(table: &mut Table, daemon: &Daemon) {
    let pod = daemon.run_named("burst");
    let idle = pod.start(request::idle("idle"));
    let shim = machine::parent(pod.pause());
    let before = machine::pss(shim);
    let command = ["/bin/probe", "out", "100000000", "128", "128"];
    run_containers(std::slice::from_ref(&pod), &command);
    let after = machine::pss(shim);
    std::thread::sleep(Duration::from_secs(3));
    let rest = machine::pss(shim);
    let text = format!("{before:.0} before, {after:.0} at the end of the burst");
    table.figure("PSS of the shim, 3 s after a burst", rest, "KiB", &text);
    idle.stop(0);
    pod.remove();
}
