//! Mounts by descriptor: open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2),
//! pivot_root(2). A detached tree is in no mount namespace and vanishes with its last descriptor.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::take_descriptor;

/// How far a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// This mount without those below it.
    Single,
    /// This mount and all below.
    Recursive,
}

impl Depth {
    fn flag(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Recursive => libc::AT_RECURSIVE.cast_unsigned(),
        }
    }
}

/// The types of propagation of mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither sends nor receives.
    Private,
    /// Receives mounts from its master.
    Slave,
    /// Sends mounts to its peers and receives theirs.
    Shared,
}

/// Clones a mount, or the tree below it, as a detached tree. An empty path means `directory` itself.
/// Symbolic links are followed.
///
/// # Errors
/// The errors of open_tree(2), Linux 5.2. EINVAL when the mount is in another mount namespace.
pub fn clone_tree(directory: BorrowedFd<'_>, path: &CStr, depth: Depth) -> nix::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | depth.flag();
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH.cast_unsigned();
    }
    // SAFETY: the path is a C string that outlives the call; the rest are integers.
    take_descriptor(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
        )
    })
}

/// Attaches a detached tree on the directory or file that `target` is.
///
/// # Errors
/// The errors of move_mount(2), Linux 5.2. ENOTDIR when one is a directory and the other is not.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are a static C string; the rest are integers.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            empty,
            target.as_raw_fd(),
            empty,
            flags,
        )
    })
    .map(drop)
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct NewFileSystem(OwnedFd);

impl NewFileSystem {
    /// Starts the configuration of a file system of this type.
    ///
    /// # Errors
    /// The errors of fsopen(2), Linux 5.2. ENODEV when the kernel does not know the type.
    pub fn open(fs_type: &CStr) -> nix::Result<Self> {
        // SAFETY: the name is a C string that outlives the call.
        take_descriptor(unsafe {
            libc::syscall(libc::SYS_fsopen, fs_type.as_ptr(), libc::FSOPEN_CLOEXEC)
        })
        .map(Self)
    }

    fn configure(&self, command: u32, key: Option<&CStr>, value: Option<&CStr>) -> nix::Result<()> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: key and value are null, as the command allows, or C strings that outlive the call.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.as_raw_fd(),
                command,
                pointer(key),
                pointer(value),
                0,
            )
        })
        .map(drop)
    }

    /// Sets an option with a value (at most 255 bytes).
    ///
    /// # Errors
    /// The errors of fsconfig(2). EINVAL when the file system does not know the option or its value.
    pub fn set(&self, key: &CStr, value: &CStr) -> nix::Result<()> {
        self.configure(libc::FSCONFIG_SET_STRING, Some(key), Some(value))
    }

    /// Sets an option without a value.
    ///
    /// # Errors
    /// The errors of [`Self::set`].
    pub fn set_flag(&self, key: &CStr) -> nix::Result<()> {
        self.configure(libc::FSCONFIG_SET_FLAG, Some(key), None)
    }

    /// Makes the file system and a detached mount of it with these `MOUNT_ATTR_*`.
    ///
    /// # Errors
    /// The errors of fsconfig(2) and fsmount(2).
    pub fn mount(self, attributes: u64) -> nix::Result<OwnedFd> {
        self.configure(libc::FSCONFIG_CMD_CREATE, None, None)?;
        // SAFETY: three integers, no memory.
        take_descriptor(unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                self.0.as_raw_fd(),
                libc::FSMOUNT_CLOEXEC,
                attributes,
            )
        })
    }
}

fn set_mount(tree: BorrowedFd<'_>, depth: Depth, change: libc::mount_attr) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | depth.flag();
    // SAFETY: the path is a static C string and `change` lives until the call returns, with its true size.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

const NO_CHANGE: libc::mount_attr = libc::mount_attr {
    attr_set: 0,
    attr_clr: 0,
    propagation: 0,
    userns_fd: 0,
};

/// Sets `MOUNT_ATTR_*` of a mount. Those that it has stay, but an access time mode replaces another.
///
/// # Errors
/// The errors of mount_setattr(2), Linux 5.12. EPERM for a locked flag.
pub fn set_attributes(tree: BorrowedFd<'_>, attributes: u64, depth: Depth) -> nix::Result<()> {
    let time_modes = attributes & libc::MOUNT_ATTR__ATIME;
    let change = libc::mount_attr {
        attr_set: attributes,
        attr_clr: if time_modes == 0 {
            0
        } else {
            libc::MOUNT_ATTR__ATIME
        },
        ..NO_CHANGE
    };
    set_mount(tree, depth, change)
}

/// Sets how mount events spread.
///
/// # Errors
/// The errors of mount_setattr(2).
pub fn set_propagation(
    tree: BorrowedFd<'_>,
    propagation: Propagation,
    depth: Depth,
) -> nix::Result<()> {
    let flag = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    set_mount(
        tree,
        depth,
        libc::mount_attr {
            propagation: flag,
            ..NO_CHANGE
        },
    )
}

/// Maps the owners of a detached tree's files as the user namespace says.
///
/// # Errors
/// The errors of mount_setattr(2). EINVAL when the file system cannot do it.
pub fn set_id_map(
    tree: BorrowedFd<'_>,
    user_namespace: BorrowedFd<'_>,
    depth: Depth,
) -> nix::Result<()> {
    let change = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
        ..NO_CHANGE
    };
    set_mount(tree, depth, change)
}

/// Makes all mounts of this mount namespace private.
///
/// # Errors
/// The errors of mount(2).
pub fn make_all_private() -> nix::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&CStr>, c"/", None::<&CStr>, flags, None::<&CStr>)
}

/// Mounts an overlay with options in one page of text: the road of kernels before 6.8, whose fsconfig(2)
/// takes no list of layers. A page holds the names of some 180 layers.
///
/// # Errors
/// The errors of mount(2). E2BIG when the text is longer than the smallest page, which mount(2) would cut off.
pub fn mount_overlay(target: &CStr, options: &CStr) -> nix::Result<()> {
    const PAGE: usize = 4096;
    if options.to_bytes_with_nul().len() > PAGE {
        return Err(Errno::E2BIG);
    }
    mount(
        Some(c"overlay"),
        target,
        Some(c"overlay"),
        MsFlags::empty(),
        Some(options),
    )
}

/// Makes the present directory, which must be a mount's root, the root of this mount namespace, and lets go
/// of the old root, which pivot_root(2) with two equal arguments has put on top of it.
///
/// # Errors
/// The errors of pivot_root(2) and umount2(2).
pub fn pivot_here() -> nix::Result<()> {
    nix::unistd::pivot_root(c".", c".")?;
    umount2(c".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir(c"/")
}
