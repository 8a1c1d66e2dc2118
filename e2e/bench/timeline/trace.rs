//! The kernel's own trace of a daemon and all that it starts: tracefs, in an instance of this program's own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::place::Place;
use e2e::program;

/// What is traced: who runs, who wakes whom, who starts whom, and all system calls.
const EVENTS: [&str; 5] = [
    "sched/sched_switch",
    "sched/sched_waking",
    "sched/sched_wakeup_new",
    "sched/sched_process_fork",
    "syscalls",
];

/// Where tracefs is on machines that mount it.
const USUAL: &str = "/sys/kernel/tracing";

/// An instance of the kernel's tracer.
#[derive(Debug)]
pub struct Tracer {
    instance: PathBuf,
}

impl Tracer {
    /// Makes an instance that follows threads and what they fork.
    ///
    /// # Errors
    /// This kernel has no tracefs, or not these events.
    pub fn start(place: &Place, threads: &BTreeSet<i32>) -> Result<Self, String> {
        let top = match Path::new(USUAL).join("instances").is_dir() {
            true => PathBuf::from(USUAL),
            false => mount(place)?,
        };
        let instance = top.join("instances").join(name(std::process::id()));
        let tracer = Self { instance };
        fs::create_dir(&tracer.instance)
            .map_err(|error| format!("make {}: {error}", tracer.instance.display()))?;
        tracer.set("trace_clock", "mono")?;
        tracer.set("buffer_size_kb", "16384")?;
        for option in ["record-tgid", "event-fork"] {
            tracer.set(&format!("options/{option}"), "1")?;
        }
        let words: Vec<_> = threads.iter().map(i32::to_string).collect();
        tracer.set("set_event_pid", &words.join(" "))?;
        tracer.enable("1")?;
        Ok(tracer)
    }

    /// Lets all events be written, or none of them.
    pub fn enable(&self, value: &str) -> Result<(), String> {
        EVENTS
            .iter()
            .try_for_each(|event| self.set(&format!("events/{event}/enable"), value))
    }

    /// Writes a line of this program's own into the trace.
    pub fn mark(&self, text: &str) {
        let _ = self.set("trace_marker", text);
    }

    /// The lines since the last time.
    pub fn take(&self) -> String {
        let text = fs::read(self.instance.join("trace")).unwrap_or_default();
        let _ = self.set("trace", "");
        String::from_utf8_lossy(&text).into_owned()
    }

    fn set(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.instance.join(file);
        fs::write(&path, value).map_err(|error| format!("write {}: {error}", path.display()))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.enable("0");
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Removes the instance of a program that was killed.
pub fn sweep(pid: &str) {
    let script = format!(
        "dir=$(mktemp -d); mount -t tracefs none $dir && rmdir $dir/instances/{}; umount $dir; rmdir $dir",
        pid.parse().map_or_else(|_| String::new(), name)
    );
    let _ = program::run("sh", ["-c", &script]);
}

fn name(pid: u32) -> String {
    format!("holdfast-bench-{pid}")
}

/// Mounts tracefs in a place, with which the mount goes away.
fn mount(place: &Place) -> Result<PathBuf, String> {
    let directory = place.dir.join("tracefs");
    let _ = fs::create_dir_all(&directory);
    let text = directory.display().to_string();
    let ran = program::run("mount", ["-t", "tracefs", "tracefs", &text]);
    match ran.code {
        0 => Ok(directory),
        _ => Err(format!(
            "cannot mount tracefs: {}; the timeline needs root and a kernel with CONFIG_FTRACE_SYSCALLS",
            ran.stderr.trim()
        )),
    }
}
