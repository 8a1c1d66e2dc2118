//! Paths of a container that are hidden or made read-only.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::device;
use super::report::Reporter;
use super::target;
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::path::{self, Links};
use holdfast_wire::Step;
use holdfast_wire::plan::{ContainerPlan, Mount, MountSource};

/// The empty file that hides others where a volume stands for the null device. Its name is gone before the program
/// runs.
const EMPTY: &CStr = c"/dev/.empty";

/// The files that are mounted over hidden paths. They are made when the first path needs them.
struct Covers<'a> {
    root: BorrowedFd<'a>,
    /// /dev is the container's own, and a volume stands for its null device.
    no_null: bool,
    /// The empty file is there.
    made: bool,
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

/// Hides files behind the null device and directories behind an empty read-only directory.
pub(super) fn mask(
    root: BorrowedFd<'_>,
    plan: &ContainerPlan,
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    let own = |mount: &Mount| {
        mount.target.as_c_str() == c"/dev" && matches!(mount.source, MountSource::New { .. })
    };
    let mut covers = Covers {
        root,
        no_null: plan.mounts.iter().any(own) && device::is_mounted_over(plan, c"/dev/null"),
        made: false,
        null: None,
        empty: None,
    };
    for (index, masked) in plan.masked_paths.iter().enumerate() {
        reporter.at(Step::MaskedPath, index);
        let Some(place) = open_present(root, masked)? else {
            continue;
        };
        if path::is_directory(place.as_fd())? {
            covers.hide_directory(place.as_fd())?;
        } else {
            covers.hide_file(place.as_fd())?;
        }
    }
    if covers.made {
        let (parent, name) = covers.place_of_empty()?;
        path::remove(parent.as_fd(), name)?;
    }
    Ok(())
}

impl Covers<'_> {
    fn hide_file(&mut self, place: BorrowedFd<'_>) -> nix::Result<()> {
        if self.null.is_none() {
            self.null = Some(self.open_null()?);
        }
        let null = self.null.as_ref().ok_or(Errno::ENXIO)?;
        let cover = mount::clone_tree(null.as_fd(), c"", Depth::Single)?;
        if self.made {
            mount::set_attributes(cover.as_fd(), libc::MOUNT_ATTR_RDONLY, Depth::Single)?;
        }
        mount::attach(cover.as_fd(), place)
    }

    /// The null device, or the empty file where it has no place.
    fn open_null(&mut self) -> nix::Result<OwnedFd> {
        let null = path::open_in_root(self.root, c"/dev/null", OFlag::O_PATH, Links::Refuse)?;
        if path::is_null_device(null.as_fd())? {
            return Ok(null);
        }
        // An image or a volume may have put something else there.
        if !self.no_null {
            return Err(Errno::ENXIO);
        }
        let (parent, name) = self.place_of_empty()?;
        path::make_file(parent.as_fd(), name)?;
        self.made = true;
        path::open_at(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW)
    }

    fn place_of_empty(&self) -> nix::Result<(OwnedFd, &'static [u8])> {
        let (parent, name) = target::split(EMPTY.to_bytes());
        let parent = path::open_in_root(self.root, parent, OFlag::O_PATH, Links::Refuse)?;
        Ok((parent, name))
    }

    fn hide_directory(&mut self, place: BorrowedFd<'_>) -> nix::Result<()> {
        if let Some(empty) = &self.empty {
            let cover = mount::clone_tree(empty.as_fd(), c"", Depth::Single)?;
            return mount::attach(cover.as_fd(), place);
        }
        let file_system = NewFileSystem::open(c"tmpfs")?;
        file_system.set(c"mode", c"0755")?;
        let cover = file_system.mount(libc::MOUNT_ATTR_RDONLY)?;
        mount::attach(cover.as_fd(), place)?;
        // Attached, it can be cloned for further directories.
        self.empty = Some(cover);
        Ok(())
    }
}

/// Makes paths read-only, with the mounts below them; one that ends in `/.` is a mount alone.
pub(super) fn protect(
    root: BorrowedFd<'_>,
    paths: &[CString],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    for (index, protected) in paths.iter().enumerate() {
        reporter.at(Step::ReadonlyPath, index);
        let Some(place) = open_present(root, protected)? else {
            continue;
        };
        if protected.to_bytes().ends_with(b"/.") {
            mount::set_attributes(place.as_fd(), libc::MOUNT_ATTR_RDONLY, Depth::Single)?;
            continue;
        }
        let tree = mount::clone_tree(place.as_fd(), c"", Depth::Recursive)?;
        mount::set_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, Depth::Recursive)?;
        mount::attach(tree.as_fd(), place.as_fd())?;
    }
    Ok(())
}

/// Opens a path of the root; `None` when it does not exist.
fn open_present(root: BorrowedFd<'_>, place: &CString) -> nix::Result<Option<OwnedFd>> {
    match path::open_in_root(root, place.as_c_str(), OFlag::O_PATH, Links::InRoot) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => other.map(Some),
    }
}
