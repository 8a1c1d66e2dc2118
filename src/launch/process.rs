//! The part of a launch that is the same for a container's first process and for a further one: from inside
//! the container's namespaces to its program.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::report::Reporter;
use holdfast_kernel::sys::credential::{self, Sets};
use holdfast_kernel::sys::descriptor::{self, Stream};
use holdfast_kernel::sys::exec::{Strings, execute};
use holdfast_kernel::sys::path::{self, Links};
use holdfast_kernel::sys::{limit, seccomp, signal};
use holdfast_wire::Step;
use holdfast_wire::plan::{IdMappings, Process, TerminalSize};

/// File mode creation mask of a process whose plan names none.
const DEFAULT_MASK: u32 = 0o022;

/// The standard streams of a process.
#[derive(Debug, Clone, Copy)]
pub enum Streams<'a> {
    /// These files: input, output, error.
    Files([BorrowedFd<'a>; 3]),
    /// A new terminal, whose main side goes to the shim, with the size that it has from the beginning.
    Terminal(Option<TerminalSize>),
}

/// A process with the lists that its child walks, made before the clone.
pub(super) struct Prepared<'a> {
    process: &'a Process,
    arguments: Strings<'a>,
    environment: Strings<'a>,
    oom_score: Option<CString>,
    apparmor: Option<CString>,
}

impl<'a> Prepared<'a> {
    /// Prepares the lists that the child walks.
    pub(super) fn new(process: &'a Process) -> Self {
        let text = |text: String| CString::new(text).unwrap_or_default();
        let apparmor = process.apparmor.as_ref();
        Self {
            process,
            arguments: Strings::new(&process.args),
            environment: Strings::new(&process.env),
            oom_score: process.oom_score_adj.map(|score| text(score.to_string())),
            apparmor: apparmor.map(|profile| {
                CString::new([b"exec ", profile.to_bytes()].concat()).unwrap_or_default()
            }),
        }
    }

    /// Sets everything that is set through the host's procfs, before the process leaves it.
    pub(super) fn use_procfs(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        reporter.at(Step::OomScore, 0);
        set_oom_score(self.oom_score.as_deref(), reporter)?;
        reporter.at(Step::Label, 0);
        if let Some(profile) = &self.apparmor {
            write_file(c"/proc/self/attr/apparmor/exec", profile.to_bytes())?;
        }
        if let Some(label) = &self.process.selinux {
            write_file(c"/proc/self/attr/exec", label.to_bytes())?;
        }
        Ok(())
    }

    /// Everything after the container's root is this process' root. Never returns, because it closes what
    /// others of this process own.
    pub(super) fn become_program(&self, reporter: &Reporter<'_>) -> nix::Result<Infallible> {
        reporter.at(Step::WorkingDirectory, 0);
        enter_directory(&self.process.cwd)?;
        reporter.at(Step::Exec, 0);
        descriptor::finish_alone(reporter.socket(), |kept| {
            let (reporter, result) = match kept {
                Ok(socket) => {
                    let reporter = reporter.over(socket);
                    let result = self.drop_privileges(&reporter).map(|()| {
                        reporter.at(Step::Exec, 0);
                        self.execute()
                    });
                    (reporter, result)
                }
                Err(errno) => (reporter.over(reporter.socket()), Err(errno)),
            };
            let (Ok(errno) | Err(errno)) = result;
            reporter.failed(errno);
            1
        })
    }

    /// Executes the program with the rights that this process has: a tool of the node. Never returns, as
    /// [`Self::become_program`].
    pub(super) fn become_tool(&self, reporter: &Reporter<'_>) -> nix::Result<Infallible> {
        reporter.at(Step::Exec, 0);
        credential::set_file_mode_mask(DEFAULT_MASK);
        signal::reset()?;
        descriptor::finish_alone(reporter.socket(), |kept| {
            let (reporter, errno) = match kept {
                Ok(socket) => (reporter.over(socket), self.execute()),
                Err(errno) => (reporter.over(reporter.socket()), errno),
            };
            reporter.failed(errno);
            1
        })
    }

    /// Gives up what the program is not to have. The filter comes as late as it can: behind it follow execve(2) and,
    /// where the process is left with fewer capabilities than loading a filter takes, one capset(2).
    fn drop_privileges(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        let process = self.process;
        // Before the user changes: raising a hard limit takes CAP_SYS_RESOURCE.
        self.set_limits(reporter)?;
        let sets = self.change_user(reporter)?;
        reporter.at(Step::WorkingDirectory, 0);
        confirm_directory(&process.cwd)?;
        credential::set_file_mode_mask(process.umask.unwrap_or(DEFAULT_MASK));
        signal::reset()?;
        if process.no_new_privileges {
            reporter.at(Step::NoNewPrivileges, 0);
            credential::set_no_new_privileges()?;
        }
        self.load_filter(sets, reporter)
    }

