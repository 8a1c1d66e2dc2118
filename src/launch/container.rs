//! A container's first process: from the shim's small mount namespace to its program.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::cgroup::CgroupDirectories;
use super::process::{Prepared, Streams, give_streams, install_streams};
use super::report::{Reporter, Stage};
use super::shim_namespaces::ShimNamespaces;
use super::start::{Launch, Start};
use super::tree::Origins;
use super::{cover, device, image, rootfs, target, terminal};
use nix::fcntl::OFlag;

use holdfast_kernel::sys::credential;
use holdfast_kernel::sys::mount::{self, Depth};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::path;
use holdfast_wire::plan::{ContainerPlan, Hook, HookMoment, Hooks, PidNamespace};
use holdfast_wire::{Failure, Step};

/// The inputs for the start of a container.
#[derive(Debug)]
pub struct ContainerLaunch<'a> {
    /// The launch plan to walk.
    pub plan: &'a ContainerPlan,
    /// Namespaces that this pod's pause has of its own and other pods' have not.
    pub extra_namespaces: CloneFlags,
    /// Standard streams of the process.
    pub streams: Streams<'a>,
    /// Cgroup directories of the process.
    pub cgroup: &'a CgroupDirectories,
    /// The pause, by pidfd.
    pub pause: BorrowedFd<'a>,
    /// The pod's user namespace.
    pub user: Option<BorrowedFd<'a>>,
    /// The process whose pid namespace the plan names, by pidfd.
    pub pid_namespace: Option<BorrowedFd<'a>>,
    /// The shim's own namespaces.
    pub shim_namespaces: &'a ShimNamespaces,
}

impl ContainerLaunch<'_> {
    /// The hooks, when there is one of this kind.
    fn hooks_with(&self, kind: impl Fn(HookMoment) -> bool) -> Option<&Hooks> {
        let of_kind = |hook: &Hook| kind(hook.moment);
        let hooks = self.plan.hooks.as_ref();
        hooks.filter(|hooks| hooks.hooks.iter().any(of_kind))
    }

    /// The hooks for which the root lies beside the host's files before it becomes the root.
    fn hooks_beside_host(&self) -> Option<&Hooks> {
        self.hooks_with(|moment| moment == HookMoment::CreateContainer)
    }
}

/// The lists that the child walks, made before the clone.
struct Walk<'a> {
    launch: &'a ContainerLaunch<'a>,
    process: Prepared<'a>,
    /// A slot for each mount, then one for each device.
    trees: Vec<Option<OwnedFd>>,
    overlay_page: CString,
    /// The options of an overlay for each mount that is an image.
    image_pages: Vec<CString>,
    /// Names for the nodes of devices that are made outside.
    device_names: Vec<CString>,
}

/// Clones a container's first process.
///
/// # Errors
/// The step that failed before the child ran; later ones come as messages.
pub fn start_container(launch: &ContainerLaunch<'_>) -> Result<Launch, Failure> {
    let plan = launch.plan;
    let mut walk = Walk {
        launch,
        process: Prepared::new(&plan.process),
        trees: Vec::new(),
        overlay_page: rootfs::options_page(plan),
        image_pages: plan.mounts.iter().map(image::options_page).collect(),
        device_names: device::names(&plan.devices),
    };
    walk.trees
        .resize_with(plan.mounts.len() + plan.devices.len(), || None);
    let namespaces = match plan.pid {
        PidNamespace::Own => CloneFlags::CLONE_NEWPID,
        _ => CloneFlags::empty(),
    };
    let start = Start {
        namespaces,
        pid_namespace: launch.pid_namespace,
        cgroup: launch.cgroup,
        unified: None,
        shim_namespaces: launch.shim_namespaces,
    };
    start.run(|reporter| walk.run(reporter))
}

