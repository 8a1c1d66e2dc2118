//! A daemon of another runtime, started so that nothing stays when it ends.
//!
//! The daemon runs in a mount namespace of its own, with directories of its place at /run and /var/lib: what runtimes
//! keep outside the directories that their configuration names goes with the place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cri_api::runtime::v1::VersionRequest;
use e2e::call::{self, Clients};
use e2e::cni::{Plugins, Release};
use e2e::leaks;
use e2e::place::Place;
use e2e::registry::Registry;

use super::programs::Programs;
use super::{containerd, crio, volatile};

/// How long a daemon may take until it answers, and until its processes are gone.
const DEADLINE: Duration = Duration::from_secs(30);

/// A daemon of another runtime that runs.
#[derive(Debug)]
pub struct Peer {
    /// Where the daemon has its files.
    pub place: Place,
    /// Network plugins that this peer uses.
    pub plugins: Plugins,
    /// Clients of its services.
    pub clients: Clients,
    programs: Programs,
    daemon: PathBuf,
    process: Option<Child>,
}

impl Peer {
    /// Starts one, in the network namespace of the machine, and waits until it answers.
    ///
    /// # Errors
    /// A program is missing.
    pub fn start(programs: Programs, release: Release) -> Result<Self, String> {
        let place = Place::new();
        volatile::mount(&place.run());
        for dir in ["host/run", "host/var-lib"] {
            let dir = place.dir.join(dir);
            fs::create_dir_all(&dir)
                .unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
        }
        volatile::mount(&place.dir.join("host/run"));
        Registry::plain().write_hosts(&place.hosts());
        let plugins = Plugins::install(&place, release);
        match programs.name {
            "containerd" => containerd::configure(&place, &plugins, &programs)?,
            _ => crio::configure(&place, &plugins, &programs)?,
        }
        let mut peer = Self {
            clients: Clients::new(&place.socket()),
            daemon: programs.path(programs.name)?,
            place,
            plugins,
            programs,
            process: None,
        };
        peer.spawn();
        Ok(peer)
    }

    /// Starts it again in a network namespace of its own: rules and interfaces of its plugins go with that.
    pub fn move_home(&mut self) {
        self.end();
        self.place.make_home();
        self.spawn();
    }

    /// The process id of the daemon.
    pub fn pid(&self) -> i32 {
        let id = self.process.as_ref().map(Child::id).unwrap_or_default();
        i32::try_from(id).unwrap_or_default()
    }

    fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.place.daemon_log());
        let log = log.unwrap_or_else(|error| panic!("open the peer's log: {error}"));
        let own = |name: &str| self.place.dir.join("host").join(name);
        let script = format!(
            "mount --bind {} /run && mount --bind {} /var/lib && exec \"$@\"",
            own("run").display(),
            own("var-lib").display()
        );
        let mut command = self.place.command(Path::new("unshare"));
        let mut words = vec!["--mount", "--propagation", "private", "sh", "-c"];
        words.extend([script.as_str(), "sh"]);
        command.args(words).arg(&self.daemon);
        match self.programs.name {
            "containerd" => containerd::arguments(&mut command, &self.place, &self.programs),
            _ => crio::arguments(&mut command, &self.place),
        }
        command
            .stdin(Stdio::null())
            .stdout(
                log.try_clone()
                    .unwrap_or_else(|error| panic!("the log: {error}")),
            )
            .stderr(log);
        let child = command.spawn();
        self.process = Some(child.unwrap_or_else(|error| panic!("start unshare: {error}")));
        self.await_answer();
    }

    fn await_answer(&mut self) {
        let start = Instant::now();
        loop {
            let mut runtime = self.clients.runtime.clone();
            let ask = async move { runtime.version(VersionRequest::default()).await };
            let Err(status) = call::call(ask) else { return };
            let ended = self.process.as_mut().map(Child::try_wait);
            let gone = matches!(ended, Some(Ok(Some(_))));
            if gone || start.elapsed() > DEADLINE {
                panic!(
                    "{} does not answer: {status}\n{}",
                    self.programs.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.place.daemon_log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends the daemon, by force when it does not follow.
    fn end(&mut self) {
        let Some(mut child) = self.process.take() else {
            return;
        };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < DEADLINE && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the peer's last words ---\n{}", self.log_tail());
        }
        self.end();
        // What a killed process was about to start may come after it.
        let start = Instant::now();
        while !leaks::survivors(&self.place).is_empty() && start.elapsed() < DEADLINE {
            leaks::kill(&self.place);
            std::thread::sleep(Duration::from_millis(20));
        }
        leaks::clean(&self.place);
    }
}
