//! The files of `host-local`: one a leased address, in a directory of the network that the program shares.
//!
//! A file appears with its content in one step, so that no crash leaves an address that belongs to nobody. The lock is
//! the program's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::error::NativeError;
use holdfast_kernel::fault;

/// The file that everybody locks who works on the directory.
const LOCK: &str = "lock";
/// Where the search for the next address of a set begins.
const LAST: &str = "last_reserved_ip.";
/// Largest file that is read: an id and the name of an interface.
const FILE_LIMIT: u64 = 4096;
/// Between two looks at a lock that somebody has.
const LOCKED_PAUSE: Duration = Duration::from_micros(100);

/// The directory of one network, locked.
#[derive(Debug)]
pub(super) struct Store {
    dir: OwnedFd,
    path: PathBuf,
    _lock: Flock<File>,
}

impl Store {
    /// Opens and locks the directory, which is made when it is missing.
    ///
    /// # Errors
    /// [`NativeError::File`], also when somebody keeps the lock until the deadline.
    pub(super) fn create(path: &Path, deadline: Instant) -> Result<Store, NativeError> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(NativeError::file("create", path))?;
        Store::open(path, deadline)
    }

    /// Opens and locks the directory.
    ///
    /// # Errors
    /// As [`Store::create`], and when it does not exist.
    pub(super) fn open(path: &Path, deadline: Instant) -> Result<Store, NativeError> {
        let mut directory = OpenOptions::new();
        directory.read(true).custom_flags(libc::O_DIRECTORY);
        let dir = directory.open(path);
        let dir: OwnedFd = dir.map_err(NativeError::file("open", path))?.into();
        let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o750);
        let locked = openat(&dir, LOCK, flags, mode).map_err(io::Error::from);
        let locked = locked.and_then(|file| lock(File::from(file), deadline));
        Ok(Store {
            _lock: locked.map_err(NativeError::file("lock", path.join(LOCK)))?,
            dir,
            path: path.to_owned(),
        })
    }

    /// Whether there is such a directory.
    pub(super) fn exists(path: &Path) -> bool {
        path.is_dir()
    }

    fn failed(&self, operation: &'static str, name: &str) -> impl FnOnce(Errno) -> NativeError {
        NativeError::file(operation, self.path.join(name))
    }

    /// Leases an address, unless it is leased.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn take(&self, ip: IpAddr, holder: &str, mode: Mode) -> Result<bool, NativeError> {
        let name = ip.to_string();
        let failed = |errno: Errno| self.failed("create", &name)(errno);
        let _step = fault::step("lease.take").map_err(failed)?;
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let nameless = match openat(&self.dir, ".", flags, mode) {
            // The file system has no files without a name.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => None,
            opened => Some(File::from(opened.map_err(failed)?)),
        };
        let written = |mut file: &File| file.write_all(holder.as_bytes());
        let taken = match nameless {
            Some(file) => written(&file).and_then(|()| {
                let source = format!("/proc/self/fd/{}", file.as_raw_fd());
                let followed = AtFlags::AT_SYMLINK_FOLLOW;
                Ok(linkat(
                    nix::fcntl::AT_FDCWD,
                    source.as_str(),
                    &self.dir,
                    name.as_str(),
                    followed,
                )?)
            }),
            None => {
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
                let opened = openat(&self.dir, name.as_str(), flags, mode).map_err(io::Error::from);
                opened.and_then(|file| written(&File::from(file)))
            }
        };
        match taken {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(NativeError::file("create", self.path.join(&name))(error)),
        }
    }

    /// Whether an address is leased, by whomever.
    pub(super) fn is_taken(&self, ip: IpAddr) -> bool {
        use nix::unistd::{AccessFlags, faccessat};
        let name = ip.to_string();
        faccessat(
            &self.dir,
            name.as_str(),
            AccessFlags::F_OK,
            AtFlags::empty(),
        )
        .is_ok()
    }

    /// The address of a set that was given out last.
    pub(super) fn last(&self, set: usize) -> Option<IpAddr> {
        let text = self.read(&format!("{LAST}{set}"))?;
        String::from_utf8(text).ok()?.parse().ok()
    }

    /// Notes the address of a set that was given out last.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn note_last(&self, set: usize, ip: IpAddr, mode: Mode) -> Result<(), NativeError> {
        let name = format!("{LAST}{set}");
        let failed = |errno: Errno| self.failed("write", &name)(errno);
        let _step = fault::step("lease.note").map_err(failed)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let file = openat(&self.dir, name.as_str(), flags, mode).map_err(failed)?;
        let written = File::from(file).write_all(ip.to_string().as_bytes());
        written.map_err(NativeError::file("write", self.path.join(&name)))
    }

    /// Releases an address, when it is leased by this holder.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn release(&self, ip: IpAddr, holder: &str) -> Result<bool, NativeError> {
        self.remove_of(&ip.to_string(), &[holder])
    }

    /// Whether an address is leased by this holder.
    pub(super) fn is_leased_by(&self, ip: IpAddr, holder: &str) -> bool {
        self.is_held(&ip.to_string(), &[holder])
    }

    /// The files that one of these holders has, by a look at all of them.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn held_by(&self, holders: &[&str]) -> Result<Vec<String>, NativeError> {
        let listed = openat(
            &self.dir,
            ".",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let mut listed = listed
            .and_then(Dir::from_fd)
            .map_err(self.failed("list", ""))?;
        let mut found = Vec::new();
        for entry in listed.iter() {
            let entry = entry.map_err(self.failed("list", ""))?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if self.is_held(name, holders) {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    /// Releases everything that one of these holders has.
    ///
    /// # Errors
    /// [`NativeError::File`].
    pub(super) fn release_all(&self, holders: &[&str]) -> Result<(), NativeError> {
        for name in self.held_by(holders)? {
            self.remove_of(&name, holders)?;
        }
        Ok(())
    }

    fn is_held(&self, name: &str, holders: &[&str]) -> bool {
        let text = self.read(name);
        let text = text.and_then(|text| String::from_utf8(text).ok());
        text.is_some_and(|text| holders.contains(&text.trim()))
    }

    fn remove_of(&self, name: &str, holders: &[&str]) -> Result<bool, NativeError> {
        if !self.is_held(name, holders) {
            return Ok(false);
        }
        let failed = |errno: Errno| self.failed("remove", name)(errno);
        let _step = fault::step("lease.release").map_err(failed)?;
        match unlinkat(self.dir.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            Err(errno) if errno != Errno::ENOENT => Err(failed(errno)),
            _ => Ok(true),
        }
    }

    /// The content of a file. None of what is not a file of some bytes.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let file = openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        let file = File::from(file);
        file.take(FILE_LIMIT).read_to_end(&mut text).ok()?;
        Some(text)
    }
}

/// Locks a file, and waits for whoever has it.
fn lock(mut file: File, deadline: Instant) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = back,
            Err((_, Errno::EWOULDBLOCK)) => {
                let why = "somebody keeps it locked; look for a plugin that does not end";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Err((_, errno)) => return Err(errno.into()),
        }
        std::thread::sleep(LOCKED_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path) -> Store {
        Store::create(&dir.join("net"), Instant::now() + Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn an_address_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (ip, mode) = ("10.0.0.2".parse().unwrap(), Mode::from_bits_truncate(0o600));
        assert!(store.take(ip, "a\r\neth0", mode).unwrap());
        assert!(!store.take(ip, "b\r\neth0", mode).unwrap());
        assert!(store.is_taken(ip));
        let text = std::fs::read(dir.path().join("net/10.0.0.2")).unwrap();
        assert_eq!(text, b"a\r\neth0");
        assert!(!store.release(ip, "b\r\neth0").unwrap());
        assert!(store.release(ip, "a\r\neth0").unwrap());
        assert!(!store.release(ip, "a\r\neth0").unwrap());
        assert_eq!(store.last(0), None);
        store.note_last(0, ip, mode).unwrap();
        assert_eq!(store.last(0), Some(ip));
    }

    /// Releases of before 0.8 wrote the id alone.
    #[test]
    fn all_that_a_holder_has_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let mode = Mode::from_bits_truncate(0o644);
        for (ip, holder) in [
            ("10.0.0.2", "a\r\neth0"),
            ("fd00::2", "a"),
            ("10.0.0.3", "aa\r\neth0"),
        ] {
            assert!(store.take(ip.parse().unwrap(), holder, mode).unwrap());
        }
        let mut held = store.held_by(&["a\r\neth0", "a"]).unwrap();
        held.sort();
        assert_eq!(held, ["10.0.0.2", "fd00::2"]);
        store.release_all(&["a\r\neth0", "a"]).unwrap();
        assert!(store.held_by(&["a\r\neth0", "a"]).unwrap().is_empty());
        assert!(store.is_taken("10.0.0.3".parse().unwrap()));
    }

    /// The program, which waits for ever, and this share the lock.
    #[test]
    fn a_lock_that_somebody_keeps_is_an_error_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let _held = store(dir.path());
        let soon = Instant::now() + Duration::from_millis(10);
        let error = Store::open(&dir.path().join("net"), soon).unwrap_err();
        let text = holdfast_kernel::error_chain(&error);
        assert!(text.contains("keeps it locked"), "{text}");
    }
}
