//! Files that are written and synced aside, and take their places later, all at once.

use super::name::TEMPORARY_PREFIX;
use super::{Dir, DirError, FileName};
use holdfast_kernel::fault;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Files in one batch from which on one sync of the file system is cheaper than one of each file.
const SYNCFS_THRESHOLD: usize = 8;

/// A file that is written beside the one that it is to replace. Dropped, it is deleted.
///
/// Between [`Dir::draft`] and [`Draft::publish`] its owner may still find that nobody wants it.
#[derive(Debug)]
pub struct Draft<'a> {
    dir: &'a Dir,
    temporary: String,
    name: FileName,
    file: File,
    published: bool,
}

impl Dir {
    /// Writes what is to become the content of `name`. One draft of a name at a time.
    ///
    /// # Errors
    /// [`DirError::Io`]; nothing is left then.
    pub fn draft<'a>(&'a self, name: &FileName, bytes: &[u8]) -> Result<Draft<'a>, DirError> {
        let failed = |errno: Errno| self.error("draft", name, errno);
        let _step = fault::step("disk.draft").map_err(failed)?;
        let temporary = format!("{TEMPORARY_PREFIX}draft.{name}");
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd = openat(self.as_fd(), temporary.as_str(), flags, mode).map_err(failed)?;
        let mut draft = Draft {
            dir: self,
            temporary,
            name: name.clone(),
            file: File::from(fd),
            published: false,
        };
        draft
            .file
            .write_all(bytes)
            .map_err(|source| draft.failed("draft", source))?;
        Ok(draft)
    }

    /// Makes drafts durable: what a power failure leaves of each is then all of it.
    ///
    /// # Errors
    /// [`DirError::Io`]; they may be published all the same.
    pub fn sync_drafts(&self, drafts: &[Draft<'_>]) -> Result<(), DirError> {
        let _step =
            fault::step("disk.sync-drafts").map_err(|e| self.own_error("sync", e.into()))?;
        if drafts.len() > SYNCFS_THRESHOLD {
            return nix::unistd::syncfs(self.as_fd())
                .map_err(|e| self.own_error("sync file system of", e.into()));
        }
        for draft in drafts {
            let synced = draft.file.sync_data();
            synced.map_err(|source| draft.failed("sync", source))?;
        }
        Ok(())
    }
}

impl Draft<'_> {
    /// Which file it is to become.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Puts it in its place, in one step. Quick: the name itself is durable after [`Dir::sync`].
    ///
    /// # Errors
    /// [`DirError::Io`]; the old content stays then.
    pub fn publish(mut self) -> Result<(), DirError> {
        let moved = fault::step("disk.publish").and_then(|_step| {
            let (from, to) = (self.temporary.as_str(), self.name.as_os_str());
            renameat(self.dir.as_fd(), from, self.dir.as_fd(), to)
        });
        moved.map_err(|errno| self.failed("replace", errno.into()))?;
        self.published = true;
        Ok(())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> DirError {
        DirError::Io {
            operation,
            path: self.dir.join(&self.name),
            source,
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be deleted now is swept at the next start.
            let _ = unlinkat(
                self.dir.as_fd(),
                self.temporary.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}
