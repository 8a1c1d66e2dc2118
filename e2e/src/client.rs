//! crictl as a client of streams: exec, attach and port-forward.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Daemon;
use crate::program::{Ran, finish, tool};

/// The transports over which clients stream.
pub const TRANSPORTS: [&str; 2] = ["spdy", "websocket"];

/// crictl, set up for one daemon.
#[derive(Debug)]
pub struct Crictl<'d> {
    daemon: &'d Daemon,
    program: PathBuf,
}

impl<'d> Crictl<'d> {
    /// The crictl that install.sh builds; None when it has not.
    pub fn new(daemon: &'d Daemon) -> Option<Self> {
        let program = tool("crictl")?;
        Some(Self { daemon, program })
    }

    /// A command to be run; standard input is empty.
    pub fn command(&self, args: &[&str]) -> Command {
        let endpoint = format!("unix://{}", self.daemon.place.socket().display());
        let mut command = Command::new(&self.program);
        command.args(["--config", "/dev/null", "--timeout", "30s"]);
        command.args([
            "--runtime-endpoint",
            &endpoint,
            "--image-endpoint",
            &endpoint,
        ]);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args))
    }

    /// Runs it with these bytes as standard input.
    #[track_caller]
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> std::process::Output {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A client that ends early closes its input.
            let _ = stdin.take().map(|mut stdin| stdin.write_all(&input));
        });
        let output = child.wait_with_output();
        let _ = writer.join();
        output.unwrap_or_else(|error| panic!("crictl {args:?}: {error}"))
    }

    /// Starts it with pipes at its standard streams.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .spawn()
            .unwrap_or_else(|error| panic!("crictl {args:?}: {error}"))
    }

    /// Starts it on a terminal of its own, of script(1), with pipes at that.
    #[track_caller]
    pub fn spawn_on_terminal(&self, args: &[&str]) -> Child {
        let command = self.command(args);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted: Vec<_> = words
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let line = format!("stty rows 33 cols 101; exec {}", quoted.join(" "));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        script
            .spawn()
            .unwrap_or_else(|error| panic!("script {line}: {error}"))
    }
}

/// The crictl of a test, which is skipped without one.
#[macro_export]
macro_rules! streaming_client {
    ($daemon:expr) => {
        match $crate::client::Crictl::new($daemon) {
            Some(crictl) => crictl,
            None => $crate::skip!("crictl is not built: run e2e/tools/install.sh"),
        }
    };
}
