//! A container's root file system: overlay, then the plan's mounts in their order.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::copy_up;
use super::report::Reporter;
use super::target::{self, Kind};
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::path::{self, Links};
use holdfast_wire::Step;
use holdfast_wire::plan::{ContainerPlan, Mount, MountSource, Propagation};

/// Where the root is attached before it becomes the root.
pub(super) const ROOT_PLACE: &CStr = c"/rootfs";

/// [`holdfast_wire::plan::STORE_MOUNT`] as the kernel takes it.
pub(super) const STORE: &CStr = c"/store";

/// The overlay before it is attached.
#[derive(Debug)]
pub(super) enum Overlay {
    /// A mount that is attached nowhere.
    Detached(OwnedFd),
    /// The kernel knows the old road only, whose mount is attached when it is made.
    OldRoad,
}

impl Overlay {
    /// The overlay as a detached mount, whatever road the kernel knows. Of the old road this process is in a mount
    /// namespace of its own from then on.
    pub(super) fn detached(self, page: &CStr) -> nix::Result<Self> {
        let Self::OldRoad = self else {
            return Ok(self);
        };
        namespace::unshare(CloneFlags::CLONE_NEWNS)?;
        mount::mount_overlay(ROOT_PLACE, page)?;
        mount::clone_tree(AT_FDCWD, ROOT_PLACE, Depth::Single).map(Self::Detached)
    }
}

/// The options of the overlay as one text, for kernels that take no list of layers. With a user namespace
/// the plain store, with the upper directory, is at [`ROOT_PLACE`] by then.
pub(super) fn options_page(plan: &ContainerPlan) -> CString {
    let mut text = b"index=off,lowerdir=".to_vec();
    for (index, layer) in plan.lower.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        text.extend_from_slice(layer.to_bytes());
    }
    for (key, directory) in [(",upperdir=", &plan.upper), (",workdir=", &plan.work)] {
        let directory = directory.to_bytes();
        text.extend_from_slice(key.as_bytes());
        match directory.strip_prefix(STORE.to_bytes()) {
            Some(rest) if plan.user.is_some() => {
                text.extend_from_slice(ROOT_PLACE.to_bytes());
                text.extend_from_slice(rest);
            }
            _ => text.extend_from_slice(directory),
        }
    }
    // Parts of C strings hold no zero byte.
    CString::new(text).unwrap_or_default()
}

