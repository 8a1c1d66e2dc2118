//! AppArmor, apparmor(7): the profile of containers that ask for the runtime's default, and which profiles
//! are loaded.
//!
//! The default profile takes from a container what its capabilities would allow a root in it to do to the
//! node: mounts, writes to the kernel's files outside its own cgroups and processes, and signals to and
//! traces of processes outside. It has no includes, so that it means the same on every distribution.

use std::fs;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::RequestError;

/// Name of the default profile.
pub(super) const DEFAULT: &str = "holdfast-default";

/// The loaded profiles, `NAME (MODE)` a line.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// How long apparmor_parser(8) may take. It compiles one small profile.
const PARSER_DEADLINE: Duration = Duration::from_secs(10);

/// The default profile in the language of apparmor.d(5).
const PROFILE: &str = "\
profile holdfast-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  unix,

  # The runtime ends containers; their own processes may signal and trace each other.
  signal (receive) peer=unconfined,
  signal (send,receive) peer=holdfast-default,
  ptrace (trace,read,tracedby,readby) peer=holdfast-default,

  deny mount,
  deny remount,
  deny pivot_root,

  # Of /proc a container's own processes, and of the sysctls those that its namespaces have of their own.
  deny /proc/* w,
  deny /proc/[^0-9s]*/** wl,
  deny /proc/s[^y]*/** wl,
  deny /proc/sys/[^kn]** wl,
  deny /proc/sys/kernel/[^ms]** wl,
  deny /proc/sys/kernel/m[^s]** wl,
  deny /proc/sys/kernel/s[^eh]** wl,
  deny /proc/sys/kernel/seccomp/** wl,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # Of /sys the cgroups.
  deny /sys/[^f]** wklx,
  deny /sys/fi** rwklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
";

/// Why the default profile is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppArmorError {
    /// The parser cannot be started or spoken to.
    #[error("cannot run apparmor_parser; install the package apparmor")]
    Parser(#[source] io::Error),
    /// The parser refused the profile, or took too long.
    #[error("cannot load the AppArmor profile {DEFAULT}: apparmor_parser {0}")]
    Refused(String),
}

/// Loads the default profile unless it is loaded already, and gives its name. Blocks.
///
/// # Errors
/// The parser is missing, refuses, or takes longer than ten seconds.
pub(super) fn ensure_default() -> Result<String, AppArmorError> {
    if is_loaded(DEFAULT) != Some(true) {
        load(PROFILE)?;
    }
    Ok(DEFAULT.to_owned())
}

/// Checks that a profile that a request names is there.
///
/// # Errors
/// [`RequestError::AppArmorProfile`] when it is not loaded. Where the list cannot be read, the launch will tell.
pub(super) fn require(name: &str) -> Result<(), RequestError> {
    match is_loaded(name) {
        Some(false) => Err(RequestError::AppArmorProfile(name.to_owned())),
        Some(true) | None => Ok(()),
    }
}

/// Whether the kernel has a profile of this name; `None` when it does not tell.
fn is_loaded(name: &str) -> Option<bool> {
    fs::read_to_string(LOADED)
        .ok()
        .map(|list| lists(&list, name))
}

fn lists(list: &str, name: &str) -> bool {
    list.lines()
        .filter_map(|line| line.rsplit_once(" ("))
        .any(|(loaded, _)| loaded == name)
}

fn load(profile: &str) -> Result<(), AppArmorError> {
    let mut parser = parser().map_err(AppArmorError::Parser)?;
    let written = write_profile(&mut parser, profile);
    let end = await_end(&mut parser).map_err(AppArmorError::Parser)?;
    // A parser that ended early breaks the pipe: its exit says more than that.
    end?;
    written.map_err(AppArmorError::Parser)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel takes compiled profiles only, and this program is their compiler"
)]
fn parser() -> io::Result<Child> {
    Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
}

/// Writes the profile, which fits a pipe, and closes it.
fn write_profile(parser: &mut Child, profile: &str) -> io::Result<()> {
    parser
        .stdin
        .take()
        .map_or(Ok(()), |mut input| input.write_all(profile.as_bytes()))
}

fn await_end(parser: &mut Child) -> io::Result<Result<(), AppArmorError>> {
    let start = Instant::now();
    loop {
        match parser.try_wait()? {
            Some(status) if status.success() => return Ok(Ok(())),
            Some(status) => return Ok(Err(AppArmorError::Refused(status.to_string()))),
            None if start.elapsed() < PARSER_DEADLINE => thread::sleep(Duration::from_millis(5)),
            None => {
                parser.kill()?;
                parser.wait()?;
                return Ok(Err(AppArmorError::Refused("took too long".to_owned())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_by_their_whole_name() {
        let list = "holdfast-default (enforce)\n/usr/bin/man (x) (complain)\n";
        assert!(lists(list, DEFAULT));
        assert!(lists(list, "/usr/bin/man (x)"));
        assert!(!lists(list, "holdfast"));
        assert!(!lists(list, ""));
    }

    #[test]
    fn the_profile_has_the_name_that_containers_are_given() {
        assert!(PROFILE.starts_with(&format!("profile {DEFAULT} ")));
        assert!(PROFILE.len() < 4096, "it has to fit a pipe at once");
    }
}
