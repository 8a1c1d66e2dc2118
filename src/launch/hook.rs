//! A hook: a program of the node or of the container's root that is run at a moment of the container's life.
//!
//! ```text
//!   prestart, createRuntime, poststart, poststop   the host's namespaces and files
//!   createContainer                                the container's namespaces, the host's files beside the root
//!   startContainer                                 the container's namespaces and root, its process' own rights
//! ```

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use super::cgroup::CgroupDirectories;
use super::process::{Prepared, install_streams};
use super::report::Reporter;
use super::shim_namespaces::ShimNamespaces;
use super::start::{Launch, Start};
use holdfast_kernel::sys::credential;
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_wire::plan::{Hook, Process};
use holdfast_wire::{Failure, Step};

/// The inputs for the start of a hook.
#[derive(Debug)]
pub struct HookLaunch<'a> {
    /// The hook to run.
    pub hook: &'a Hook,
    /// Where the hook runs.
    pub place: HookPlace<'a>,
    /// Its standard input: the container's state.
    pub state: BorrowedFd<'a>,
    /// Its standard output and error.
    pub output: BorrowedFd<'a>,
    /// The bundle on the host: the working directory of hooks that see it.
    pub bundle: &'a CStr,
    /// The shim's own namespaces.
    pub shim_namespaces: &'a ShimNamespaces,
}

/// Where a hook runs.
#[derive(Debug, Clone, Copy)]
pub enum HookPlace<'a> {
    /// In the host's namespaces.
    Runtime,
    /// In the namespaces of a container whose root is not its root yet.
    Container(Inside<'a>),
    /// In a container's root, with the rights of its first process.
    Root(Inside<'a>, &'a Process),
}

/// A container that a hook enters.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    /// Its first process, by pidfd.
    pub process: BorrowedFd<'a>,
    /// Cgroup directories of the process.
    pub cgroup: &'a CgroupDirectories,
    /// The pod's user namespace.
    pub user: Option<BorrowedFd<'a>>,
    /// Further namespaces, as in [`super::ContainerLaunch`].
    pub extra_namespaces: CloneFlags,
}

/// Clones a hook.
///
/// # Errors
/// The step that failed before the child ran; later ones come as messages.
pub fn start_hook(launch: &HookLaunch<'_>) -> Result<Launch, Failure> {
    let own = program(launch);
    let process = Prepared::new(&own);
    let nothing = CgroupDirectories::default();
    let (pid_namespace, cgroup) = match &launch.place {
        HookPlace::Runtime => (None, &nothing),
        HookPlace::Container(inside) | HookPlace::Root(inside, _) => {
            (Some(inside.process), inside.cgroup)
        }
    };
    let start = Start {
        namespaces: CloneFlags::empty(),
        pid_namespace,
        cgroup,
        unified: None,
        shim_namespaces: launch.shim_namespaces,
    };
    start.run(|reporter| run(launch, &process, reporter))
}

/// The process that a hook is: in the root with all that the container's process has, elsewhere with the shim's rights.
fn program(launch: &HookLaunch<'_>) -> Process {
    let hook = launch.hook;
    let base = match launch.place {
        HookPlace::Root(_, process) => process.clone(),
        HookPlace::Runtime | HookPlace::Container(_) => Process::default(),
    };
    Process {
        args: hook.args.clone(),
        candidates: vec![hook.path.clone()],
        env: hook.env.clone(),
        cwd: c"/".into(),
        terminal: false,
        ..base
    }
}

fn run(
    launch: &HookLaunch<'_>,
    process: &Prepared<'_>,
    reporter: &Reporter<'_>,
) -> nix::Result<Infallible> {
    let streams = [launch.state, launch.output, launch.output];
    let inside = match &launch.place {
        HookPlace::Runtime => {
            reporter.at(Step::MountNamespace, 0);
            namespace::join(
                launch.shim_namespaces.host_mounts.as_fd(),
                CloneFlags::CLONE_NEWNS,
            )?;
            install_streams(streams)?;
            return become_tool(launch, process, reporter);
        }
        HookPlace::Container(inside) => inside,
        HookPlace::Root(inside, _) => {
            process.use_procfs(reporter)?;
            inside
        }
    };
    reporter.at(Step::Join, 0);
    let mut all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP
        | inside.extra_namespaces;
    all.set(CloneFlags::CLONE_NEWUSER, inside.user.is_some());
    namespace::join(inside.process, all)?;
    if inside.user.is_some() {
        credential::become_root()?;
    }
    install_streams(streams)?;
    match launch.place {
        HookPlace::Root(..) => process.become_program(reporter),
        HookPlace::Runtime | HookPlace::Container(_) => become_tool(launch, process, reporter),
    }
}

fn become_tool(
    launch: &HookLaunch<'_>,
    process: &Prepared<'_>,
    reporter: &Reporter<'_>,
) -> nix::Result<Infallible> {
    reporter.at(Step::WorkingDirectory, 0);
    nix::unistd::chdir(launch.bundle)?;
    process.become_tool(reporter)
}
