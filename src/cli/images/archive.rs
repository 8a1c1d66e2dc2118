//! Sends the source of an image as a tar stream: a directory is packed, an archive is passed on.
//!
//! Everything that makes a root file system is kept: owners, modes, times, extended attributes (so also
//! file capabilities), hard links, device nodes and holes. Other file systems that are mounted below the directory
//! are left out, so that a tree with a mounted /proc can be imported.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Cursor, PipeReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tar::{Builder, EntryType, Header};

use holdfast_kernel::sys::hole;

/// Why an archive cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// A file of the tree.
    #[error("cannot {operation} {}", path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The pipe between the two threads.
    #[error("cannot make the archive")]
    Pipe(#[source] io::Error),
}

fn at<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ArchiveError + use<'a> {
    move |source| ArchiveError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// An archive to be read.
#[derive(Debug)]
pub(super) enum Archive {
    /// A tree, made into a tar by another thread.
    Tree(PipeReader, JoinHandle<Result<(), ArchiveError>>),
    File(File),
    Stdin(io::Stdin),
}

/// Opens a directory, a file, or standard input for `-`.
pub(super) fn open(source: &Path) -> Result<Archive, ArchiveError> {
    if source == Path::new("-") {
        return Ok(Archive::Stdin(io::stdin()));
    }
    let metadata = fs::metadata(source).map_err(at("open", source))?;
    if !metadata.is_dir() {
        return File::open(source)
            .map(Archive::File)
            .map_err(at("open", source));
    }
    let (reader, writer) = io::pipe().map_err(ArchiveError::Pipe)?;
    let tree = Tree {
        root: source.to_owned(),
        device: metadata.dev(),
        seen: HashMap::new(),
    };
    let thread = std::thread::spawn(move || tree.write(BufWriter::with_capacity(64 << 10, writer)));
    Ok(Archive::Tree(reader, thread))
}

impl Archive {
    /// Says whether all of it was made.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        match self {
            Self::Tree(reader, thread) => {
                drop(reader);
                let broken = || ArchiveError::Pipe(io::Error::from(io::ErrorKind::BrokenPipe));
                match thread.join().map_err(|_| broken())? {
                    // The reader went first: the daemon's answer says why.
                    Err(ArchiveError::Pipe(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                        Ok(())
                    }
                    result => result,
                }
            }
            Self::File(_) | Self::Stdin(_) => Ok(()),
        }
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tree(reader, _) => reader.read(buffer),
            Self::File(file) => file.read(buffer),
            Self::Stdin(stdin) => stdin.read(buffer),
        }
    }
}

/// A directory on its way into a tar.
struct Tree {
    root: PathBuf,
    device: u64,
    /// First name of each inode with several names.
    seen: HashMap<u64, PathBuf>,
}

impl Tree {
    fn write(mut self, out: impl Write) -> Result<(), ArchiveError> {
        let mut tar = Builder::new(out);
        // Depth first, in the order of names, so that the same tree gives the same image id.
        let mut waiting = vec![PathBuf::new()];
        while let Some(name) = waiting.pop() {
            let path = self.root.join(&name);
            let metadata = fs::symlink_metadata(&path).map_err(at("look at", &path))?;
            self.entry(&mut tar, &name, &metadata)?;
            if metadata.is_dir() && metadata.dev() == self.device {
                waiting.extend(children(&path, &name)?);
            }
        }
        tar.into_inner()
            .and_then(|mut out| out.flush())
            .map_err(ArchiveError::Pipe)
    }

    fn entry(
        &mut self,
        tar: &mut Builder<impl Write>,
        name: &Path,
        metadata: &Metadata,
    ) -> Result<(), ArchiveError> {
        let path = self.root.join(name);
        let kind = metadata.file_type();
        // A socket means nothing without the program that listens on it.
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = header(metadata);
        let shown = if name.as_os_str().is_empty() {
            Path::new("./")
        } else {
            name
        };
        if metadata.nlink() > 1 && !kind.is_dir() {
            if let Some(first) = self.seen.get(&metadata.ino()) {
                header.set_entry_type(EntryType::Link);
                return tar
                    .append_link(&mut header, shown, first)
                    .map_err(ArchiveError::Pipe);
            }
            self.seen.insert(metadata.ino(), name.to_owned());
        }
        let mut records = attributes(&path)?;
        let stored = match kind.is_file() {
            true => Some(stored(&path, metadata, &mut records)?),
            false => None,
        };
        write_records(tar, records)?;
        if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(at("read the link", &path))?;
            return tar
                .append_link(&mut header, shown, target)
                .map_err(ArchiveError::Pipe);
        }
        let Some((size, content)) = stored else {
            return tar
                .append_data(&mut header, shown, io::empty())
                .map_err(ArchiveError::Pipe);
        };
        header.set_size(size);
        tar.append_data(&mut header, shown, content)
            .map_err(ArchiveError::Pipe)
    }
}

