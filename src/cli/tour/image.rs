//! The image that the stops of the tour use: the machine's own busybox, as a directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Why the image of the tour cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TourImageError {
    /// The machine has no busybox that the image could be made of.
    #[error(
        "cannot make the image localhost/busybox:latest, which the tour needs: there is no static busybox; \
         run `apt install busybox-static`, or `holdfast image import DIRECTORY localhost/busybox:latest`"
    )]
    NoBusybox,
    /// The root file system cannot be written.
    #[error("cannot make the root file system of the tour's image")]
    Write(#[source] std::io::Error),
}

pub(super) const BUSYBOX: &str = "localhost/busybox:latest";

/// The programs that busybox stands for in the image.
const APPLETS: [&str; 33] = [
    "awk", "cat", "chown", "cut", "date", "echo", "env", "false", "grep", "head", "hostname",
    "httpd", "id", "ip", "kill", "ls", "mkdir", "mount", "mv", "ps", "rm", "sed", "seq", "sh",
    "sleep", "tail", "touch", "true", "uname", "unshare", "uptime", "wc", "wget",
];

/// Makes the image's root file system in a directory.
pub(super) fn tree(directory: &Path) -> Result<(), TourImageError> {
    let busybox = busybox().ok_or(TourImageError::NoBusybox)?;
    fill(directory, &busybox).map_err(TourImageError::Write)
}

fn fill(directory: &Path, busybox: &Path) -> std::io::Result<()> {
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"] {
        fs::create_dir_all(directory.join(name))?;
    }
    let programs = directory.join("bin");
    fs::copy(busybox, programs.join("busybox"))?;
    for applet in APPLETS {
        symlink("busybox", programs.join(applet))?;
    }
    // A directory of our own making, which nobody else reads yet: nothing has to be atomic.
    for (name, content) in [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        ),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
    ] {
        use std::io::Write;
        fs::File::create_new(directory.join("etc").join(name))?.write_all(content.as_bytes())?;
    }
    Ok(())
}

/// A busybox that needs no libraries.
fn busybox() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|directory| directory.join("busybox"));
    places.find(|place| fs::read(place).is_ok_and(|program| is_static(&program)))
}

/// Whether an ELF file names no interpreter: elf(5), the program headers of a 64-bit file.
fn is_static(program: &[u8]) -> bool {
    /// The program header `PT_INTERP`, which names ld.so.
    const INTERPRETER: u32 = 3;
    let half = |at: usize| {
        Some(u16::from_le_bytes(
            program.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let word = |at: usize| {
        Some(u32::from_le_bytes(
            program.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let long = |at: usize| {
        Some(u64::from_le_bytes(
            program.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    let headers = || {
        let (first, size, count) = (usize::try_from(long(32)?).ok()?, half(54)?, half(56)?);
        let kind = |number: u16| word(first.checked_add(usize::from(number) * usize::from(size))?);
        (0..count).map(kind).collect::<Option<Vec<_>>>()
    };
    program.starts_with(b"\x7fELF\x02")
        && headers().is_some_and(|kinds| !kinds.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::is_static;

    #[test]
    fn a_program_with_libraries_is_no_image() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&own), "a test program names ld.so");
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF\x02"));
    }
}
