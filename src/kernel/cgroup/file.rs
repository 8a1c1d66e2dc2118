//! Reading and writing the small text files of a cgroup directory, always relative to its descriptor.

use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::uio::pread;
use nix::unistd::{Uid, UnlinkatFlags, fchownat, unlinkat};

use crate::fault;

/// Most bytes taken from one file. `cgroup.procs` of a group with 100,000 processes has about 0.8 MiB.
const READ_LIMIT: usize = 4 << 20;

/// Opens a directory below `dir` for reading its files and its entries. Symbolic links are refused: cgroupfs
/// has none, so one would not be a group.
pub(super) fn open_dir(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Opens a file of a group for reading.
pub(super) fn open(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Reads an open file from its start into `buf`; one call is one consistent snapshot, as the kernel formats
/// the whole text of a small file at the first read. Text beyond the buffer is cut.
pub(super) fn read_into(file: impl AsFd, buf: &mut [u8]) -> Result<&str, Errno> {
    let length = uninterrupted(|| pread(&file, buf, 0))?;
    // The kernel's files are ASCII; a group's name never stands in one that is read here.
    Ok(std::str::from_utf8(&buf[..length]).unwrap_or_default())
}

/// Reads a whole file of a group, up to 4 MiB.
pub(super) fn read(dir: impl AsFd, name: &str) -> Result<String, Errno> {
    let file = open(dir, name)?;
    let mut text = Vec::new();
    let mut buf = [0_u8; 4096];
    loop {
        let length = uninterrupted(|| nix::unistd::read(&file, &mut buf))?;
        if length == 0 || text.len() > READ_LIMIT {
            break;
        }
        text.extend_from_slice(&buf[..length]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether an open directory is still a group: every group has this file, in v1 and v2.
pub(super) fn is_group(dir: impl AsFd) -> bool {
    !matches!(
        open(dir, "cgroup.procs"),
        Err(Errno::ENOENT | Errno::ENODEV)
    )
}

/// Makes a group's directory.
pub(super) fn make_dir(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    let _step = fault::step("cgroup.make-dir")?;
    mkdirat(dir, name, Mode::from_bits_truncate(0o755))
}

/// Removes a group's directory, which is possible while nothing lives in it.
pub(super) fn remove_dir(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    let _step = fault::step("cgroup.remove-dir")?;
    unlinkat(dir, name, UnlinkatFlags::RemoveDir)
}

/// Writes a value with one call, as the kernel's handlers require. An empty value is sent as a line break,
/// because a write of no bytes never reaches the handler.
pub(super) fn write(dir: impl AsFd, name: &str, value: &str) -> Result<(), Errno> {
    let _step = fault::step("cgroup.write")?;
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty())?;
    let bytes = if value.is_empty() { "\n" } else { value };
    // A v1 memory limit that has to free memory first is given up when a signal comes.
    let written = uninterrupted(|| nix::unistd::write(&file, bytes.as_bytes()))?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// Repeats a call that a signal to this thread has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// The files of a group that may be given to whom its part of the tree is given: cgroups(7). Kernels before 4.15
/// do not list them.
pub(super) fn delegated() -> Vec<String> {
    let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
    let usual = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
    let listed = listed.as_deref().unwrap_or(usual).lines();
    listed
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .map(str::to_owned)
        .collect()
}

/// Changes the owner of a file of a group; `.` is the group itself.
pub(super) fn give(dir: impl AsFd, name: &str, user: u32) -> Result<(), Errno> {
    let _step = fault::step("cgroup.give")?;
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(dir, name, Some(Uid::from_raw(user)), None, flags)
}

/// The number in a one-value file; `max` is None.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value beside `key` in a "key value" list such as `memory.stat`.
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// The names of the groups directly inside a directory.
pub(super) fn children(dir: impl AsFd) -> Result<Vec<String>, Errno> {
    names(dir, Type::Directory)
}

/// The names of the files of a group.
pub(super) fn files(dir: impl AsFd) -> Result<Vec<String>, Errno> {
    names(dir, Type::File)
}

fn names(dir: impl AsFd, kind: Type) -> Result<Vec<String>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = match Dir::openat(dir, ".", flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        if entry.file_type() != Some(kind) {
            continue;
        }
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => return Err(Errno::EILSEQ),
        }
    }
    Ok(names)
}
