//! Device nodes and symbolic links of a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::report::Reporter;
use super::target::{self, Kind};
use crate::sys::mount;
use crate::sys::path::{self, Node};
use crate::wire::Step;
use crate::wire::plan::{ContainerPlan, Device};

/// Kind and number of a device of the plan.
pub(super) fn node(device: &Device) -> Node {
    Node {
        kind: device.kind,
        major: device.major,
        minor: device.minor,
    }
}

/// Makes all devices, from `trees` where a tree of the host's node was opened, and all symbolic links.
pub(super) fn make_all(
    root: BorrowedFd<'_>,
    plan: &ContainerPlan,
    trees: &[Option<OwnedFd>],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    for (index, (device, tree)) in plan.devices.iter().zip(trees).enumerate() {
        reporter.at(Step::Device, index);
        match tree {
            Some(tree) => {
                let place = target::ensure(root, device.target.to_bytes(), Kind::File)?;
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

fn make(root: BorrowedFd<'_>, device: &Device) -> nix::Result<()> {
    let (parent, name) = target::split(device.target.to_bytes());
    let parent = target::ensure(root, parent, Kind::Directory)?;
    match path::make_node(parent.as_fd(), name, node(device), device.mode) {
        // The directory may be a volume that has the node already, perhaps the host's /dev itself, where
        // nothing may be replaced or changed.
        Err(Errno::EEXIST) => {
            let present = path::open_at(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
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
