//! Debian's docker-registry on loopback, with the test images under their upstream names.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::program;

/// User of the registries that want credentials: registry.sh.
pub const USER: &str = "holdfast";
/// Password of the same user.
pub const PASSWORD: &str = "let-me-in";

/// A program that serves a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Debian's, of the second version.
    DockerRegistry,
    /// The third version of the same.
    Distribution,
    /// The one in go-containerregistry's command.
    GoContainerregistry,
}

impl Program {
    /// Name of the program's file.
    fn file(self) -> &'static str {
        match self {
            Self::DockerRegistry => "docker-registry",
            Self::Distribution => "distribution",
            Self::GoContainerregistry => "crane",
        }
    }
}

/// A registry that runs for a test.
#[derive(Debug)]
pub struct Registry {
    /// Its name for registry.sh.
    name: String,
    address: String,
}

static PLAIN: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::start("plain", &[]);
    let builder = program::source("e2e/images/build_images.py");
    let builder = builder.display().to_string();
    program::run(
        "python3",
        [builder.as_str(), "--registry", registry.address()],
    )
    .ok();
    registry
});
static TLS: LazyLock<Registry> = LazyLock::new(|| {
    LazyLock::force(&PLAIN);
    Registry::start("tls", &["--tls"])
});
static BASIC: LazyLock<Registry> = LazyLock::new(|| {
    LazyLock::force(&PLAIN);
    Registry::start("basic", &["--auth", "basic"])
});
static TOKEN: LazyLock<Registry> = LazyLock::new(|| {
    LazyLock::force(&PLAIN);
    // The token server speaks http, and credentials for an https registry would not be sent there.
    Registry::start("token", &["--auth", "token"])
});

impl Registry {
    /// http, open to everybody. The first use builds the images that are missing.
    pub fn plain() -> &'static Self {
        &PLAIN
    }

    /// https with a certificate of the tests' own CA.
    pub fn tls() -> &'static Self {
        &TLS
    }

    /// http with basic authentication.
    pub fn basic() -> &'static Self {
        &BASIC
    }

    /// http with bearer tokens from a token server.
    pub fn token() -> &'static Self {
        &TOKEN
    }

    /// As [`Registry::token`], for as long as nobody else lets it log requests for tokens.
    pub fn token_alone() -> (&'static Self, MutexGuard<'static, ()>) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        (&TOKEN, turn)
    }

    /// Starts one of this process's own. It ends with this process, however that ends.
    fn start(guise: &str, args: &[&str]) -> Self {
        let name = format!("e2e-{}-{guise}", std::process::id());
        let mut all = vec!["start", &name];
        all.extend(args);
        let url = script(&all);
        let address = url.trim().rsplit('/').next().unwrap_or_default().to_owned();
        guard(&name);
        Self { name, address }
    }

    /// Starts one of another program, with nothing in it; or says why it cannot.
    ///
    /// # Errors
    /// The program is not built.
    pub fn of(program: Program, tls: bool) -> Result<Self, String> {
        let file = program.file();
        let built = program::cache().join("writers/bin").join(file);
        if program::installed(file).is_none() && !built.exists() {
            return Err(format!(
                "there is no {file}: run e2e/writers/tools.sh {file}"
            ));
        }
        let guise = format!("{file}-{}", if tls { "https" } else { "http" });
        let data = program::cache()
            .join("registry")
            .join(format!("e2e-{}-{guise}", std::process::id()));
        let data = data.join("data").display().to_string();
        let mut args = vec!["--program", file, "--data", &data];
        args.extend(tls.then_some("--tls"));
        Ok(Self::start(&guise, &args))
    }

    /// Writes DIR/HOST:PORT/hosts.toml for pulls by its own address.
    pub fn write_own_hosts(&self, dir: &Path) {
        let home = program::cache().join("registry").join(&self.name);
        let url = std::fs::read_to_string(home.join("url"));
        let url = url.unwrap_or_else(|error| panic!("the URL of {}: {error}", self.name));
        let (url, dir) = (url.trim(), dir.join(&self.address));
        let text = format!(
            "[host.\"{url}\"]\nca = {:?}\n",
            Self::ca().display().to_string()
        );
        std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(dir.join("hosts.toml"), text))
            .unwrap_or_else(|error| panic!("write {}: {error}", dir.display()));
    }

    /// Where the registry listens: HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes DIR/HOST/hosts.toml for all upstream names of the test images.
    pub fn write_hosts(&self, dir: &Path) {
        script(&["hosts", &self.name, &dir.display().to_string()]);
    }

    /// Certificate of the CA that the https registries are signed by.
    pub fn ca() -> PathBuf {
        program::cache().join("registry/tls/ca.pem")
    }

    /// The URL of its token server.
    pub fn token_url(&self) -> String {
        let file = program::cache()
            .join("registry")
            .join(&self.name)
            .join("token.url");
        let url = std::fs::read_to_string(&file);
        let url = url.unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
        url.trim().to_owned()
    }

    /// The log of its token server: a line a request.
    pub fn token_log(&self) -> String {
        let log = program::cache()
            .join("registry")
            .join(&self.name)
            .join("token.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

fn path() -> String {
    program::source("e2e/images/registry.sh")
        .display()
        .to_string()
}

fn script(args: &[&str]) -> String {
    let path = path();
    let mut all = vec![path.as_str()];
    all.extend(args);
    program::run("bash", all).ok()
}

/// Starts a process that stops the registry when this one is gone, even if by SIGKILL.
#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process and is waited for by init"
)]
fn guard(name: &str) {
    let home = program::cache().join("registry").join(name);
    let then = "tail --pid=\"$0\" -f /dev/null; bash \"$1\" stop \"$2\"; rm -rf \"$3\"";
    let mut command = Command::new("setsid");
    command.args([
        "sh",
        "-c",
        then,
        &std::process::id().to_string(),
        &path(),
        name,
    ]);
    command
        .arg(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("start the registry's guard: {error}"));
}