/// Opens what an archive stores of a file. Of one with holes that is GNU tar's form 1.0: a map of the data, in whole
/// blocks, and the data.
fn stored(
    path: &Path,
    metadata: &Metadata,
    records: &mut Vec<(String, Vec<u8>)>,
) -> Result<(u64, impl Read + use<>), ArchiveError> {
    let file = File::open(path).map_err(at("open", path))?;
    let parts = hole::data(&file, metadata.len()).map_err(at("look for holes in", path))?;
    let data: u64 = parts.iter().map(|part| part.end - part.start).sum();
    let mut map = String::new();
    if data < metadata.len() {
        map = format!("{}\n", parts.len());
        for part in &parts {
            map += &format!("{}\n{}\n", part.start, part.end - part.start);
        }
        map.extend(std::iter::repeat_n('\0', map.len().wrapping_neg() % 512));
        for (key, value) in [
            ("major", "1"),
            ("minor", "0"),
            ("realsize", &metadata.len().to_string()),
        ] {
            records.push((format!("GNU.sparse.{key}"), value.into()));
        }
    }
    let size = map.len() as u64 + data;
    let data = Parts {
        file,
        parts: parts.into_iter(),
        left: 0,
    };
    Ok((size, Cursor::new(map.into_bytes()).chain(data)))
}

/// Names in a directory, the last one first because they are taken from the end.
fn children(path: &Path, name: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let entries = fs::read_dir(path).map_err(at("list", path))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| name.join(entry.file_name())))
        .collect::<io::Result<Vec<_>>>()
        .map_err(at("list", path))?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
    header.set_size(0);
    let kind = metadata.file_type();
    let entry = if kind.is_dir() {
        EntryType::Directory
    } else if kind.is_symlink() {
        EntryType::Symlink
    } else if kind.is_char_device() {
        EntryType::Char
    } else if kind.is_block_device() {
        EntryType::Block
    } else if kind.is_fifo() {
        EntryType::Fifo
    } else {
        EntryType::Regular
    };
    header.set_entry_type(entry);
    if kind.is_char_device() || kind.is_block_device() {
        let number = |part: u64| u32::try_from(part).unwrap_or_default();
        // Both fields are in every GNU header, so setting them cannot fail.
        let _ = header.set_device_major(number(nix::sys::stat::major(metadata.rdev())));
        let _ = header.set_device_minor(number(nix::sys::stat::minor(metadata.rdev())));
    }
    header
}

/// A file's extended attributes as records, in the form of GNU tar and libarchive.
fn attributes(path: &Path) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    /// The SELinux label of a file, which belongs to the policy of this machine and not to the image.
    const LABEL: &str = "security.selinux";
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        Err(error) => return Err(at("list the extended attributes of", path)(error)),
    };
    let mut records = Vec::new();
    for name in names.filter(|name| name != OsStr::new(LABEL)) {
        let value = xattr::get(path, &name).map_err(at("read an extended attribute of", path))?;
        let key = format!("SCHILY.xattr.{}", String::from_utf8_lossy(name.as_bytes()));
        records.extend(value.map(|value| (key, value)));
    }
    records.sort();
    Ok(records)
}

fn write_records(
    tar: &mut Builder<impl Write>,
    records: Vec<(String, Vec<u8>)>,
) -> Result<(), ArchiveError> {
    let records = records
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()));
    tar.append_pax_extensions(records)
        .map_err(ArchiveError::Pipe)
}

/// The parts of a file one after the other. A file that shrinks meanwhile would shift all that follows, one that
/// grows is cut.
struct Parts {
    file: File,
    parts: std::vec::IntoIter<Range<u64>>,
    /// Bytes that are left of the present part.
    left: u64,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let Some(part) = self.parts.next() else {
                return Ok(0);
            };
            self.file.seek(SeekFrom::Start(part.start))?;
            self.left = part.end - part.start;
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::other("a file became shorter while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_keeps_links_modes_and_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        #[allow(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(dir.path().join("bin/a"), b"content").unwrap();
        std::fs::hard_link(dir.path().join("bin/a"), dir.path().join("bin/b")).unwrap();
        symlink("a", dir.path().join("bin/c")).unwrap();
        let mut archive = super::open(dir.path()).unwrap();
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        archive.finish().unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let link = entry
                .link_name()
                .unwrap()
                .map(|link| link.to_string_lossy().into_owned());
            found.insert(name, (entry.header().entry_type(), link));
        }
        assert_eq!(found["bin/a"].0, tar::EntryType::Regular);
        assert_eq!(
            found["bin/b"],
            (tar::EntryType::Link, Some("bin/a".to_owned()))
        );
        assert_eq!(
            found["bin/c"],
            (tar::EntryType::Symlink, Some("a".to_owned()))
        );
    }
}
