//! Atomic replacement of a file's content.

use super::name::TEMPORARY_PREFIX;
use super::{Dir, DirError, FileName};
use holdfast_kernel::fault;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// The events that a replacement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process, not a power failure: for records on a tmpfs.
    Volatile,
    /// A power failure too: the file and the directory are synced before the call returns.
    Synced,
}

/// Distinguishes the temporaries of one process.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Dir {
    /// Replaces the content of `name` by `bytes` in one step, creating it with mode 0600.
    ///
    /// Whoever reads the file, or is killed at any instant, sees the old content or the new one.
    pub fn replace(
        &self,
        name: &FileName,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<(), DirError> {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY_PREFIX}{}.{sequence}", std::process::id());
        let written = self
            .write_temporary(&temporary, bytes, durability)
            .and_then(|()| {
                let _step = fault::step("disk.replace")?;
                renameat(
                    self.as_fd(),
                    temporary.as_str(),
                    self.as_fd(),
                    name.as_os_str(),
                )
                .map_err(std::io::Error::from)
            });
        if let Err(source) = written {
            // What cannot be deleted now is swept at the next start; the first error is the one to tell.
            let _ = unlinkat(self.as_fd(), temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(DirError::Io {
                operation: "replace",
                path: self.join(name),
                source,
            });
        }
        match durability {
            Durability::Volatile => Ok(()),
            Durability::Synced => self.sync(),
        }
    }

    /// Deletes what interrupted replacements left in this directory and says how many there were.
    ///
    /// To be called by the owner of the directory at start, before anybody replaces in it.
    pub fn sweep_temporaries(&self) -> Result<usize, DirError> {
        let mut swept = 0;
        for entry in self.all_entries()? {
            if entry.name.is_temporary() {
                self.remove_file(&entry.name)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn write_temporary(
        &self,
        temporary: &str,
        bytes: &[u8],
        durability: Durability,
    ) -> std::io::Result<()> {
        let _step = fault::step("disk.write")?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd = match openat(self.as_fd(), temporary, flags, mode) {
            // An earlier process of the same id was interrupted with the same sequence number.
            Err(Errno::EEXIST) => {
                unlinkat(self.as_fd(), temporary, UnlinkatFlags::NoRemoveDir)?;
                openat(self.as_fd(), temporary, flags, mode)?
            }
            other => other?,
        };
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        match durability {
            Durability::Volatile => Ok(()),
            Durability::Synced => file.sync_all(),
        }
    }
}
