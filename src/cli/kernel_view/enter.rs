//! `holdfast enter`: nsenter(1) with names instead of pids.
//!
//! Unlike `exec` it takes nothing of the container but the namespaces that were asked for: the command keeps this
//! process's rights, cgroup and, without `--mnt`, the machine's own programs. So the tools of the machine look at
//! the network of an image that has not even a shell.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};

use clap::Args;
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};

use super::kind::Kind;
use super::procfs::{self, ProcError};
use super::view::{self, Member, Part, ProcessMismatch, ViewError};
use crate::connect::Daemon;
use crate::exit::FailureKind;
use crate::failure::VerbError;
use crate::out::{self, PrintError};
use crate::select::NamespaceArgs;
use holdfast_kernel::sys;
use holdfast_kernel::sys::pid::Pid;

/// The command that is run when none is given.
const SHELL: &str = "/bin/sh";

/// The command line of `holdfast enter`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: holdfast enter two-containers/a                       a shell in all its namespaces
          holdfast enter two-containers/a --net -- ss -tlnp     the machine's ss(8) in its network
          holdfast enter two-containers --net -- ip address     the pod's addresses
          holdfast enter two-containers/a --print               the nsenter(1) command that does the same"
)]
pub struct EnterArgs {
    /// POD/CONTAINER, NAMESPACE/POD/CONTAINER or a container id; or, with options such as --net, POD, for the process that
    /// holds the namespaces of the pod.
    pub target: String,
    /// Consider only pods of this Kubernetes namespace.
    #[arg(long)]
    pub namespace: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Print the nsenter(1) command that does the same, and run nothing.
    #[arg(long)]
    pub print: bool,
    /// The command and its arguments; a shell by default. When namespaces are named and --mnt is not among them, COMMAND
    /// is a program of the machine, not of the container.
    #[arg(trailing_var_arg = true)]
    pub command: Vec<String>,
}

/// The namespaces to enter; without any, all that are not the machine's.
#[derive(Debug, Args, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
struct Which {
    /// Enter the network namespace.
    #[arg(short = 'n', long)]
    net: bool,
    /// Enter the IPC namespace.
    #[arg(short = 'i', long)]
    ipc: bool,
    /// Enter the UTS namespace, which holds the host name.
    #[arg(short = 'u', long)]
    uts: bool,
    /// Enter the pid namespace.
    #[arg(short = 'p', long)]
    pid: bool,
    /// Enter the mount namespace, with the container's root and working directory.
    #[arg(short = 'm', long, visible_alias = "mount")]
    mnt: bool,
    /// Enter the cgroup namespace.
    #[arg(short = 'C', long)]
    cgroup: bool,
    /// Enter the user namespace and become root in it.
    #[arg(short = 'U', long)]
    user: bool,
    /// Enter the time namespace.
    #[arg(short = 'T', long)]
    time: bool,
}

impl Which {
    fn is_asked_for(&self, kind: Kind) -> bool {
        match kind {
            Kind::Net => self.net,
            Kind::Ipc => self.ipc,
            Kind::Uts => self.uts,
            Kind::Pid => self.pid,
            Kind::Mnt => self.mnt,
            Kind::Cgroup => self.cgroup,
            Kind::User => self.user,
            Kind::Time => self.time,
        }
    }

    /// The kinds to enter: those asked for, or all in which the target is apart from this process.
    fn kinds(&self, target: &Member) -> Vec<Kind> {
        let here = procfs::namespaces("self");
        let apart = |kind: &Kind| target.namespaces.get(kind) != here.get(kind);
        if Kind::ALL.iter().any(|kind| self.is_asked_for(*kind)) {
            // Joining the user namespace that one is in is an error of setns(2), and the others cost nothing.
            let enters =
                |kind: &Kind| self.is_asked_for(*kind) && (*kind != Kind::User || apart(kind));
            return Kind::ALL.into_iter().filter(enters).collect();
        }
        Kind::ALL.into_iter().filter(apart).collect()
    }
}

/// Why a command cannot be run in the namespaces of a container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    /// The container cannot be looked at.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file of the kernel cannot be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// A pod's pause has no file system that a program could be started from.
    #[error(
        "{0} is a pod, and its pause has no files; give POD/CONTAINER, or name the namespaces to enter, such as --net"
    )]
    Pause(String),
    /// The kernel does not let this process in.
    #[error("cannot {operation} of process {pid}")]
    Join {
        /// The operation, as an infinitive.
        operation: &'static str,
        /// The process that is in the namespaces.
        pid: Pid,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
    /// The command cannot be run.
    #[error(
        "cannot run {0}; with --mnt give a program of the image, without it one of the machine"
    )]
    Run(String, #[source] io::Error),
    /// The nsenter(1) command cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

impl From<ProcessMismatch> for EnterError {
    fn from(mismatch: ProcessMismatch) -> Self {
        Self::View(mismatch.into())
    }
}

impl VerbError for EnterError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::View(_)
            | Self::Proc(_)
            | Self::Pause(_)
            | Self::Join { .. }
            | Self::Run(..)
            | Self::Print(_) => FailureKind::Failed,
        }
    }
}

