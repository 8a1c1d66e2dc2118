//! Files relative to a directory descriptor: openat2(2), mkdirat(2), mknodat(2) and their like.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mkdirat, mknodat};
use nix::unistd::{Gid, Uid};

/// Which symbolic links a resolution follows. Magic links (proc(5)) never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Follows links that stay inside the root; absolute links start there.
    InRoot,
    /// Symbolic links are an error.
    Refuse,
}

/// Opens a path inside a root: no `..`, symbolic link or race leads outside.
///
/// # Errors
/// The errors of openat2(2), Linux 5.6. ELOOP for a link that is not followed.
pub fn open_in_root<P: NixPath + ?Sized>(
    root: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
    links: Links,
) -> nix::Result<OwnedFd> {
    let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    let mode = if flags.contains(OFlag::O_CREAT) {
        0o644
    } else {
        0
    };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(Mode::from_bits_retain(mode))
        .resolve(resolve);
    open_how(root, path, how)
}

/// Opens a path by openat2(2). EAGAIN means that a rename raced with `..`, and the manual asks to try again.
fn open_how<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    path: &P,
    how: OpenHow,
) -> nix::Result<OwnedFd> {
    loop {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Opens a path that may leave `directory` in no way at all, not even by symbolic links: for sysctls.
///
/// # Errors
/// The errors of openat2(2). EXDEV for a path that leads outside.
pub fn open_beneath<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve);
    open_how(directory, path, how)
}

/// Opens a path of the present mount namespace, relative to the present directory, with all links.
///
/// # Errors
/// The errors of open(2).
pub fn open<P: NixPath + ?Sized>(path: &P, flags: OFlag) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens a name in a directory.
///
/// # Errors
/// The errors of openat(2).
pub fn open_at<P: NixPath + ?Sized>(
    directory: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    nix::fcntl::openat(
        directory,
        name,
        flags | OFlag::O_CLOEXEC,
        Mode::from_bits_retain(0o600),
    )
}

/// Makes a directory.
///
/// # Errors
/// The errors of mkdirat(2).
pub fn make_directory<P: NixPath + ?Sized>(
    parent: BorrowedFd<'_>,
    name: &P,
    mode: u32,
) -> nix::Result<()> {
    mkdirat(parent, name, Mode::from_bits_truncate(mode))
}

/// Makes an empty regular file; it must not exist.
///
/// # Errors
/// The errors of mknodat(2). EEXIST also for a symbolic link that leads nowhere.
pub fn make_file<P: NixPath + ?Sized>(parent: BorrowedFd<'_>, name: &P) -> nix::Result<()> {
    mknodat(
        parent,
        name,
        SFlag::S_IFREG,
        Mode::from_bits_truncate(0o644),
        0,
    )
}

/// Kind and number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// The major number of the device.
    pub major: u32,
    /// The minor number of the device.
    pub minor: u32,
}

/// Makes a device node or a fifo.
///
/// # Errors
/// The errors of mknodat(2). EPERM in a user namespace that is not the first.
pub fn make_node<P: NixPath + ?Sized>(
    parent: BorrowedFd<'_>,
    name: &P,
    node: Node,
    mode: u32,
) -> nix::Result<()> {
    let number = makedev(u64::from(node.major), u64::from(node.minor));
    let kind = SFlag::from_bits_truncate(node.kind);
    mknodat(parent, name, kind, Mode::from_bits_truncate(mode), number)
}

/// Sets the permission bits of an entry that is not a symbolic link.
///
/// # Errors
/// The errors of fchmodat(2).
pub fn set_mode<P: NixPath + ?Sized>(
    parent: BorrowedFd<'_>,
    name: &P,
    mode: u32,
) -> nix::Result<()> {
    let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
    nix::sys::stat::fchmodat(parent, name, Mode::from_bits_truncate(mode), follow)
}

