//! Reads and parses the files of a process below /proc.
//!
//! Parsing is pure and total: a file that has another form than proc(5) says yields less, never a panic.

use holdfast_kernel::sys::pid::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::kind::Kind;

/// The largest file that is read, in bytes: a mount table of thousands of lines.
const LARGEST_FILE: u64 = 8 << 20;

/// A file of the kernel cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {file}; run this as root on the pod's node")]
pub(crate) struct ProcError {
    file: String,
    #[source]
    source: io::Error,
}

/// Opens a file of a process.
pub(super) fn open(pid: Pid, file: &str) -> Result<File, ProcError> {
    let file = pid.proc_file(file);
    File::open(&file).map_err(|source| ProcError { file, source })
}

/// A file of a process, as text.
pub(super) fn text(pid: Pid, file: &str) -> Result<String, ProcError> {
    let file = pid.proc_file(file);
    read(&file).map_err(|source| ProcError { file, source })
}

/// A file of the kernel, as text.
pub(super) fn read(file: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(LARGEST_FILE)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The namespaces of a process, by inode number; those that cannot be seen are missing. The process is a pid or `self`.
pub(super) fn namespaces(process: impl std::fmt::Display) -> BTreeMap<Kind, u64> {
    let inode = |kind: Kind| {
        let metadata = std::fs::metadata(format!("/proc/{process}/ns/{kind}")).ok()?;
        Some((kind, metadata.ino()))
    };
    Kind::ALL.into_iter().filter_map(inode).collect()
}

/// The machine's own namespaces: those of its first process; without the right to see them, of this one.
pub(super) fn of_machine() -> BTreeMap<Kind, u64> {
    let first = namespaces(Pid::from_raw(1));
    if first.is_empty() {
        namespaces("self")
    } else {
        first
    }
}

/// The numbers of all processes that can be seen, in order.
pub(super) fn all() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<Pid> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

#[derive(Debug, Clone, Default)]
pub(super) struct Status(BTreeMap<String, String>);

impl Status {
    /// Reads the status file of a process.
    pub(super) fn read(pid: Pid) -> Result<Self, ProcError> {
        Ok(Self::parse(&text(pid, "status")?))
    }

    /// Takes the text apart.
    pub(super) fn parse(text: &str) -> Self {
        let field = |line: &str| {
            let (key, value) = line.split_once(':')?;
            Some((key.to_owned(), value.trim().to_owned()))
        };
        Self(text.lines().filter_map(field).collect())
    }

    /// A field, or nothing.
    pub(super) fn get(&self, field: &str) -> &str {
        self.0.get(field).map(String::as_str).unwrap_or_default()
    }

    /// The numbers of a field with several.
    pub(super) fn numbers(&self, field: &str) -> Vec<u64> {
        let words = self.get(field).split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// A field of hexadecimal digits, such as a set of capabilities.
    pub(super) fn mask(&self, field: &str) -> u64 {
        u64::from_str_radix(self.get(field), 16).unwrap_or_default()
    }

    /// Process number in each pid namespace, from the reader's to its own. Since Linux 4.1.
    pub(super) fn pids(&self) -> Vec<u64> {
        self.numbers("NSpid")
    }

    /// Number of the parent.
    pub(super) fn parent(&self) -> Pid {
        self.get("PPid").parse().unwrap_or_default()
    }
}

/// The command line; without one the name in brackets, as ps(1) shows it.
pub(super) fn command(pid: Pid, status: &Status) -> String {
    let line = text(pid, "cmdline").unwrap_or_default();
    let words: Vec<_> = line.split('\0').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return format!("[{}]", status.get("Name"));
    }
    // A command line is what the process says it is: nothing in it may steer the terminal.
    words
        .join(" ")
        .replace(|letter: char| letter.is_control(), "?")
}

/// A line of uid_map or gid_map: first number inside, first outside, how many. user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRange {
    pub inside: u64,
    pub outside: u64,
    pub count: u64,
}

/// The ranges of an id map.
pub(super) fn id_map(text: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse);
        Some(IdRange {
            inside: words.next()?.ok()?,
            outside: words.next()?.ok()?,
            count: words.next()?.ok()?,
        })
    };
    text.lines().filter_map(range).collect()
}

/// The number inside that an outside one has.
pub(super) fn inside(map: &[IdRange], outside: u64) -> Option<u64> {
    let range = map
        .iter()
        .find(|range| outside >= range.outside && outside - range.outside < range.count)?;
    Some(range.inside + (outside - range.outside))
}

/// A line of mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub root: String,
    pub target: String,
    pub options: String,
    pub fs_type: String,
    pub source: String,
    pub super_options: String,
}

impl Mount {
    /// Whether nothing can be written through it.
    pub(super) fn read_only(&self) -> bool {
        let has = |options: &str| options.split(',').any(|option| option == "ro");
        has(&self.options) || has(&self.super_options)
    }
}

/// The mounts of a mount table, in its order.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, target, options) = (left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    Some(Mount {
        root: unescape(root),
        target: unescape(target),
        options: options.to_owned(),
        fs_type: right.next()?.to_owned(),
        source: unescape(right.next()?),
        super_options: right.next().unwrap_or_default().to_owned(),
    })
}

/// Blanks, newlines and backslashes are octal in mount tables.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (code, letter)| {
        text.replace(code, letter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_a_container() {
        let status = Status::parse(
            "Name:\tsleep\nPPid:\t12\nNSpid:\t1236\t1\nCapEff:\t00000000a80425fb\nUid:\t1\t2\t3\t4\n",
        );
        assert_eq!(status.pids(), [1236, 1]);
        assert_eq!(status.parent(), Pid::from_raw(12));
        assert_eq!(status.mask("CapEff"), 0xa804_25fb);
        assert_eq!(status.numbers("Uid"), [1, 2, 3, 4]);
        assert_eq!(status.get("missing"), "");
    }

    #[test]
    fn an_id_map_both_ways() {
        let map = id_map("         0     100000      65536\n     70000  5 1\nnonsense\n");
        assert_eq!(map.len(), 2);
        assert_eq!(inside(&map, 100_007), Some(7));
        assert_eq!(inside(&map, 5), Some(70_000));
        assert_eq!(inside(&map, 165_536), None);
    }

    #[test]
    fn a_mount_with_optional_fields_and_a_blank() {
        let text = "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n";
        let mounts = mounts(text);
        assert_eq!(mounts[0].target, "/mnt two");
        assert_eq!(
            (mounts[0].fs_type.as_str(), mounts[0].source.as_str()),
            ("ext3", "/dev/root")
        );
        assert!(!mounts[0].read_only());
    }
}
