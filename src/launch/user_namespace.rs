//! User namespaces: their mappings, and whether this machine can have pods in them.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::rootfs::STORE;
use holdfast_kernel::sys::clone;
use holdfast_kernel::sys::mount::{self, Depth};
use holdfast_kernel::sys::namespace::CloneFlags;
use holdfast_kernel::sys::pid::Pid;
use holdfast_kernel::sys::{descriptor, path, proc, process};
use holdfast_wire::plan::{IdMappings, IdRange};

/// Linux that takes layers with mapped owners in an overlay.
const OVERLAY_KERNEL: (u32, u32) = (5, 19);

/// Any range of the host that is not its own users.
const SOME_RANGE: IdRange = IdRange {
    inside: 0,
    outside: 1 << 30,
    count: 1 << 16,
};

/// Writes the mappings of a process' new user namespace, from outside.
///
/// # Errors
/// The kernel's answer, and the file that it is about.
pub(super) fn map_ids(pid: Pid, user: &IdMappings) -> Result<(), (Errno, String)> {
    for (file, ranges) in [("uid_map", &user.uids), ("gid_map", &user.gids)] {
        let file = pid.proc_file(file);
        let opened =
            path::open(file.as_str(), OFlag::O_WRONLY).map_err(|errno| (errno, file.clone()))?;
        descriptor::write(opened.as_fd(), map_text(ranges).as_bytes())
            .map_err(|errno| (errno, file))?;
    }
    Ok(())
}

fn map_text(ranges: &[IdRange]) -> String {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
}

/// Does once what every container in a user namespace needs: makes such a namespace and a mount of the
/// store with owners that it maps. To be called in the small mount namespace, by a process of one thread.
///
/// # Errors
/// What does not work, and what would help.
pub(super) fn try_out() -> Result<(), String> {
    if proc::kernel_version() < OVERLAY_KERNEL {
        return Err("it needs Linux 5.19".to_owned());
    }
    let user = make()?;
    let tree = mount::clone_tree(AT_FDCWD, STORE, Depth::Single)
        .map_err(|errno| format!("cannot clone the store's mount: {}", errno.desc()))?;
    mount::set_id_map(tree.as_fd(), user.as_fd(), Depth::Single).map_err(|errno| {
        format!(
            "the file system of the root directory has no id-mapped mounts: {}; put root_dir on ext4, xfs or btrfs",
            errno.desc()
        )
    })
}

/// A user namespace with some mappings.
fn make() -> Result<OwnedFd, String> {
    let failed = |errno: Errno| {
        let remedy = "see /proc/sys/user/max_user_namespaces";
        format!("cannot make a user namespace: {}; {remedy}", errno.desc())
    };
    let (ours, theirs) = descriptor::packet_pair().map_err(failed)?;
    let mut ours = Some(ours);
    let child = clone::spawn(CloneFlags::CLONE_NEWUSER, None, || {
        // It lives until the other end is closed, of which it must not have a copy itself.
        drop(ours.take());
        let _ = descriptor::read(theirs.as_fd(), &mut [0]);
        0
    })
    .map_err(failed)?;
    let mappings = IdMappings {
        uids: vec![SOME_RANGE],
        gids: vec![SOME_RANGE],
    };
    let opened = map_ids(child.pid, &mappings)
        .map_err(|(errno, _)| errno)
        .and_then(|()| path::open(child.pid.proc_file("ns/user").as_str(), OFlag::O_RDONLY))
        .map_err(failed);
    drop(ours);
    process::wait(child.pid).map_err(failed)?;
    opened
}