impl Walk<'_> {
    fn run(&mut self, reporter: &Reporter<'_>) -> nix::Result<Infallible> {
        let launch = self.launch;
        let plan = launch.plan;
        self.process.use_procfs(reporter)?;
        let origins = Origins {
            shim_namespaces: launch.shim_namespaces,
            pause: launch.pause,
            user: launch.user,
        };
        let (mount_trees, device_trees) = self.trees.split_at_mut(plan.mounts.len());
        origins.open_all(&plan.mounts, mount_trees, reporter)?;
        let mut overlay = rootfs::make_overlay(plan, launch.user, &self.overlay_page, reporter)?;
        if launch.hooks_beside_host().is_some() {
            overlay = overlay.detached(&self.overlay_page)?;
        }
        image::open_all(&plan.mounts, &self.image_pages, mount_trees, reporter)?;
        if let Some(user) = &plan.user {
            device::make_outside(plan, (user, &self.device_names), device_trees, reporter)?;
        }
        give_streams(&launch.streams, &plan.process, plan.user.as_ref());
        self.join(reporter)?;
        let place = launch
            .hooks_beside_host()
            .map(|hooks| hooks.root.as_c_str());
        let place = place.unwrap_or(rootfs::ROOT_PLACE);
        let root = rootfs::attach(overlay, (plan, place), &self.overlay_page, reporter)?;
        let (mounts, devices) = self.trees.split_at(plan.mounts.len());
        rootfs::make_mounts(root.as_fd(), &plan.mounts, mounts, reporter)?;
        device::make_all(root.as_fd(), plan, devices, reporter)?;
        self.open_streams(root.as_fd(), reporter)?;
        let before = |moment| moment <= HookMoment::CreateContainer;
        if launch.hooks_with(before).is_some() {
            reporter.await_hooks(Stage::BeforeRoot)?;
        }
        cover::mask(root.as_fd(), plan, reporter)?;
        cover::protect(root.as_fd(), &plan.readonly_paths, reporter)?;
        self.make_directory(root.as_fd(), reporter)?;
        rootfs::become_root(root.as_fd(), plan, reporter)?;
        let inside = |moment| moment == HookMoment::StartContainer;
        if launch.hooks_with(inside).is_some() {
            reporter.await_hooks(Stage::BeforeProgram)?;
        }
        self.process.become_program(reporter)
    }

    /// Joins the pod's namespaces and makes this process' own.
    fn join(&mut self, reporter: &Reporter<'_>) -> nix::Result<()> {
        let launch = self.launch;
        reporter.at(Step::Join, 0);
        let hooked = launch.hooks_beside_host().is_some();
        if hooked {
            namespace::join(
                launch.shim_namespaces.host_mounts.as_fd(),
                CloneFlags::CLONE_NEWNS,
            )?;
        }
        let mut shared =
            CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        shared |= launch.extra_namespaces;
        shared.set(CloneFlags::CLONE_NEWCGROUP, launch.plan.join_cgroup);
        namespace::join(launch.pause, shared)?;
        if launch.user.is_some() {
            self.mount_guarded_early(reporter)?;
            reporter.at(Step::Join, 1);
            namespace::join(launch.pause, CloneFlags::CLONE_NEWUSER)?;
            credential::become_root()?;
        }
        let mut own = CloneFlags::CLONE_NEWNS;
        own.set(CloneFlags::CLONE_NEWCGROUP, launch.plan.new_cgroup);
        own.set(CloneFlags::CLONE_NEWUTS, launch.plan.new_uts);
        own.set(CloneFlags::CLONE_NEWIPC, launch.plan.new_ipc);
        namespace::unshare(own)?;
        if hooked {
            // What is mounted for the container stays in it.
            let top = path::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            mount::set_propagation(top.as_fd(), mount::Propagation::Slave, Depth::Recursive)?;
        }
        Ok(())
    }

    /// Mounts procfs and sysfs before the user namespace is joined. Inside it neither may be mounted: the
    /// pid namespace was made by the clone and belongs to the host's user namespace, and the kernel wants to
    /// see another sysfs in the mount table first. The same holds for cgroups without an own namespace.
    fn mount_guarded_early(&mut self, reporter: &Reporter<'_>) -> nix::Result<()> {
        let mounts = &self.launch.plan.mounts;
        for (index, (mount, tree)) in mounts.iter().zip(&mut self.trees).enumerate() {
            let outer = !(self.launch.plan.new_cgroup || self.launch.plan.join_cgroup);
            if rootfs::is_guarded(mount) || outer && rootfs::is_new(mount, &[c"cgroup", c"cgroup2"])
            {
                reporter.at(Step::Mount, index);
                *tree = Some(rootfs::new_file_system(mount)?);
            }
        }
        Ok(())
    }

    /// Makes the working directory while the root can still be written.
    fn make_directory(&self, root: BorrowedFd<'_>, reporter: &Reporter<'_>) -> nix::Result<()> {
        reporter.at(Step::WorkingDirectory, 0);
        let directory = self.launch.plan.process.cwd.to_bytes();
        target::ensure(root, directory, target::Kind::Directory).map(drop)
    }

    fn open_streams(&self, root: BorrowedFd<'_>, reporter: &Reporter<'_>) -> nix::Result<()> {
        let user = self.launch.plan.process.uid;
        match self.launch.streams {
            Streams::Files(files) => {
                reporter.at(Step::Terminal, 0);
                install_streams(files)
            }
            Streams::Terminal(_) => {
                let peer = terminal::open(root, user, reporter)?;
                terminal::bind_console(root, peer.as_fd())?;
                terminal::take_controlling_terminal(peer.as_fd(), reporter)
            }
        }
    }
}
