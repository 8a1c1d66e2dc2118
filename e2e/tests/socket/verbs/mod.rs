//! The everyday verbs of the `holdfast` command.

mod documents;
mod follow;
mod lists;
mod streams;

use std::process::{Child, Command, Stdio};

use e2e::Daemon;
use e2e::program::{Ran, built, finish};

/// `holdfast ...` against a daemon, to be run.
fn command(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new(built("holdfast"));
    command.arg("--socket").arg(daemon.place.socket());
    command.args(args).stdin(Stdio::null());
    command
}

/// The same with pipes at its standard streams.
fn spawn(daemon: &Daemon, args: &[&str]) -> Child {
    let mut command = command(daemon, args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// A script of sh with `holdfast` in it, on a terminal of 33 rows and 101 columns.
fn on_terminal(daemon: &Daemon, script: &str) -> Command {
    let holdfast = built("holdfast");
    let socket = daemon.place.socket();
    let script = format!(
        "stty rows 33 cols 101; export HOLDFAST_SOCKET={}; holdfast() {{ {} \"$@\"; }}; {script}",
        socket.display(),
        holdfast.display()
    );
    // With a limit: a test that waits for a text that never comes would wait for ever.
    let mut command = Command::new("timeout");
    command
        .args(["--foreground", "60", "script", "-qec", &script, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// Runs such a script to its end.
#[track_caller]
fn run_on_terminal(daemon: &Daemon, script: &str) -> Ran {
    finish(on_terminal(daemon, script))
}

/// A child that is ended with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
