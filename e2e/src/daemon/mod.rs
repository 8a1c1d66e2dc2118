//! A real holdfastd of a test's own.
//!
//! ```text
//!   start ──▶ answering ──kill9──▶ dead ──restart──▶ answering ──drop──▶ nothing left
//! ```
//!
//! Going out of scope removes everything through the CRI, ends the daemon, and lets [`crate::leaks`] compare
//! the machine with before. What leaked is cleaned away by force, and fails the test.

mod config;
mod end;
mod rpc;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cri_api::runtime::v1::VersionRequest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use config::Options;

use crate::call::{self, Clients};
use crate::leaks::Snapshot;
use crate::place::Place;
use crate::program;

/// How long a daemon may take until it answers, and until it is gone after SIGTERM.
const DAEMON_DEADLINE: Duration = Duration::from_secs(20);

/// A daemon, and everything that belongs to it.
#[derive(Debug)]
pub struct Daemon {
    /// Where the daemon has its files.
    pub place: Place,
    clients: Clients,
    process: Mutex<Option<Child>>,
    before: Snapshot,
}

impl Daemon {
    /// Starts one with the configuration of all tests, and waits until it answers. Images of the test
    /// registry can be pulled by their names.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts one with another configuration.
    pub fn with(options: Options) -> Self {
        let place = Place::new();
        options.write(&place);
        Self::at(place)
    }

    /// Starts one in a place that has a configuration already.
    pub fn at(place: Place) -> Self {
        let clients = Clients::new(&place.socket());
        let mut daemon = Self {
            clients,
            process: Mutex::new(None),
            before: Snapshot::default(),
            place,
        };
        daemon.restart();
        daemon.before = Snapshot::take(&daemon.place);
        daemon
    }

    /// The clients, for calls that have no short form here.
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Starts the process again, after [`Daemon::kill9`] or [`Daemon::terminate`]. Gives how long it took
    /// until it answered.
    #[track_caller]
    pub fn restart(&self) -> Duration {
        let took = self.try_restart();
        took.unwrap_or_else(|problem| panic!("{problem}\n{}", self.log_tail()))
    }

    /// As [`Daemon::restart`], with another build of the daemon, which takes the shim beside it.
    #[track_caller]
    pub fn restart_as(&self, program: &Path) -> Duration {
        let took = self.start_program(program);
        took.unwrap_or_else(|problem| panic!("{problem}\n{}", self.log_tail()))
    }

    /// As [`Daemon::restart`], of a daemon that may end at its start.
    ///
    /// # Errors
    /// How it ended, or that it does not answer.
    pub fn try_restart(&self) -> Result<Duration, String> {
        self.start_program(&program::built("holdfastd"))
    }

    fn start_program(&self, program: &Path) -> Result<Duration, String> {
        let start = Instant::now();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.place.daemon_log());
        let log = log.unwrap_or_else(|error| panic!("open the daemon's log: {error}"));
        let mut command = self.place.command(program);
        command
            .arg("--config")
            .arg(self.place.config())
            .stdin(Stdio::null());
        command.stdout(
            log.try_clone()
                .unwrap_or_else(|error| panic!("the log: {error}")),
        );
        command.stderr(log);
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("start {}: {error}", program.display()));
        *self.process() = Some(child);
        self.await_answer(start)?;
        Ok(start.elapsed())
    }

    /// Whether the process runs.
    pub fn is_alive(&self) -> bool {
        let mut process = self.process();
        let child = process.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn await_answer(&self, start: Instant) -> Result<(), String> {
        loop {
            let mut runtime = self.clients.runtime.clone();
            let answer =
                call::call(async move { runtime.version(VersionRequest::default()).await });
            let Err(status) = answer else { return Ok(()) };
            if let Some(Ok(Some(ended))) = self.process().as_mut().map(Child::try_wait) {
                return Err(format!("the daemon ended at its start, {ended}"));
            }
            if start.elapsed() > DAEMON_DEADLINE {
                return Err(format!("no answer within {DAEMON_DEADLINE:?}: {status}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Process id of the daemon.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let id = self.process().as_ref().map(Child::id);
        let id = id.unwrap_or_else(|| panic!("the daemon does not run"));
        i32::try_from(id).unwrap_or_else(|_| panic!("pid {id}"))
    }

    /// SIGKILL, as a crash would be.
    #[track_caller]
    pub fn kill9(&self) {
        let mut child = self
            .process()
            .take()
            .unwrap_or_else(|| panic!("the daemon does not run"));
        child
            .kill()
            .unwrap_or_else(|error| panic!("kill the daemon: {error}"));
        child
            .wait()
            .unwrap_or_else(|error| panic!("wait for the daemon: {error}"));
    }

    /// SIGTERM, and the exit code.
    #[track_caller]
    pub fn terminate(&self) -> i32 {
        let pid = Pid::from_raw(self.pid());
        kill(pid, Signal::SIGTERM).unwrap_or_else(|error| panic!("signal the daemon: {error}"));
        let mut child = self
            .process()
            .take()
            .unwrap_or_else(|| panic!("the daemon does not run"));
        let ended = call::until("the daemon's end after SIGTERM", DAEMON_DEADLINE, || {
            child
                .try_wait()
                .unwrap_or_else(|error| panic!("wait for the daemon: {error}"))
        });
        ended.code().unwrap_or(-1)
    }

    /// What it wrote to standard error, all of it.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.place.daemon_log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of [`Daemon::log`].
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Runs the `holdfast` command line against it.
    #[track_caller]
    pub fn holdfast(&self, args: &[&str]) -> program::Ran {
        let mut command = Command::new(program::built("holdfast"));
        command
            .arg("--socket")
            .arg(self.place.socket())
            .args(args)
            .stdin(Stdio::null());
        program::finish(command)
    }
}
