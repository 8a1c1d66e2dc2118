//! Directories as open descriptors, below which files are named by one component.

use super::FileName;
use holdfast_kernel::fault;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock is waited for, and the time between two attempts.
const LOCK_DEADLINE: Duration = Duration::from_secs(1);
/// Between two attempts to take a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// An open directory of ours.
///
/// The path is kept for error texts and for handing to the kernel's mount calls; nothing here
/// resolves it again.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// Why an operation on a directory or a file in it failed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The kernel refused the operation.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The operation, as an infinitive.
        operation: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The error that the kernel gave.
        #[source]
        source: io::Error,
    },
    /// A deletion or a descent met a mount.
    #[error("{} is a mount point: unmount it, then try again", path.display())]
    MountPoint {
        /// The directory something is mounted on.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process: stop that one or use another directory", path.display())]
    Locked {
        /// The path of the lock file.
        path: PathBuf,
    },
    /// A file is larger than the reader allows.
    #[error("{} is larger than the limit of {limit} bytes", path.display())]
    TooLarge {
        /// The path of the file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl DirError {
    /// The kind of the kernel's error, when the kernel refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::MountPoint { .. } | Self::Locked { .. } | Self::TooLarge { .. } => None,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::AlreadyExists)
    }

    /// Whether the disk, or the file system on it, has lost what was there.
    pub fn is_corrupt(&self) -> bool {
        let lost = [Errno::EIO, Errno::EUCLEAN, Errno::EBADMSG];
        match self {
            Self::Io { source, .. } => lost
                .iter()
                .any(|errno| source.raw_os_error() == Some(*errno as i32)),
            Self::MountPoint { .. } | Self::Locked { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.io_kind(),
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    }
}

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory, whatever is in it.
    Directory,
    /// A regular file, which has content.
    File,
    /// A symbolic link, wherever it leads.
    Symlink,
    /// A device, a fifo or a socket.
    Other,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name within the directory.
    pub name: FileName,
    /// The type of the entry; links are not followed.
    pub kind: EntryKind,
}

/// A held `flock`; the kernel releases it when this is dropped or the process dies.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl Dir {
    /// Opens the directory at `path`, which comes from the configuration and is trusted: links in
    /// it are followed.
    pub fn open_root(path: &Path) -> Result<Self, DirError> {
        let fd = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path)
            .map_err(|source| DirError::Io {
                operation: "open directory",
                path: path.to_owned(),
                source,
            })?
            .into();
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Opens the directory at `path` after creating it, and its parents, when missing; a directory
    /// made here has mode 0700.
    pub fn create_root(path: &Path) -> Result<Self, DirError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| DirError::Io {
                operation: "create directory",
                path: path.to_owned(),
                source,
            })?;
        Self::open_root(path)
    }

    /// A directory from a descriptor that was opened beneath one of ours; `path` is for error texts.
    pub fn from_fd(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// The path this directory was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second descriptor of the same directory.
    pub fn try_clone(&self) -> Result<Self, DirError> {
        let fd = self
            .fd
            .try_clone()
            .map_err(|source| self.own_error("duplicate", source))?;
        Ok(Self {
            fd,
            path: self.path.clone(),
        })
    }

    /// Opens a sub-directory; refuses a symbolic link, but an operator may have mounted another disk
    /// on it.
    pub fn subdir(&self, name: &FileName) -> Result<Self, DirError> {
        let file = self.open_with(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, "open directory")?;
        Ok(Self {
            fd: file.into(),
            path: self.join(name),
        })
    }

    /// Opens a sub-directory after creating it with `mode` (less the umask) when it is missing.
    pub fn create_subdir(&self, name: &FileName, mode: u32) -> Result<Self, DirError> {
        let made = fault::step("disk.make-dir")
            .and_then(|_step| mkdirat(&self.fd, name.as_os_str(), Mode::from_bits_truncate(mode)));
        match made {
            Ok(()) | Err(Errno::EEXIST) => self.subdir(name),
            Err(e) => Err(self.error("create directory", name, e)),
        }
    }

    /// Creates a sub-directory that must not exist before and opens it.
    pub fn create_new_subdir(&self, name: &FileName, mode: u32) -> Result<Self, DirError> {
        fault::step("disk.make-dir")
            .and_then(|_step| mkdirat(&self.fd, name.as_os_str(), Mode::from_bits_truncate(mode)))
            .map_err(|e| self.error("create directory", name, e))?;
        self.subdir(name)
    }

    /// Whether something of that name exists; a dangling link counts.
    pub fn exists(&self, name: &FileName) -> Result<bool, DirError> {
        match fstatat(&self.fd, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(self.error("inspect", name, e)),
        }
    }

    /// The entries in no particular order, without `.`, `..` and interrupted replacements.
    pub fn entries(&self) -> Result<Vec<Entry>, DirError> {
        let mut entries = self.all_entries()?;
        entries.retain(|entry| !entry.name.is_temporary());
        Ok(entries)
    }

    /// The entries including the temporaries of interrupted replacements.
    pub(super) fn all_entries(&self) -> Result<Vec<Entry>, DirError> {
        let listing = open_listing(self.as_fd()).map_err(|e| self.own_error("list", e.into()))?;
        let mut entries = Vec::new();
        for item in listing {
            let item = item.map_err(|e| self.own_error("list", e.into()))?;
            let Ok(name) = FileName::any(OsStr::from_bytes(item.file_name().to_bytes())) else {
                continue;
            };
            let kind = match item.file_type() {
                Some(kind) => kind.into(),
                None => kind_at(self.as_fd(), name.as_os_str())
                    .map_err(|e| self.error("inspect", &name, e))?,
            };
            entries.push(Entry { name, kind });
        }
        Ok(entries)
    }

    /// Opens a file for reading; refuses a symbolic link, and does not wait for a fifo's writer.
    pub fn open_file(&self, name: &FileName) -> Result<File, DirError> {
        self.open_with(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, "open")
    }

    /// Creates a file that must not exist before, for writing, with mode 0600.
    pub fn create_file(&self, name: &FileName) -> Result<File, DirError> {
        let _step = fault::step("disk.create-file").map_err(|e| self.error("create", name, e))?;
        self.open_with(
            name,
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL,
            "create",
        )
    }

    /// The content of a file, if there is such a file; more than `limit` bytes are an error.
    pub fn read_file(&self, name: &FileName, limit: usize) -> Result<Option<Vec<u8>>, DirError> {
        let file = match self.open_file(name) {
            Ok(file) => file,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| DirError::Io {
                operation: "read",
                path: self.join(name),
                source,
            })?;
        if bytes.len() > limit {
            return Err(DirError::TooLarge {
                path: self.join(name),
                limit,
            });
        }
        Ok(Some(bytes))
    }

    /// Takes the lock of that name, creating its file when missing; waits a second at most.
    ///
    /// One daemon per root: a second one gets [`DirError::Locked`]. A process that was killed may live on in a
    /// child between its fork and its exec, and so may its lock, for a moment.
    pub fn lock(&self, name: &FileName) -> Result<LockFile, DirError> {
        let file = self.open_with(name, OFlag::O_RDWR | OFlag::O_CREAT, "open lock file")?;
        let end = Instant::now() + LOCK_DEADLINE;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => break other,
            }
        };
        match locked {
            Ok(()) => Ok(LockFile { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DirError::Locked {
                path: self.join(name),
            }),
            Err(TryLockError::Error(source)) => Err(DirError::Io {
                operation: "lock",
                path: self.join(name),
                source,
            }),
        }
    }

    /// Renames `from` in this directory to `to` in `target`; replaces nothing that exists.
    pub fn rename_into(
        &self,
        from: &FileName,
        target: &Dir,
        to: &FileName,
    ) -> Result<(), DirError> {
        use nix::fcntl::{RenameFlags, renameat2};
        let _step =
            fault::step("disk.rename").map_err(|e| target.error("rename into place", to, e))?;
        renameat2(
            &self.fd,
            from.as_os_str(),
            &target.fd,
            to.as_os_str(),
            RenameFlags::RENAME_NOREPLACE,
        )
        .map_err(|e| target.error("rename into place", to, e))
    }

    /// Makes the names in this directory durable.
    pub fn sync(&self) -> Result<(), DirError> {
        fault::step("disk.sync")
            .and_then(|_step| nix::unistd::fsync(&self.fd))
            .map_err(|e| self.own_error("sync directory", e.into()))
    }

    /// Makes everything written to this directory's file system durable (`syncfs`).
    pub fn sync_filesystem(&self) -> Result<(), DirError> {
        fault::step("disk.sync-file-system")
            .and_then(|_step| nix::unistd::syncfs(&self.fd))
            .map_err(|e| self.own_error("sync file system of", e.into()))
    }

    /// The path of a file in this directory, for error texts and mount calls.
    pub fn join(&self, name: &FileName) -> PathBuf {
        self.path.join(name.as_os_str())
    }

    /// The error of an operation on an entry of this directory.
    pub(super) fn error(&self, operation: &'static str, name: &FileName, errno: Errno) -> DirError {
        DirError::Io {
            operation,
            path: self.join(name),
            source: errno.into(),
        }
    }

    /// The error of an operation on this directory itself.
    pub(super) fn own_error(&self, operation: &'static str, source: io::Error) -> DirError {
        DirError::Io {
            operation,
            path: self.path.clone(),
            source,
        }
    }

    fn open_with(
        &self,
        name: &FileName,
        flags: OFlag,
        operation: &'static str,
    ) -> Result<File, DirError> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(if flags.contains(OFlag::O_CREAT) {
                Mode::S_IRUSR | Mode::S_IWUSR
            } else {
                Mode::empty()
            })
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&self.fd, name.as_os_str(), how)
            .map(File::from)
            .map_err(|e| self.error(operation, name, e))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<nix::dir::Type> for EntryKind {
    fn from(kind: nix::dir::Type) -> Self {
        use nix::dir::Type;
        match kind {
            Type::Directory => Self::Directory,
            Type::File => Self::File,
            Type::Symlink => Self::Symlink,
            Type::Fifo | Type::CharacterDevice | Type::BlockDevice | Type::Socket => Self::Other,
        }
    }
}

/// Opens a sub-directory without following a link; `EXDEV` when something is mounted on it.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(parent, name, how)
}

/// Opens a directory a second time, so that reading it has a position of its own.
pub(super) fn open_listing(dir: BorrowedFd<'_>) -> Result<nix::dir::OwningIter, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::dir::Dir::openat(dir, ".", flags, Mode::empty())?.into_iter())
}

/// Reads the type of `name`, for file systems whose listing does not have it.
pub(super) fn kind_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<EntryKind, Errno> {
    use nix::sys::stat::SFlag;
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(if kind == SFlag::S_IFDIR {
        EntryKind::Directory
    } else if kind == SFlag::S_IFREG {
        EntryKind::File
    } else if kind == SFlag::S_IFLNK {
        EntryKind::Symlink
    } else {
        EntryKind::Other
    })
}
