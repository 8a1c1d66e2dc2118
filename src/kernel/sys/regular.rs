//! Files that others put where we look: read if they are regular ones, and nothing else is waited for.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The content of a regular file, symbolic links followed. /dev/null, by which people mask a file, is an empty one.
///
/// A FIFO would keep its reader until somebody writes, and opening a device may do something: both are refused unopened.
///
/// # Errors
/// The errors of open(2) and read(2); `InvalidInput` for what is not a regular file, `FileTooLarge` above `limit` bytes. Both
/// say what was found and what to do.
pub fn read(place: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let looked = fs::metadata(place)?;
    if is_null(&looked) {
        return Ok(Vec::new());
    }
    regular(&looked)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(place)?;
    // Another file may have taken its place meanwhile.
    regular(&file.metadata()?)?;
    let mut content = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let why = format!("it has more than {limit} bytes; make it smaller");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(content)
}

fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == libc::makedev(1, 3)
}

fn regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let why = format!("it is {what}; put a regular file in its place, or take it away");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// open(2) of a FIFO without a writer does not come back, and a device or a socket has no content that ends.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "files of the test's own")]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "1234").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::create_dir(at("dir")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (link, to) in [
            ("to-file", "file"),
            ("to-fifo", "fifo"),
            ("to-dir", "dir"),
            ("to-null", "/dev/null"),
            ("to-zero", "/dev/zero"),
            ("to-nothing", "nothing"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        for (name, limit, wanted) in [
            ("file", 4, Ok("1234")),
            ("file", 3, Err("more than 3 bytes")),
            ("empty", 0, Ok("")),
            ("to-file", 99, Ok("1234")),
            ("to-null", 99, Ok("")),
            ("fifo", 99, Err("a FIFO; put a regular file")),
            ("to-fifo", 99, Err("a FIFO")),
            ("dir", 99, Err("a directory")),
            ("to-dir", 99, Err("a directory")),
            ("socket", 99, Err("a socket")),
            ("to-zero", 99, Err("a device")),
            ("to-nothing", 99, Err("No such file")),
            ("none", 99, Err("No such file")),
        ] {
            match (read(&at(name), limit), wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted.as_bytes(), "{name}"),
                (Err(got), Err(wanted)) => {
                    assert!(got.to_string().contains(wanted), "{name}: {got}");
                }
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }
}
