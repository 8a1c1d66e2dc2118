//! Places in a container's root: resolved inside it, made when they are missing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use holdfast_kernel::sys::path::{self, Links};

/// The type of mount point that is made when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Most symbolic links to nowhere that are followed on the way to one target.
const MAX_DANGLING: usize = 8;

/// Opens a place (O_PATH). What is missing is made, also behind symbolic links that lead to nothing yet:
/// images have /etc/resolv.conf point to a file that only a booted system has.
pub(super) fn ensure(root: BorrowedFd<'_>, target: &[u8], kind: Kind) -> nix::Result<OwnedFd> {
    ensure_within(root, target, kind, MAX_DANGLING)
}

fn ensure_within(
    root: BorrowedFd<'_>,
    target: &[u8],
    kind: Kind,
    links: usize,
) -> nix::Result<OwnedFd> {
    match path::open_in_root(root, target, OFlag::O_PATH, Links::InRoot) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    if links == 0 {
        return Err(Errno::ELOOP);
    }
    let (parent_path, name) = split(target);
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    let parent = ensure_within(root, parent_path, Kind::Directory, links)?;
    let made = match kind {
        Kind::Directory => path::make_directory(parent.as_fd(), name, 0o755),
        Kind::File => path::make_file(parent.as_fd(), name),
    };
    match made {
        Err(Errno::EEXIST) => follow(parent_path, &parent, name)
            .and_then(|place| ensure_within(root, place.bytes(), kind, links - 1)),
        Err(errno) => Err(errno),
        Ok(()) => path::open_at(parent.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW),
    }
}

/// A path in a buffer of its own, because a child must not allocate.
struct PathBuffer {
    buffer: [u8; libc::PATH_MAX as usize],
    length: usize,
}

impl PathBuffer {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn push(&mut self, part: &[u8]) -> nix::Result<()> {
        let end = self.length + part.len();
        let room = self
            .buffer
            .get_mut(self.length..end)
            .ok_or(Errno::ENAMETOOLONG)?;
        room.copy_from_slice(part);
        self.length = end;
        Ok(())
    }
}

/// Where a symbolic link in `parent` leads, as a path of the root.
fn follow(parent_path: &[u8], parent: &OwnedFd, name: &[u8]) -> nix::Result<PathBuffer> {
    let mut text = [0; libc::PATH_MAX as usize];
    let text = path::read_link(parent.as_fd(), name, &mut text)?;
    let mut place = PathBuffer {
        buffer: [0; libc::PATH_MAX as usize],
        length: 0,
    };
    if !text.starts_with(b"/") {
        place.push(parent_path)?;
        place.push(b"/")?;
    }
    place.push(text)?;
    Ok(place)
}

/// Splits a path into its directory (the root for a single name) and its last name.
pub(super) fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(0, |last| last + 1);
    let target = &target[..end];
    match target.iter().rposition(|byte| *byte == b'/') {
        None => (b"/", target),
        Some(0) => (b"/", &target[1..]),
        Some(slash) => (&target[..slash], &target[slash + 1..]),
    }
}
