//! Device nodes and symbolic links of a container.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::report::Reporter;
use super::target::{self, Kind};
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::path::{self, Links, Node};
use holdfast_wire::Step;
use holdfast_wire::plan::{ContainerPlan, Device, IdMappings};

/// Kind and number of a device of the plan.
fn node(device: &Device) -> Node {
    Node {
        kind: device.kind,
        major: device.major,
        minor: device.minor,
    }
}

/// The names under which [`make_outside`] makes nodes.
pub(super) fn names(devices: &[Device]) -> Vec<CString> {
    let name = |index: usize| CString::new(index.to_string()).unwrap_or_default();
    (0..devices.len()).map(name).collect()
}

/// Makes the nodes of a container in a user namespace, where mknod(2) is refused and where nodes of the host
/// would have the host's owners: on a file system outside of it, cloned one by one into `trees`. To be called
/// in a mount namespace of this process' own.
pub(super) fn make_outside(
    plan: &ContainerPlan,
    (user, names): (&IdMappings, &[CString]),
    trees: &mut [Option<OwnedFd>],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    if plan.devices.is_empty() {
        return Ok(());
    }
    reporter.at(Step::Device, 0);
    let nodes = NewFileSystem::open(c"tmpfs")?;
    nodes.set(c"mode", c"0700")?;
    let nodes = nodes.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)?;
    let place = path::open(
        super::rootfs::ROOT_PLACE,
        OFlag::O_PATH | OFlag::O_DIRECTORY,
    )?;
    mount::attach(nodes.as_fd(), place.as_fd())?;
    for (index, (device, tree)) in plan.devices.iter().zip(trees).enumerate() {
        reporter.at(Step::Device, index);
        let name = names.get(index).ok_or(Errno::EINVAL)?;
        let uid = user.outside_user(device.uid).ok_or(Errno::EINVAL)?;
        let gid = user.outside_group(device.gid).ok_or(Errno::EINVAL)?;
        path::make_node(nodes.as_fd(), name.as_c_str(), node(device), device.mode)?;
        path::set_owner(nodes.as_fd(), name.as_c_str(), uid, gid)?;
        *tree = Some(mount::clone_tree(nodes.as_fd(), name, Depth::Single)?);
    }
    Ok(())
}

/// Makes all devices, from `trees` where the node was made outside, and all symbolic links.
pub(super) fn make_all(
    root: BorrowedFd<'_>,
    plan: &ContainerPlan,
    trees: &[Option<OwnedFd>],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    for (index, (device, tree)) in plan.devices.iter().zip(trees).enumerate() {
        reporter.at(Step::Device, index);
        if is_mounted_over(plan, &device.target) {
            // What the request mounts there is what it wants there, as in runc.
            let target = device.target.as_c_str();
            no_directory(path::open_in_root(root, target, OFlag::O_PATH, Links::InRoot)?.as_fd())?;
            continue;
        }
        match tree {
            Some(tree) => {
                let place = target::ensure(root, device.target.to_bytes(), Kind::File)?;
                no_directory(place.as_fd())?;
                mount::attach(tree.as_fd(), place.as_fd())?;
            }
            None => make(root, device)?,
        }
    }
    for (index, (place, text)) in plan.symlinks.iter().enumerate() {
        reporter.at(Step::Device, plan.devices.len() + index);
        let (parent, name) = target::split(place.to_bytes());
        let parent = target::ensure(root, parent, Kind::Directory)?;
        match path::make_link(text.as_c_str(), parent.as_fd(), name) {
            Err(Errno::EEXIST) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Whether something is mounted exactly there.
pub(super) fn is_mounted_over(plan: &ContainerPlan, target: &CStr) -> bool {
    plan.mounts
        .iter()
        .any(|mount| mount.target.as_c_str() == target)
}

/// A directory can stand for no device.
fn no_directory(place: BorrowedFd<'_>) -> nix::Result<()> {
    if path::is_directory(place)? {
        return Err(Errno::EISDIR);
    }
    Ok(())
}

fn make(root: BorrowedFd<'_>, device: &Device) -> nix::Result<()> {
    let (parent, name) = target::split(device.target.to_bytes());
    let parent = target::ensure(root, parent, Kind::Directory)?;
    match path::make_node(parent.as_fd(), name, node(device), device.mode) {
        // The directory may be a volume that has the node already, perhaps the host's /dev itself, where
        // nothing may be replaced or changed.
        Err(Errno::EEXIST) => {
            let present = path::open_at(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
            no_directory(present.as_fd())?;
            let same = path::is_node(present.as_fd(), node(device))?;
            return if same { Ok(()) } else { Err(Errno::EEXIST) };
        }
        other => other?,
    }
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    path::set_owner(parent.as_fd(), name, device.uid, device.gid)
}