/// Makes the overlay. With a user namespace the layers' owners are mapped by it, and this process is in a
/// mount namespace of its own from then on, where [`STORE`] shows the mapped store.
pub(super) fn make_overlay(
    plan: &ContainerPlan,
    user: Option<BorrowedFd<'_>>,
    page: &CStr,
    reporter: &Reporter<'_>,
) -> nix::Result<Overlay> {
    let stores = match user {
        Some(user) => Some(clone_stores(user, reporter)?),
        None => None,
    };
    // Before Linux 6.8 the option `lowerdir+` does not exist.
    match (list_layers(plan, stores.as_ref(), reporter), stores) {
        (Err(Errno::EINVAL), None) => Ok(Overlay::OldRoad),
        (Err(Errno::EINVAL), Some(stores)) => {
            // Made here and cloned: inside the user namespace the store's directories are out of reach.
            let place = path::open(ROOT_PLACE, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            mount::attach(stores.plain.as_fd(), place.as_fd())?;
            mount::mount_overlay(ROOT_PLACE, page)?;
            mount::clone_tree(AT_FDCWD, ROOT_PLACE, Depth::Single).map(Overlay::Detached)
        }
        (made, _) => made.map(Overlay::Detached),
    }
}

/// The store twice, detached.
struct Stores {
    /// The store without a mapping: files that a container writes have the host's owners on the disk.
    plain: OwnedFd,
    /// With mapped owners: layers are shared by pods with different mappings, so the disk has the image's.
    mapped: OwnedFd,
}

fn clone_stores(user: BorrowedFd<'_>, reporter: &Reporter<'_>) -> nix::Result<Stores> {
    reporter.at(Step::Join, 0);
    // The mapped store is going to cover the other, which is nobody else's business.
    namespace::unshare(CloneFlags::CLONE_NEWNS)?;
    reporter.at(Step::IdMap, usize::from(u16::MAX));
    let clone = || mount::clone_tree(AT_FDCWD, STORE, Depth::Single);
    let stores = Stores {
        plain: clone()?,
        mapped: clone()?,
    };
    mount::set_id_map(stores.mapped.as_fd(), user, Depth::Single)?;
    Ok(stores)
}

fn list_layers(
    plan: &ContainerPlan,
    stores: Option<&Stores>,
    reporter: &Reporter<'_>,
) -> nix::Result<OwnedFd> {
    reporter.at(Step::Rootfs, plan.lower.len());
    let overlay = NewFileSystem::open(c"overlay")?;
    overlay.set(c"source", c"overlay")?;
    overlay.set(c"index", c"off")?;
    // The kernel looks a directory up when it is set.
    overlay.set(c"upperdir", &plan.upper)?;
    overlay.set(c"workdir", &plan.work)?;
    if let Some(stores) = stores {
        let place = path::open(STORE, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        mount::attach(stores.mapped.as_fd(), place.as_fd())?;
    }
    for (index, layer) in plan.lower.iter().enumerate() {
        reporter.at(Step::Rootfs, index);
        overlay.set(c"lowerdir+", layer)?;
    }
    reporter.at(Step::Rootfs, plan.lower.len());
    overlay.mount(0)
}

/// Attaches the overlay at a place of this process' own mount namespace and opens it as the root.
pub(super) fn attach(
    overlay: Overlay,
    (plan, place): (&ContainerPlan, &CStr),
    page: &CStr,
    reporter: &Reporter<'_>,
) -> nix::Result<OwnedFd> {
    reporter.at(Step::Rootfs, plan.lower.len());
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match overlay {
        Overlay::Detached(tree) => {
            let place = path::open(place, directory)?;
            mount::attach(tree.as_fd(), place.as_fd())?;
            Ok(tree)
        }
        Overlay::OldRoad => {
            mount::mount_overlay(place, page)?;
            path::open(place, directory)
        }
    }
}

/// Makes the plan's mounts. Each target is resolved when its turn comes, so that it sees earlier mounts.
pub(super) fn make_mounts(
    root: BorrowedFd<'_>,
    mounts: &[Mount],
    trees: &[Option<OwnedFd>],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    for (index, (mount, tree)) in mounts.iter().zip(trees).enumerate() {
        reporter.at(Step::MountTarget, index);
        let kind = match tree {
            Some(tree) if !path::is_directory(tree.as_fd())? => Kind::File,
            _ => Kind::Directory,
        };
        let place = target::ensure(root, mount.target.to_bytes(), kind)?;
        if is_guarded(mount) || path::is_on_procfs(place.as_fd())? {
            // A link in the image must not put procfs where nobody guards it, nor a volume over a part of procfs
            // that the request does not name.
            path::open_in_root(root, mount.target.as_c_str(), OFlag::O_PATH, Links::Refuse)?;
        }
        reporter.at(Step::Mount, index);
        match tree {
            Some(tree) => mount::attach(tree.as_fd(), place.as_fd())?,
            None => attach_new(mount, place.as_fd())?,
        }
    }
    Ok(())
}

/// Whether a mount is a new procfs or sysfs, through which a container could reach the kernel.
pub(super) fn is_guarded(mount: &Mount) -> bool {
    is_new(mount, &[c"proc", c"sysfs"])
}

/// Whether a mount is a new file system of one of these types.
pub(super) fn is_new(mount: &Mount, types: &[&CStr]) -> bool {
    matches!(&mount.source, MountSource::New { fs_type, .. } if types.contains(&fs_type.as_c_str()))
}

fn attach_new(mount: &Mount, place: BorrowedFd<'_>) -> nix::Result<()> {
    let made = new_file_system(mount)?;
    if let MountSource::New { copy_up: true, .. } = &mount.source {
        copy_up::copy(place, made.as_fd())?;
    }
    mount::attach(made.as_fd(), place)
}

/// Makes a new file system of the plan as a detached mount.
pub(super) fn new_file_system(mount: &Mount) -> nix::Result<OwnedFd> {
    let MountSource::New {
        fs_type, options, ..
    } = &mount.source
    else {
        return Err(Errno::EINVAL);
    };
    let file_system = NewFileSystem::open(fs_type)?;
    // What /proc/mounts shows; without it "none". The kernel takes it once.
    if options.iter().all(|(key, _)| key.as_c_str() != c"source") {
        file_system.set(c"source", fs_type)?;
    }
    for (key, value) in options {
        if value.is_empty() {
            file_system.set_flag(key)?;
        } else {
            file_system.set(key, value)?;
        }
    }
    let made = file_system.mount(mount.attributes)?;
    match mount.propagation {
        Propagation::Private => {}
        Propagation::Slave => {
            mount::set_propagation(made.as_fd(), mount::Propagation::Slave, Depth::Single)?
        }
        Propagation::Shared => {
            mount::set_propagation(made.as_fd(), mount::Propagation::Shared, Depth::Single)?
        }
    }
    Ok(made)
}

/// Makes `root` the root of this mount namespace, with its propagation.
pub(super) fn become_root(
    root: BorrowedFd<'_>,
    plan: &ContainerPlan,
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    reporter.at(Step::RootfsFlags, 0);
    if plan.readonly_rootfs {
        mount::set_attributes(root, libc::MOUNT_ATTR_RDONLY, Depth::Single)?;
    }
    reporter.at(Step::Pivot, 0);
    path::enter(root)?;
    mount::pivot_here()?;
    reporter.at(Step::RootfsFlags, 0);
    match plan.rootfs_propagation {
        Propagation::Private => Ok(()),
        Propagation::Slave => {
            mount::set_propagation(root, mount::Propagation::Slave, Depth::Single)
        }
        Propagation::Shared => {
            mount::set_propagation(root, mount::Propagation::Shared, Depth::Single)
        }
    }
}
