//! Where one daemon of a test lives: names and numbers that no other has at the same time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::leaks;
use crate::program;

/// Everything of a test's daemon is below this, or carries its tag.
const BASE: &str = "/var/tmp";

/// What every tag begins with; the process id and a number follow.
const PREFIX: &str = "hfe2e-";

/// How long a daemon may go without feeding the watchdog that a test plays.
pub const WATCHDOG: Duration = Duration::from_secs(3);

/// What a daemon of a test has for itself.
#[derive(Debug, Clone)]
pub struct Place {
    /// In the name of everything on the machine.
    pub tag: String,
    /// Directory of everything on disk.
    pub dir: PathBuf,
    /// Name of its bridge.
    pub bridge: String,
    /// Its IPv4 subnet, a /24.
    pub subnet4: String,
    /// Its IPv6 subnet, a /64.
    pub subnet6: String,
}

impl Place {
    /// Makes one, with its directories. The first one of a process cleans up after those that were killed.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(Self::sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut place = Self::of(std::process::id(), number);
        place.subnet4 = free_subnet(std::process::id().wrapping_mul(131).wrapping_add(number));
        for dir in [
            place.root(),
            place.run(),
            place.logs(),
            place.netns(),
            place.hosts(),
        ] {
            fs::create_dir_all(&dir)
                .unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
        }
        place
    }

    /// Cleans up after test processes that do not live any more.
    pub fn sweep() {
        Self::abandoned().iter().for_each(leaks::clean);
    }

    /// The names of one that there is, or was.
    fn of(pid: u32, number: u32) -> Self {
        let tag = format!("{PREFIX}{pid}-{number}");
        Self {
            dir: PathBuf::from(BASE).join(&tag),
            tag,
            // 15 characters at most: IFNAMSIZ less the NUL.
            bridge: format!("he{pid:x}-{number:x}"),
            subnet4: String::new(),
            subnet6: format!("fd68:{:x}:{:x}:{number:x}::/64", pid >> 16, pid & 0xffff),
        }
    }

    /// Places of test processes that do not live any more.
    fn abandoned() -> Vec<Self> {
        let entries = fs::read_dir(BASE).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| {
            let name = entry.file_name();
            let (pid, number) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
            Some((pid.parse().ok()?, number.parse().ok()?))
        });
        let gone = numbers
            .filter(|(pid, _): &(u32, u32)| !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
        gone.map(|(pid, number)| Self::of(pid, number)).collect()
    }

    /// Directory of durable state.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Directory of volatile state.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Directory of the containers' logs.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Directory in which network namespaces are pinned.
    pub fn netns(&self) -> PathBuf {
        self.dir.join("netns")
    }

    /// Directory with the HOST/hosts.toml files.
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("certs.d")
    }

    /// Path of the daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("holdfast.sock")
    }

    /// Path of the daemon's configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// What the daemon writes to its standard error.
    pub fn daemon_log(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    /// Its own network namespace, when it has one.
    pub fn home(&self) -> Option<PathBuf> {
        let path = PathBuf::from("/run/netns").join(&self.tag);
        path.exists().then_some(path)
    }

    /// Makes a network namespace for the daemon, which enters it at its next start.
    pub fn make_home(&self) {
        program::run("ip", ["netns", "add", &self.tag]).ok();
        program::run("ip", ["-n", &self.tag, "link", "set", "lo", "up"]).ok();
    }

    /// The boot id that its daemon sees, once its machine was started anew.
    pub fn boot_id(&self) -> PathBuf {
        self.dir.join("boot_id")
    }

    /// The socket on which a test plays the service manager, once it has made it.
    pub fn notify(&self) -> PathBuf {
        self.dir.join("notify")
    }

    /// A command that runs in the place's network namespace, when it has one of its own, and that sees the
    /// place's boot id.
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(home) = self.home() {
            words.extend(["nsenter".into(), format!("--net={}", home.display()).into()]);
        }
        if self.boot_id().exists() {
            // What is mounted in there reaches nobody else.
            words.extend(
                "unshare --mount --propagation slave sh -c"
                    .split(' ')
                    .map(OsString::from),
            );
            let boot_id = self.boot_id();
            let over = format!(
                "mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"",
                boot_id.display()
            );
            words.extend([over.into(), "sh".into()]);
        }
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if self.notify().exists() {
            command.env("NOTIFY_SOCKET", self.notify());
            command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        }
        command
    }

    /// Cgroup that holds those of the pods.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.tag)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// A /24 of 10.64.0.0/10 that no route of this machine has, the one that `seed` says or a later one.
fn free_subnet(seed: u32) -> String {
    let routes = program::run("ip", ["-4", "-o", "route", "show", "table", "all"]).ok();
    let candidates = (0..256).map(|step| {
        let number = seed.wrapping_add(step) % (64 * 256);
        format!("10.{}.{}.", 64 + number / 256, number % 256)
    });
    let free = |prefix: &String| !routes.contains(prefix.as_str());
    let prefix = candidates.into_iter().find(free);
    format!(
        "{}0/24",
        prefix.unwrap_or_else(|| panic!("no free subnet in 10.64.0.0/10"))
    )
}
