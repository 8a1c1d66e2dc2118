//! The pause: makes the pod's namespaces, sets them up and holds them.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::cgroup::CgroupDirectories;
use super::process::{set_identity, set_oom_score};
use super::report::Reporter;
use super::shim_namespaces::ShimNamespaces;
use super::start::{Launch, Start};
use super::sysctl;
use super::time_namespace;
use super::user_namespace::map_ids;
use holdfast_kernel::sys::credential::{self, Sets};
use holdfast_kernel::sys::exec::{Strings, execute_file};
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::{descriptor, path, seccomp, signal};
use holdfast_wire::plan::PausePlan;
use holdfast_wire::{Failure, Step};

/// The inputs for the start of a pause.
#[derive(Debug)]
pub struct PauseLaunch<'a> {
    /// The launch plan to walk.
    pub plan: &'a PausePlan,
    /// The network namespace of another pod, when it joins one.
    pub network: Option<BorrowedFd<'a>>,
    /// The pause program, sealed.
    pub program: BorrowedFd<'a>,
    /// Cgroup directories of the process.
    pub cgroup: &'a CgroupDirectories,
    /// The shim's own namespaces.
    pub shim_namespaces: &'a ShimNamespaces,
    /// The host's null device.
    pub null: BorrowedFd<'a>,
}

/// Everything that the child needs, made before the clone.
struct Prepared<'a> {
    launch: &'a PauseLaunch<'a>,
    shm_size: CString,
    oom_score: Option<CString>,
    arguments: Strings<'a>,
    environment: Strings<'a>,
}

/// Clones the pause.
///
/// # Errors
/// The step that failed before the child ran; later ones come as messages.
pub fn start_pause(launch: &PauseLaunch<'_>) -> Result<Launch, Failure> {
    let failure = |errno: Errno, file: &str| Failure::errno(Step::IdMap, errno as i32, file);
    let plan = launch.plan;
    let name = [c"holdfast-pause".to_owned()];
    let mut prepared = Prepared {
        launch,
        shm_size: number(plan.shm_bytes),
        oom_score: plan.oom_score_adj.map(number),
        arguments: Strings::new(&name),
        environment: Strings::new(&[]),
    };
    let start = Start {
        namespaces: namespaces(plan),
        pid_namespace: None,
        cgroup: launch.cgroup,
        unified: None,
        shim_namespaces: launch.shim_namespaces,
    };
    let started = time_namespace::within(launch.plan.time.as_ref(), || {
        start.run(|reporter| prepared.walk(reporter))
    })?;
    if let Some(user) = &plan.user {
        let pid = started.child.pid;
        // On failure the launch is dropped, its socket closes, and that ends the waiting child.
        map_ids(pid, user).map_err(|(errno, file)| failure(errno, &file))?;
        started
            .release()
            .map_err(|errno| failure(errno, "the pause"))?;
    }
    Ok(started)
}

fn number(value: impl std::fmt::Display) -> CString {
    // A printed number has no zero byte.
    CString::new(value.to_string()).unwrap_or_default()
}

fn namespaces(plan: &PausePlan) -> CloneFlags {
    let wanted = [
        (true, CloneFlags::CLONE_NEWNS),
        (plan.new_net, CloneFlags::CLONE_NEWNET),
        (plan.new_ipc, CloneFlags::CLONE_NEWIPC),
        (plan.new_uts, CloneFlags::CLONE_NEWUTS),
        (plan.new_pid, CloneFlags::CLONE_NEWPID),
        (plan.user.is_some(), CloneFlags::CLONE_NEWUSER),
    ];
    wanted
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .collect()
}

impl Prepared<'_> {
    fn walk(&mut self, reporter: &Reporter<'_>) -> nix::Result<Infallible> {
        let plan = self.launch.plan;
        reporter.at(Step::OomScore, 0);
        set_oom_score(self.oom_score.as_deref(), reporter)?;
        if let Some(network) = self.launch.network {
            reporter.at(Step::Join, 0);
            namespace::join(network, CloneFlags::CLONE_NEWNET)?;
        }
        if plan.user.is_some() {
            reporter.at(Step::IdMap, 0);
            reporter.await_release()?;
            set_identity(&[], 0, 0)?;
        }
        if self.launch.plan.new_cgroup {
            // Not with the clone: its root is the cgroup that this process has entered since.
            reporter.at(Step::Join, 1);
            namespace::unshare(CloneFlags::CLONE_NEWCGROUP)?;
        }
        if let Some(name) = &plan.hostname {
            reporter.at(Step::Hostname, 0);
            namespace::set_hostname(name)?;
        }
        self.write_sysctls(reporter)?;
        self.make_root(reporter)?;
        // Before the filter, which may forbid it.
        reporter.at(Step::Exec, 0);
        descriptor::close_all_on_exec()?;
        self.drop_privileges(reporter)?;
        reporter.at(Step::Exec, 0);
        Err(execute_file(
            self.launch.program,
            &self.arguments,
            &self.environment,
        ))
    }

    fn write_sysctls(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        if self.launch.plan.sysctls.is_empty() {
            return Ok(());
        }
        reporter.at(Step::Sysctl, 0);
        let top = sysctl::open()?;
        for (index, of) in self.launch.plan.sysctls.iter().enumerate() {
            reporter.at(Step::Sysctl, index);
            sysctl::write(top.as_fd(), of)?;
        }
        Ok(())
    }

    /// A read-only root with nothing in it but the pod's shared memory.
    fn make_root(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        reporter.at(Step::Rootfs, 0);
        let guarded = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let root = NewFileSystem::open(c"tmpfs")?;
        root.set(c"mode", c"0755")?;
        let root = root.mount(guarded)?;
        let place = path::open(c"/rootfs", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        mount::attach(root.as_fd(), place.as_fd())?;
        if self.launch.plan.new_ipc {
            reporter.at(Step::Mount, 0);
            path::make_directory(root.as_fd(), c"shm", 0o755)?;
            let memory = NewFileSystem::open(c"tmpfs")?;
            memory.set(c"mode", c"1777")?;
            memory.set(c"size", &self.shm_size)?;
            let memory = memory.mount(guarded)?;
            let place = path::open_at(root.as_fd(), c"shm", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            mount::attach(memory.as_fd(), place.as_fd())?;
        }
        reporter.at(Step::RootfsFlags, 0);
        mount::set_attributes(root.as_fd(), libc::MOUNT_ATTR_RDONLY, Depth::Single)?;
        reporter.at(Step::Pivot, 0);
        path::enter(root.as_fd())?;
        mount::pivot_here()
    }

    fn drop_privileges(&self, reporter: &Reporter<'_>) -> nix::Result<()> {
        let plan = self.launch.plan;
        for stream in [
            descriptor::Stream::Input,
            descriptor::Stream::Output,
            descriptor::Stream::Error,
        ] {
            descriptor::install(self.launch.null, stream)?;
        }
        signal::reset()?;
        reporter.at(Step::Capabilities, 0);
        credential::limit_bounding(0)?;
        reporter.at(Step::User, 0);
        set_identity(&plan.groups, plan.gid, plan.uid)?;
        reporter.at(Step::Capabilities, 0);
        credential::set_capabilities(Sets::default())?;
        credential::set_ambient(0)?;
        reporter.at(Step::NoNewPrivileges, 0);
        credential::set_no_new_privileges()?;
        if let Some(filter) = &plan.seccomp {
            reporter.at(Step::Seccomp, 0);
            seccomp::load(&filter.program, filter.flags)?;
        }
        Ok(())
    }
}
