//! Trees of other mount namespaces, opened as detached clones before the child leaves them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::report::Reporter;
use super::shim_namespaces::ShimNamespaces;
use holdfast_kernel::sys::mount::{self, Depth};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::path;
use holdfast_wire::Step;
use holdfast_wire::plan::{Missing, Mount, MountSource, Propagation, TreeOrigin};

/// Where trees come from and whom they belong to.
pub(super) struct Origins<'a> {
    pub(super) shim_namespaces: &'a ShimNamespaces,
    /// The pause, whose mount namespace is the pod's.
    pub(super) pause: BorrowedFd<'a>,
    /// The pod's user namespace.
    pub(super) user: Option<BorrowedFd<'a>>,
}

impl Origins<'_> {
    /// Opens the trees of all mounts into `trees`. Ends in the small mount namespace.
    pub(super) fn open_all(
        &self,
        mounts: &[Mount],
        trees: &mut [Option<OwnedFd>],
        reporter: &Reporter<'_>,
    ) -> nix::Result<()> {
        let from = |origin| mounts.iter().any(|mount| comes_from(mount, origin));
        let mut away = false;
        if from(TreeOrigin::Host) {
            self.enter_mount_namespace(self.shim_namespaces.host_mounts.as_fd(), reporter)?;
            away = true;
            self.open_mounts(TreeOrigin::Host, mounts, trees, reporter)?;
        }
        if from(TreeOrigin::Pod) {
            self.enter_mount_namespace(self.pause, reporter)?;
            away = true;
            self.open_mounts(TreeOrigin::Pod, mounts, trees, reporter)?;
        }
        if let (true, Some(small)) = (away, &self.shim_namespaces.small_mounts) {
            self.enter_mount_namespace(small.as_fd(), reporter)?;
        }
        self.open_mounts(TreeOrigin::Store, mounts, trees, reporter)
    }

    fn enter_mount_namespace(
        &self,
        place: BorrowedFd<'_>,
        reporter: &Reporter<'_>,
    ) -> nix::Result<()> {
        reporter.at(Step::MountNamespace, 0);
        namespace::join(place, CloneFlags::CLONE_NEWNS)
    }

    fn open_mounts(
        &self,
        origin: TreeOrigin,
        mounts: &[Mount],
        trees: &mut [Option<OwnedFd>],
        reporter: &Reporter<'_>,
    ) -> nix::Result<()> {
        for (index, (mount, tree)) in mounts.iter().zip(trees).enumerate() {
            if comes_from(mount, origin) {
                let opened = self.open(mount, (index, reporter))?;
                set_attributes(opened.as_fd(), mount)?;
                *tree = Some(opened);
            }
        }
        Ok(())
    }

    fn open(&self, mount: &Mount, at: (usize, &Reporter<'_>)) -> nix::Result<OwnedFd> {
        let (index, reporter) = at;
        reporter.at(Step::HostPath, index);
        let MountSource::Tree {
            path,
            recursive,
            missing,
            id_map,
            ..
        } = &mount.source
        else {
            return Err(Errno::EINVAL);
        };
        let depth = if *recursive {
            Depth::Recursive
        } else {
            Depth::Single
        };
        let check_propagation = || match mount.propagation {
            Propagation::Private => Ok(()),
            wanted => require_propagation(path, wanted),
        };
        let open = || {
            check_propagation()?;
            mount::clone_tree(AT_FDCWD, path, depth)
        };
        let tree = match open() {
            Err(Errno::ENOENT) if *missing == Missing::MakeDirectory => {
                make_directories(path.to_bytes())?;
                open()?
            }
            other => other?,
        };
        if id_map.is_some() {
            reporter.at(Step::IdMap, index);
            let user = self.user.ok_or(Errno::EINVAL)?;
            // As in runc the mounts below keep their owners: among them may be some that cannot be mapped.
            mount::set_id_map(tree.as_fd(), user, Depth::Single)?;
            reporter.at(Step::HostPath, index);
        }
        match mount.propagation {
            Propagation::Private => {
                mount::set_propagation(tree.as_fd(), mount::Propagation::Private, depth)?
            }
            Propagation::Slave => {
                mount::set_propagation(tree.as_fd(), mount::Propagation::Slave, depth)?
            }
            // The clone is in its source's peer group already.
            Propagation::Shared => {}
        }
        Ok(tree)
    }
}

fn comes_from(mount: &Mount, wanted: TreeOrigin) -> bool {
    matches!(&mount.source, MountSource::Tree { origin, .. } if *origin == wanted)
}

/// Sets the attributes that a mount of the plan asks for.
pub(super) fn set_attributes(tree: BorrowedFd<'_>, mount: &Mount) -> nix::Result<()> {
    if mount.attributes == 0 {
        return Ok(());
    }
    let depth = if mount.recursive_attributes {
        Depth::Recursive
    } else {
        Depth::Single
    };
    mount::set_attributes(tree, mount.attributes, depth)
}

/// Makes a directory of the host and those above it.
fn make_directories(directory: &[u8]) -> nix::Result<()> {
    for end in 1..=directory.len() {
        if end < directory.len() && directory[end] != b'/' {
            continue;
        }
        match path::make_directory(AT_FDCWD, &directory[..end], 0o755) {
            Err(Errno::EEXIST) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Fails with EINVAL when the mount that `source` lies on cannot propagate as wanted: a container that asked for
/// propagation would silently get none, or one that goes one way only.
fn require_propagation(source: &std::ffi::CStr, wanted: Propagation) -> nix::Result<()> {
    let place = path::open(source, OFlag::O_PATH)?;
    let id = holdfast_kernel::sys::proc::mount_id(place.as_fd())?;
    let table = std::fs::read_to_string("/proc/self/mountinfo");
    let table = table.map_err(|error| holdfast_kernel::sys::errno_of(&error))?;
    let can = table.lines().any(|line| has_propagation(line, id, wanted));
    if can { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Whether a line of mountinfo (proc_pid_mountinfo(5)) is that of a mount from which a tree can propagate as wanted:
/// both ways from a shared mount, to the container also from a slave.
pub(super) fn has_propagation(line: &str, mount_id: u64, wanted: Propagation) -> bool {
    let mut fields = line.split(' ');
    let id = fields.next().and_then(|id| id.parse().ok());
    let mut optional = fields.skip(5).take_while(|field| *field != "-");
    id == Some(mount_id)
        && optional.any(|field| {
            field.starts_with("shared:")
                || field.starts_with("master:") && wanted == Propagation::Slave
        })
}