/// Enters the namespaces of a container and runs a command there.
pub(crate) async fn enter(mut daemon: Daemon, args: EnterArgs) -> Result<ExitCode, EnterError> {
    let within = NamespaceArgs {
        namespace: args.namespace.clone(),
    };
    let (pod, at) = view::target(&mut daemon, &args.target, &within).await?;
    let target = &pod.members[at];
    let kinds = args.which.kinds(target);
    if args.print {
        out::line(&nsenter(target, &kinds, &args.command))?;
        return Ok(ExitCode::SUCCESS);
    }
    if target.role == Part::Pause && kinds.contains(&Kind::Mnt) {
        return Err(EnterError::Pause(args.target));
    }
    run(target, &kinds, &args.command)
}

/// The same by nsenter(1), for a shell.
fn nsenter(target: &Member, kinds: &[Kind], command: &[String]) -> String {
    let mut words = vec!["nsenter".to_owned(), format!("--target={}", target.pid)];
    words.extend(
        kinds
            .iter()
            .map(|kind| format!("--{}", kind.nsenter_option())),
    );
    if kinds.contains(&Kind::Mnt) {
        words.extend(["--root", "--wd"].map(str::to_owned));
    }
    words.push("--".to_owned());
    if command.is_empty() {
        words.push(SHELL.to_owned());
    }
    words.extend(command.iter().map(|word| quote(word)));
    words.join(" ")
}

/// A word for a shell.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The directories of a process, opened before its mount namespace is entered.
struct ProcessDirectories {
    root: OwnedFd,
    working: OwnedFd,
    environment: Vec<(String, String)>,
}

impl ProcessDirectories {
    fn open(pid: Pid) -> Result<Self, ProcError> {
        let open = |name: &str| procfs::open(pid, name).map(OwnedFd::from);
        let environment = procfs::text(pid, "environ")?;
        let variable = |text: &str| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(Self {
            root: open("root")?,
            working: open("cwd")?,
            environment: environment.split('\0').filter_map(variable).collect(),
        })
    }

    /// Makes the process's root and working directory this one's.
    fn take(&self) -> io::Result<()> {
        nix::unistd::fchdir(&self.root)?;
        nix::unistd::chroot(".")?;
        nix::unistd::fchdir(&self.working)?;
        Ok(())
    }
}

fn run(target: &Member, kinds: &[Kind], command: &[String]) -> Result<ExitCode, EnterError> {
    let pid = target.pid;
    let failed = |operation| {
        move |source: io::Error| EnterError::Join {
            operation,
            pid,
            source,
        }
    };
    // The number is looked at once more after it has become a descriptor: from then on it is this process.
    let process = sys::pidfd::open(pid).map_err(failed("open the process"))?;
    view::verify(target)?;
    let place = match kinds.contains(&Kind::Mnt) {
        true => Some(ProcessDirectories::open(pid)?),
        false => None,
    };
    let flags = kinds
        .iter()
        .fold(CloneFlags::empty(), |flags, kind| flags | kind.flag());
    if !flags.is_empty() {
        sys::namespace::join(process.as_fd(), flags)
            .map_err(|errno| failed("enter the namespaces")(errno.into()))?;
    }
    if kinds.contains(&Kind::User) {
        become_root().map_err(failed("become root in the user namespace"))?;
    }
    if let Some(place) = &place {
        place.take().map_err(failed("enter the root directory"))?;
    }
    start(command, place.as_ref(), kinds.contains(&Kind::Pid))
}

/// Root of the user namespace that was entered; without it this process's user would be nobody there.
fn become_root() -> io::Result<()> {
    nix::unistd::setgroups(&[])?;
    nix::unistd::setgid(Gid::from_raw(0))?;
    nix::unistd::setuid(Uid::from_raw(0))?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command of the person at the terminal, with their rights and in their place"
)]
fn start(
    words: &[String],
    place: Option<&ProcessDirectories>,
    new_pids: bool,
) -> Result<ExitCode, EnterError> {
    let shell = [SHELL.to_owned()];
    let words = if words.is_empty() { &shell } else { words };
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    if let Some(place) = place {
        // The machine's search path leads nowhere in an image; only the terminal is the same.
        let term = std::env::var("TERM");
        command.env_clear().envs(place.environment.iter().cloned());
        command.envs(term.map(|term| ("TERM", term)));
    }
    let failed = |source| EnterError::Run(words[0].clone(), source);
    if !new_pids {
        return Err(failed(command.exec()));
    }
    // Only a child of this process is in the pid namespace that was entered.
    let ignored = [nix::libc::SIGINT, nix::libc::SIGQUIT];
    let mut child = command.spawn().map_err(failed)?;
    for signal in ignored {
        ignore(signal).map_err(failed)?;
    }
    let ended = child.wait().map_err(failed)?;
    let code = ended.code().or(ended.signal().map(|signal| 128 + signal));
    Ok(u8::try_from(code.unwrap_or(1)).unwrap_or(u8::MAX).into())
}

/// Signals of the terminal are the command's to handle.
fn ignore(signal: i32) -> io::Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal)?;
    Ok(sys::signal::ignore(signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        assert_eq!(quote("a-b/c"), "a-b/c");
        assert_eq!(quote("it's"), "'it'\\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$(x)"), "'$(x)'");
    }
}
