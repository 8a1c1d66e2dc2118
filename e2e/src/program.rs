//! Programs that tests run: the command line under test, crictl, ip, nft.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a program gave.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// What the program wrote to standard output.
    pub stdout: String,
    /// What the program wrote to standard error.
    pub stderr: String,
    line: String,
}

impl Ran {
    /// The output, of a program that has to succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "{}: {}{}",
            self.line, self.stdout, self.stderr
        );
        self.stdout
    }

    /// Standard error, of a program that has to end with a code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(
            self.code, code,
            "{}: {}{}",
            self.line, self.stdout, self.stderr
        );
        self.stderr
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    finish(command)
}

/// Runs a command to its end.
#[track_caller]
pub fn finish(mut command: Command) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let line = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("run {line}: {error}"));
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ran {
        code: code.unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        line,
    }
}

/// Runs a script of sh to its end and gives its output.
#[track_caller]
pub fn sh(script: &str) -> String {
    run("sh", ["-euc", script]).ok()
}

/// A file of this repository, by its path below the top.
pub fn source(path: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    top.unwrap_or(Path::new("/")).join(path)
}

/// Where test images, registries and built tools are kept between runs.
pub fn cache() -> PathBuf {
    if let Some(cache) = std::env::var_os("HOLDFAST_TEST_CACHE") {
        return cache.into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or("/root".into())).join(".cache");
    let base = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    base.join("holdfast-e2e")
}

/// A built program of the project. `HOLDFAST_BIN_DIR` says where to look; otherwise the target directory
/// that this test was built into, release first.
pub fn built(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("HOLDFAST_BIN_DIR") {
        return Path::new(&dir).join(name);
    }
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("find this program: {error}"));
    // TARGET/PROFILE/deps/TEST for a test, TARGET/PROFILE/PROGRAM for the benchmark.
    let targets = own.ancestors().skip(2).take(2);
    let mut all = targets
        .flat_map(|target| ["release", "debug"].map(|profile| target.join(profile).join(name)));
    let found = all.find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `make build`, or set HOLDFAST_BIN_DIR to where it is")
    })
}

/// A tool that install.sh builds, such as crictl; None when it has not.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = cache().join("bin").join(name);
    path.exists().then_some(path)
}

/// A program of the machine, by the search path; None when it is not installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).map(|dir| dir.join(name));
    all.find(|path| path.is_file())
}
