//! A container's root file system: overlay, then the plan's mounts in their order.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::copy_up;
use super::report::Reporter;
use super::target::{self, Kind};
use crate::sys::mount::{self, Depth, NewFileSystem, Spread};
use crate::sys::namespace::{self, CloneFlags};
use crate::sys::path::{self, Links};
use crate::wire::Step;
use crate::wire::plan::{ContainerPlan, Mount, MountSource, Propagation};

/// Where the root is attached before it becomes the root.
const ROOT_PLACE: &CStr = c"/rootfs";

/// [`crate::wire::plan::STORE_MOUNT`] as the kernel takes it.
const STORE: &CStr = c"/store";

/// The overlay before it is attached.
#[derive(Debug)]
pub(super) enum Overlay {
    /// A detached mount.
    Detached(OwnedFd),
    /// The kernel knows the old road only, whose mount is attached when it is made.
    OldRoad,
}

/// The options of the overlay as one text, for kernels that take no list of layers.
pub(super) fn options_page(plan: &ContainerPlan) -> CString {
    let mut text = b"index=off,lowerdir=".to_vec();
    for (index, layer) in plan.lower.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        text.extend_from_slice(layer.to_bytes());
    }
    for (key, directory) in [(",upperdir=", &plan.upper), (",workdir=", &plan.work)] {
        text.extend_from_slice(key.as_bytes());
        text.extend_from_slice(directory.to_bytes());
    }
    // Parts of C strings hold no zero byte.
    CString::new(text).unwrap_or_default()
}

/// Makes the overlay. With a user namespace the layers' owners are mapped by it.
pub(super) fn make_overlay(
    plan: &ContainerPlan,
    user: Option<BorrowedFd<'_>>,
    reporter: &Reporter<'_>,
) -> nix::Result<Overlay> {
    match list_layers(plan, user, reporter) {
        // Before Linux 6.8 the option `lowerdir+` does not exist.
        Err(Errno::EINVAL) if user.is_none() => Ok(Overlay::OldRoad),
        other => other.map(Overlay::Detached),
    }
}

fn list_layers(
    plan: &ContainerPlan,
    user: Option<BorrowedFd<'_>>,
    reporter: &Reporter<'_>,
) -> nix::Result<OwnedFd> {
    let mapped = match user {
        Some(user) => {
            reporter.at(Step::Join, 0);
            // The mapped store covers the plain one, which other pods use: in a mount table of its own.
            namespace::unshare(CloneFlags::CLONE_NEWNS)?;
            reporter.at(Step::IdMap, 0);
            let store = mount::clone_tree(AT_FDCWD, STORE, Depth::Single)?;
            mount::set_id_map(store.as_fd(), user, Depth::Single)?;
            Some(store)
        }
        None => None,
    };
    reporter.at(Step::Rootfs, plan.lower.len());
    let overlay = NewFileSystem::open(c"overlay")?;
    overlay.set(c"source", c"overlay")?;
    overlay.set(c"index", c"off")?;
    overlay.set(c"upperdir", &plan.upper)?;
    overlay.set(c"workdir", &plan.work)?;
    if let Some(store) = mapped {
        // The upper directories are taken as they are; only layers, which pods share, have mapped owners.
        let place = path::open(STORE, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        mount::attach(store.as_fd(), place.as_fd())?;
    }
    for (index, layer) in plan.lower.iter().enumerate() {
        reporter.at(Step::Rootfs, index);
        overlay.set(c"lowerdir+", layer)?;
    }
    reporter.at(Step::Rootfs, plan.lower.len());
    overlay.mount(0)
}

/// Attaches the overlay in this process' own mount namespace and opens it as the root.
pub(super) fn attach(
    overlay: Overlay,
    plan: &ContainerPlan,
    page: &CStr,
    reporter: &Reporter<'_>,
) -> nix::Result<OwnedFd> {
    reporter.at(Step::Rootfs, plan.lower.len());
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match overlay {
        Overlay::Detached(tree) => {
            let place = path::open(ROOT_PLACE, directory)?;
            mount::attach(tree.as_fd(), place.as_fd())?;
            Ok(tree)
        }
        Overlay::OldRoad => {
            mount::mount_overlay(ROOT_PLACE, page)?;
            path::open(ROOT_PLACE, directory)
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
        if is_guarded(mount) {
            // A link in the image must not put procfs where nobody guards it (CVE-2019-19921).
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            path::open_in_root(root, mount.target.as_c_str(), flags, Links::Refuse)?;
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
    let guarded = [c"proc", c"sysfs"];
    matches!(&mount.source, MountSource::New { fs_type, .. } if guarded.contains(&fs_type.as_c_str()))
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
        Propagation::Slave => mount::set_spread(made.as_fd(), Spread::Slave, Depth::Single)?,
        Propagation::Shared => mount::set_spread(made.as_fd(), Spread::Shared, Depth::Single)?,
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
        Propagation::Slave => mount::set_spread(root, Spread::Slave, Depth::Single),
        Propagation::Shared => mount::set_spread(root, Spread::Shared, Depth::Single),
    }
}
