//! The programs of another runtime, and where they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::program;

/// Which runtime, and where its programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Name of the runtime: that of its daemon.
    pub name: &'static str,
    directory: PathBuf,
}

impl Programs {
    /// The programs that somebody names: `containerd`, `containerd:DIRECTORY` or the path of a daemon.
    ///
    /// # Errors
    /// There is no such runtime, or no such program.
    pub fn find(text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 2] = ["containerd", "crio"];
        let built = program::cache().join("bin/peer");
        let (name, directory) = match text.split_once(':') {
            Some((name, directory)) => (name, PathBuf::from(directory)),
            None if text.contains('/') => {
                let path = Path::new(text);
                let name = path.file_name().and_then(|name| name.to_str());
                let directory = path.parent().map(Path::to_owned);
                (name.unwrap_or_default(), directory.unwrap_or_default())
            }
            None => (text, built),
        };
        let known = KNOWN.into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| {
            format!(
                "PEER: invalid value {text:?}: the runtimes known here are containerd and crio; \
                 give containerd, containerd:DIRECTORY or the path of crio"
            )
        })?;
        let programs = Self { name, directory };
        programs.path(name)?;
        Ok(programs)
    }

    /// A program in the directory of the daemon.
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        let path = self.directory.join(name);
        path.is_file().then_some(path)
    }

    /// A program of the runtime: beside the daemon, or by the search path.
    pub fn path(&self, name: &str) -> Result<PathBuf, String> {
        if let Some(path) = self.beside(name) {
            return Ok(path);
        }
        program::installed(name).ok_or_else(|| {
            format!(
                "cannot find {name} in {} or on PATH: `e2e/tools/install.sh peer` builds containerd and runc; \
                 of other runtimes give the path of the daemon, with its programs beside it or on PATH",
                self.directory.display()
            )
        })
    }
}

/// Writes a configuration file of a peer.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}

/// A command whose search path begins with a directory.
pub fn search_first(command: &mut Command, directories: &[PathBuf]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = directories
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path));
    if let Ok(joined) = std::env::join_paths(all) {
        command.env("PATH", joined);
    }
}