    fn set_limits(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        for (index, (resource, soft, hard)) in self.process.rlimits.iter().copied().enumerate() {
            reporter.at(Step::Rlimit, index);
            match limit::set(resource, soft, hard) {
                // Without CAP_SYS_RESOURCE a hard limit cannot rise.
                Err(Errno::EPERM) => {
                    let hard = limit::hard(resource)?.min(hard);
                    limit::set(resource, soft.min(hard), hard)?;
                    reporter.degraded(Errno::EPERM);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Loads the filter and leaves the process with these capabilities.
    fn load_filter(&self, sets: Sets, reporter: &Reporter<'_>) -> nix::Result<()> {
        reporter.at(Step::Seccomp, 0);
        let Some(filter) = &self.process.seccomp else {
            return Ok(());
        };
        let lent = self.filter_loading_capability();
        if sets.effective & lent == lent {
            return seccomp::load(&filter.program, filter.flags);
        }
        let loading = Sets {
            effective: sets.effective | lent,
            permitted: sets.permitted | lent,
            ..sets
        };
        // Where this process has no such capability, the kernel's answer to the filter says more.
        let _ = credential::set_capabilities(loading);
        seccomp::load(&filter.program, filter.flags)?;
        reporter.at(Step::Capabilities, 0);
        credential::set_capabilities(sets)
    }

    /// The capability that stays permitted until the filter is loaded: without no_new_privs the kernel takes a filter
    /// from CAP_SYS_ADMIN only.
    fn filter_loading_capability(&self) -> u64 {
        match &self.process.seccomp {
            Some(_) if !self.process.no_new_privileges => credential::SYS_ADMIN,
            _ => 0,
        }
    }

    /// Sets groups, user and capabilities, and returns those capabilities without the lent one. What this process may
    /// not hand on is left out and reported.
    fn change_user(&self, reporter: &Reporter<'_>) -> nix::Result<Sets> {
        let process = self.process;
        let wanted = process.capabilities;
        reporter.at(Step::Capabilities, 0);
        let held = credential::capabilities()?.permitted;
        if wanted.permitted & !held != 0 {
            reporter.degraded(Errno::EPERM);
        }
        // Before the user changes: setuid(2) clears the effective set, and with it CAP_SETPCAP.
        credential::limit_bounding(wanted.bounding)?;
        reporter.at(Step::User, 0);
        set_identity(&process.groups, process.gid, process.uid)?;
        reporter.at(Step::Capabilities, 0);
        let sets = Sets {
            effective: wanted.effective & held,
            permitted: wanted.permitted & held,
            inheritable: wanted.inheritable & held & wanted.bounding,
        };
        credential::set_capabilities(Sets {
            permitted: sets.permitted | self.filter_loading_capability() & held,
            ..sets
        })?;
        // Last: the kernel takes only capabilities as ambient that are permitted and inheritable (capabilities(7)).
        credential::set_ambient(wanted.ambient & wanted.permitted & sets.inheritable)?;
        Ok(sets)
    }

    /// Tries the candidates as a shell does. EACCES says more than the "not found" of a later one.
    fn execute(&self) -> Errno {
        let mut found = Errno::ENOENT;
        for candidate in &self.process.candidates {
            match execute(candidate, &self.arguments, &self.environment) {
                Errno::EACCES => found = Errno::EACCES,
                Errno::ENOENT | Errno::ENOTDIR => {}
                errno => return errno,
            }
        }
        found
    }
}

/// Sets groups, group and user, and keeps the permitted capabilities over it.
pub(super) fn set_identity(groups: &[u32], group: u32, user: u32) -> nix::Result<()> {
    credential::keep_capabilities()?;
    // The user last: after it this process may change neither groups nor group.
    credential::set_groups(groups)?;
    credential::set_group(group)?;
    credential::set_user(user)
}

/// Sets the OOM score adjustment. A value that the machine refuses (below the lowest that CAP_SYS_RESOURCE
/// has ever set) is left out and reported.
pub(super) fn set_oom_score(score: Option<&CStr>, reporter: &Reporter<'_>) -> nix::Result<()> {
    let Some(score) = score else {
        return Ok(());
    };
    match write_file(c"/proc/self/oom_score_adj", score.to_bytes()) {
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            reporter.degraded(errno);
            Ok(())
        }
        other => other,
    }
}

fn write_file(file: &CStr, content: &[u8]) -> nix::Result<()> {
    let file = path::open(file, OFlag::O_WRONLY)?;
    descriptor::write(file.as_fd(), content).map(drop)
}

/// Gives files that are to be the standard streams to the process' user, who may want to open them anew
/// through /dev/stdout. To be called outside of the container's user namespace, which does not know who they
/// belong to now. Read-only and foreign files keep their owner.
pub(super) fn give_streams(streams: &Streams<'_>, process: &Process, user: Option<&IdMappings>) {
    let owner = user.map_or(Some(process.uid), |user| user.outside_user(process.uid));
    let (Streams::Files(files), Some(owner)) = (streams, owner) else {
        return;
    };
    for file in files {
        if path::is_null_device(*file) == Ok(false) {
            let _ = path::give_to_user(*file, owner);
        }
    }
}

/// Makes these files the standard streams.
pub(super) fn install_streams(files: [BorrowedFd<'_>; 3]) -> nix::Result<()> {
    let streams = [Stream::Input, Stream::Output, Stream::Error];
    for (file, stream) in files.into_iter().zip(streams) {
        descriptor::install(file, stream)?;
    }
    Ok(())
}

/// Enters the working directory with the rights of the container's root. No magic link is followed.
fn enter_directory(directory: &CStr) -> nix::Result<()> {
    let root = path::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let place = path::open_in_root(root.as_fd(), directory, OFlag::O_PATH, Links::InRoot)?;
    path::enter(place.as_fd())
}

/// Enters it again with the rights of the process' own user, and makes sure that it is inside the root.
fn confirm_directory(directory: &CStr) -> nix::Result<()> {
    match nix::unistd::chdir(directory) {
        // A directory that only root may search: a process may still start there, as with other runtimes.
        Err(Errno::EACCES) => {}
        other => other?,
    }
    if path::inside_root() {
        Ok(())
    } else {
        Err(Errno::EXDEV)
    }
}
