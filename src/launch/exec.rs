//! A further process in a running container.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::OFlag;

use super::cgroup::CgroupDirectories;
use super::process::{Prepared, Streams, give_streams, install_streams};
use super::report::Reporter;
use super::shim_namespaces::ShimNamespaces;
use super::start::{Launch, Start};
use super::terminal;
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::{credential, path, tty};
use holdfast_wire::plan::ExecPlan;
use holdfast_wire::{Failure, Step};

/// The inputs for the start of a further process.
#[derive(Debug)]
pub struct ExecLaunch<'a> {
    /// The launch plan to walk.
    pub plan: &'a ExecPlan,
    /// Standard streams of the process.
    pub streams: Streams<'a>,
    /// Cgroup directories of the container.
    pub cgroup: &'a CgroupDirectories,
    /// The process' own cgroup v2 directory below the container's.
    pub unified: Option<BorrowedFd<'a>>,
    /// The container's first process, by pidfd.
    pub container: BorrowedFd<'a>,
    /// Further namespaces, as in [`super::ContainerLaunch`].
    pub extra_namespaces: CloneFlags,
    /// The container is in a user namespace.
    pub user: Option<BorrowedFd<'a>>,
    /// The shim's own namespaces.
    pub shim_namespaces: &'a ShimNamespaces,
}

/// Clones a further process.
///
/// # Errors
/// The step that failed before the child ran; later ones come as messages.
pub fn start_exec(launch: &ExecLaunch<'_>) -> Result<Launch, Failure> {
    let process = Prepared::new(&launch.plan.process);
    let start = Start {
        namespaces: CloneFlags::empty(),
        pid_namespace: Some(launch.container),
        cgroup: launch.cgroup,
        unified: launch.unified,
        shim_namespaces: launch.shim_namespaces,
    };
    start.run(|reporter| run(launch, &process, reporter))
}

fn run(
    launch: &ExecLaunch<'_>,
    process: &Prepared<'_>,
    reporter: &Reporter<'_>,
) -> nix::Result<Infallible> {
    let plan = launch.plan;
    process.use_procfs(reporter)?;
    give_streams(&launch.streams, &plan.process, plan.user.as_ref());
    reporter.at(Step::Join, 0);
    let mut all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP
        | launch.extra_namespaces;
    if launch.user.is_some() {
        all |= CloneFlags::CLONE_NEWUSER;
    }
    namespace::join(launch.container, all)?;
    if launch.user.is_some() {
        reporter.at(Step::Join, 1);
        credential::become_root()?;
    }
    let user = plan.process.uid;
    reporter.at(Step::Terminal, 0);
    match launch.streams {
        Streams::Files(files) => install_streams(files)?,
        Streams::Terminal(size) => {
            let root = path::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            let peer = terminal::open(root.as_fd(), user, reporter)?;
            if let Some(size) = size {
                tty::set_size(peer.as_fd(), size.rows, size.columns)?;
            }
            terminal::take_controlling_terminal(peer.as_fd(), reporter)?;
        }
    }
    process.become_program(reporter)
}
