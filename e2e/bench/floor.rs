//! Runs the bare program next to this file: what no runtime can be faster than.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::{Daemon, program};

use crate::table::{Samples, Table};

/// Compiles and runs it.
pub fn measure(table: &mut Table, daemon: &Daemon, count: usize) {
    let directory = daemon.place.root().join("floor");
    let binary = directory.join("floor");
    for part in [
        "lower/bin",
        "lower/proc",
        "lower/dev",
        "lower/sys",
        "upper",
        "work",
        "root",
    ] {
        std::fs::create_dir_all(directory.join(part))
            .unwrap_or_else(|error| panic!("{part}: {error}"));
    }
    let source = program::source("e2e/bench/floor.c");
    let compile = [
        PathBuf::from("-O2"),
        PathBuf::from("-static"),
        PathBuf::from("-o"),
        binary.clone(),
        source,
    ];
    program::run("gcc", compile).ok();
    let copy = format!(
        "cp \"$(command -v busybox)\" {}/lower/bin/true",
        directory.display()
    );
    program::sh(&copy);
    let mut command = Command::new(&binary);
    command.arg(count.to_string()).arg(&directory);
    let output = program::finish(command).ok();
    let words: Vec<_> = output.split_whitespace().collect();
    for group in words.chunks(3) {
        let [name, median, late] = group else {
            continue;
        };
        let micros = |text: &str| Duration::from_secs_f64(text.parse::<f64>().unwrap_or(0.0) / 1e6);
        let mut samples = Samples::default();
        // The program gives the two figures; as many samples reproduce them.
        (0..count - count / 50).for_each(|_| samples.add(micros(median)));
        (0..count / 50).for_each(|_| samples.add(micros(late)));
        let what = match *name {
            "pause" => "net, ipc, uts namespaces and a pause",
            "pod" => "the same and a container",
            _ => "setns and exec of /bin/true",
        };
        table.times(what, samples, None);
    }
    let _ = std::fs::remove_dir_all(&directory);
}
