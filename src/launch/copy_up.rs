//! The content that a new file system starts with: OCI's `tmpcopyup`.
//!
//! It walks directories, so it allocates; the module's header says why a child may.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};

use holdfast_kernel::sys::descriptor;
use holdfast_kernel::sys::path::{self, Links, Node};

/// Directories within directories that are copied; deeper ones are an error.
const MAX_DEPTH: usize = 64;

/// Bytes copied at once.
const BLOCK: usize = 16 * 1024;

/// Copies everything below `from` (O_PATH) into the empty file system `to`: files, directories, links and
/// nodes with their owners and modes. Extended attributes and hard links are not kept.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    let from = open(from, c".", OFlag::O_DIRECTORY)?;
    let to = open(to, c".", OFlag::O_DIRECTORY)?;
    set_same(&fstat(&from)?, to.as_fd())?;
    copy_directory(from, to.as_fd(), MAX_DEPTH)
}

fn open(parent: BorrowedFd<'_>, name: &std::ffi::CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    path::open_in_root(
        parent,
        name,
        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | flags,
        Links::Refuse,
    )
}

fn copy_directory(from: OwnedFd, to: BorrowedFd<'_>, depth: usize) -> nix::Result<()> {
    if depth == 0 {
        return Err(Errno::ELOOP);
    }
    let mut directory = Dir::from_fd(from)?;
    let entries: Vec<_> = directory.iter().collect::<nix::Result<_>>()?;
    for entry in entries {
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(directory.as_fd(), to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    depth: usize,
) -> nix::Result<()> {
    let place = path::open_at(from, name, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    let status = fstat(&place)?;
    match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => {
            path::make_directory(to, name, 0o700)?;
            let made = open(to, name, OFlag::O_DIRECTORY)?;
            copy_directory(
                open(from, name, OFlag::O_DIRECTORY)?,
                made.as_fd(),
                depth - 1,
            )?;
            set_same(&status, made.as_fd())
        }
        SFlag::S_IFREG => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let made = path::open_at(to, name, flags)?;
            copy_bytes(&open(from, name, OFlag::empty())?, &made)?;
            set_same(&status, made.as_fd())
        }
        SFlag::S_IFLNK => {
            let mut text = [0; libc::PATH_MAX as usize];
            let text = path::read_link(from, name.to_bytes(), &mut text)?;
            path::make_link(text, to, name)?;
            path::set_owner(to, name, status.st_uid, status.st_gid)
        }
        kind => {
            let (major, minor) = path::numbers(status.st_rdev);
            let node = Node {
                kind: kind.bits(),
                major,
                minor,
            };
            path::make_node(to, name, node, status.st_mode & 0o7777)?;
            path::set_owner(to, name, status.st_uid, status.st_gid)
        }
    }
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd) -> nix::Result<()> {
    let mut block = [0; BLOCK];
    loop {
        let length = descriptor::read(from.as_fd(), &mut block)?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = &block[..length];
        while !rest.is_empty() {
            rest = &rest[descriptor::write(to.as_fd(), rest)?..];
        }
    }
}

/// Owner first: changing it clears the set-user-id bit.
fn set_same(status: &FileStat, to: BorrowedFd<'_>) -> nix::Result<()> {
    path::set_own(to, status.st_uid, status.st_gid)?;
    path::set_own_mode(to, status.st_mode & 0o7777)
}
