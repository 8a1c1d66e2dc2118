//! Images as volumes: their layers as detached, read-only trees.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use super::report::Reporter;
use super::rootfs::ROOT_PLACE;
use super::tree::set_attributes;
use holdfast_kernel::sys::mount::{self, Depth, NewFileSystem};
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::path::{self, Links};
use holdfast_wire::Step;
use holdfast_wire::plan::{Mount, MountSource};

/// The options of a mount's overlay as one text, for kernels that take no list of layers.
pub(super) fn options_page(mount: &Mount) -> CString {
    let MountSource::Image { lower, .. } = &mount.source else {
        return CString::default();
    };
    let layers: Vec<&[u8]> = lower.iter().map(|layer| layer.to_bytes()).collect();
    // Parts of C strings hold no zero byte.
    CString::new([b"lowerdir=", layers.join(&b':').as_slice()].concat()).unwrap_or_default()
}

/// Opens the trees of all mounts that are images. Their owners are mapped where the store's are. A tree is
/// attached for a moment when a part of it is wanted, in a mount namespace that this process makes for it
/// and leaves for the container's own.
pub(super) fn open_all(
    mounts: &[Mount],
    pages: &[CString],
    trees: &mut [Option<OwnedFd>],
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    let mut own = false;
    for (index, (mount, tree)) in mounts.iter().zip(trees).enumerate() {
        let MountSource::Image { lower, sub_path } = &mount.source else {
            continue;
        };
        reporter.at(Step::HostPath, index);
        if !own {
            namespace::unshare(CloneFlags::CLONE_NEWNS)?;
            own = true;
        }
        let page = pages.get(index).ok_or(Errno::EINVAL)?;
        let whole = open(lower, page)?;
        let opened = if sub_path.is_empty() {
            whole
        } else {
            open_part(whole, sub_path)?
        };
        set_attributes(opened.as_fd(), mount)?;
        *tree = Some(opened);
    }
    Ok(())
}

fn open(lower: &[CString], page: &CStr) -> nix::Result<OwnedFd> {
    match lower {
        [] => NewFileSystem::open(c"tmpfs")?.mount(0),
        // An overlay that nobody writes to takes two layers at least.
        [layer] => mount::clone_tree(AT_FDCWD, layer, Depth::Single),
        _ => match list_layers(lower) {
            // Before Linux 6.8 the option `lowerdir+` does not exist.
            Err(Errno::EINVAL) => {
                mount::mount_overlay(ROOT_PLACE, page)?;
                mount::clone_tree(AT_FDCWD, ROOT_PLACE, Depth::Single)
            }
            other => other,
        },
    }
}

fn list_layers(lower: &[CString]) -> nix::Result<OwnedFd> {
    let overlay = NewFileSystem::open(c"overlay")?;
    overlay.set(c"source", c"overlay")?;
    for layer in lower {
        overlay.set(c"lowerdir+", layer)?;
    }
    overlay.mount(libc::MOUNT_ATTR_RDONLY)
}

/// A directory of an image: no link or `..` in the image leads out of it.
fn open_part(whole: OwnedFd, sub_path: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let place = path::open(ROOT_PLACE, flags)?;
    // Before Linux 6.15 only an attached mount can be cloned.
    mount::attach(whole.as_fd(), place.as_fd())?;
    let part = path::open_in_root(whole.as_fd(), sub_path, flags, Links::InRoot)?;
    mount::clone_tree(part.as_fd(), c"", Depth::Single)
}