/// Sets the owner of an entry itself, not of what it links to.
///
/// # Errors
/// The errors of fchownat(2).
pub fn set_owner<P: NixPath + ?Sized>(
    parent: BorrowedFd<'_>,
    name: &P,
    uid: u32,
    gid: u32,
) -> nix::Result<()> {
    nix::unistd::fchownat(
        parent,
        name,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
}

/// Gives an open file to a user; its group stays.
///
/// # Errors
/// The errors of fchown(2).
pub fn give_to_user(file: BorrowedFd<'_>, uid: u32) -> nix::Result<()> {
    nix::unistd::fchown(file, Some(Uid::from_raw(uid)), None)
}

/// Makes a symbolic link.
///
/// # Errors
/// The errors of symlinkat(2).
pub fn make_link<T: NixPath + ?Sized, P: NixPath + ?Sized>(
    text: &T,
    parent: BorrowedFd<'_>,
    name: &P,
) -> nix::Result<()> {
    nix::unistd::symlinkat(text, parent, name)
}

/// Removes an entry that is not a directory.
///
/// # Errors
/// The errors of unlinkat(2).
pub fn remove<P: NixPath + ?Sized>(parent: BorrowedFd<'_>, name: &P) -> nix::Result<()> {
    nix::unistd::unlinkat(parent, name, nix::unistd::UnlinkatFlags::NoRemoveDir)
}

/// Removes an empty directory.
///
/// # Errors
/// The errors of unlinkat(2): ENOTEMPTY, and EBUSY for a cgroup with processes.
pub fn remove_directory<P: NixPath + ?Sized>(parent: BorrowedFd<'_>, name: &P) -> nix::Result<()> {
    nix::unistd::unlinkat(parent, name, nix::unistd::UnlinkatFlags::RemoveDir)
}

/// Reads a symbolic link's text into a buffer; longer texts are cut at its end.
///
/// # Errors
/// The errors of readlinkat(2): EINVAL when the entry is not a symbolic link.
pub fn read_link<'b>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    buffer: &'b mut [u8],
) -> nix::Result<&'b [u8]> {
    use std::os::fd::AsRawFd;
    let length = name.with_nix_path(|path| {
        // SAFETY: the path is a C string and the buffer is exclusively borrowed with its true length.
        let length = unsafe {
            libc::readlinkat(
                parent.as_raw_fd(),
                path.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        Errno::result(length)
    })??;
    Ok(&buffer[..length.cast_unsigned()])
}

/// Whether a file belongs to a procfs: proc(5).
///
/// # Errors
/// The errors of fstatfs(2).
pub fn is_on_procfs(file: BorrowedFd<'_>) -> nix::Result<bool> {
    Ok(nix::sys::statfs::fstatfs(file)?.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC)
}

/// Whether an open file (also O_PATH) is a directory.
///
/// # Errors
/// The errors of fstat(2).
pub fn is_directory(file: BorrowedFd<'_>) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(file)?.st_mode & SFlag::S_IFMT.bits());
    Ok(kind == SFlag::S_IFDIR)
}

/// Whether an open file (also O_PATH) is the kernel's null device: character device 1:3.
///
/// # Errors
/// The errors of fstat(2).
pub fn is_null_device(file: BorrowedFd<'_>) -> nix::Result<bool> {
    let status = fstat(file.as_fd())?;
    let kind = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
    Ok(kind == SFlag::S_IFCHR && status.st_rdev == makedev(1, 3))
}

/// Makes the directory that `directory` is the present one.
///
/// # Errors
/// The errors of fchdir(2).
pub fn enter(directory: BorrowedFd<'_>) -> nix::Result<()> {
    nix::unistd::fchdir(directory)
}

/// Whether the present directory can be reached from the present root: getcwd(2) marks one that cannot.
/// A directory outside the root is one that a descriptor of the host leads to.
pub fn inside_root() -> bool {
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is exclusively borrowed with its true length; the raw call writes a C string.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    result > 0 && buffer[0] == b'/'
}

/// Whether an open file (also O_PATH) is this device node or fifo.
///
/// # Errors
/// The errors of fstat(2).
pub fn is_node(file: BorrowedFd<'_>, node: Node) -> nix::Result<bool> {
    let status = fstat(file)?;
    let number = makedev(u64::from(node.major), u64::from(node.minor));
    Ok(status.st_mode & SFlag::S_IFMT.bits() == node.kind && status.st_rdev == number)
}

/// Sets the owner of an open file.
///
/// # Errors
/// The errors of fchown(2).
pub fn set_own(file: BorrowedFd<'_>, uid: u32, gid: u32) -> nix::Result<()> {
    nix::unistd::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Sets the permission bits of an open file.
///
/// # Errors
/// The errors of fchmod(2).
pub fn set_own_mode(file: BorrowedFd<'_>, mode: u32) -> nix::Result<()> {
    nix::sys::stat::fchmod(file, Mode::from_bits_truncate(mode))
}

/// Major and minor number of a device.
pub fn numbers(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}
