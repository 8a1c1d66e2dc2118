//! Facts about a process and about this boot from procfs: proc(5).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::pid::Pid;

/// Bytes of /proc/PID/stat that are read: the name has at most 64 bytes and the 51 numbers 20 digits each.
const STAT_BYTES: usize = 1536;

/// Major and minor version of the running kernel: uname(2). 0.0 when it does not say.
pub fn kernel_version() -> (u32, u32) {
    let names = nix::sys::utsname::uname().ok();
    let release = names.as_ref().and_then(|names| names.release().to_str());
    let mut numbers = release
        .unwrap_or_default()
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The beginning of a process, as /proc/PID/stat describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// When it started, in clock ticks since boot: field 22. Together with the number and the boot id it names a
    /// process for ever.
    pub start_ticks: u64,
    /// Whether it has executed a program since it was forked: `PF_FORKNOEXEC` of field 9 is unset, also once it has
    /// ended. ps(1) shows that flag.
    pub has_executed: bool,
}

/// How a process began.
///
/// # Errors
/// `NotFound` when there is no such process; `InvalidData` when the line has another form.
pub fn beginning(pid: Pid) -> io::Result<Beginning> {
    let mut line = [0; STAT_BYTES];
    let length = File::open(pid.proc_file("stat"))?.read(&mut line)?;
    parse_beginning(&line[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// When a process started, as [`Beginning::start_ticks`].
///
/// # Errors
/// As [`beginning`].
pub fn start_ticks(pid: Pid) -> io::Result<u64> {
    beginning(pid).map(|beginning| beginning.start_ticks)
}

/// Fields 9 and 22 of a stat line. Field 2, the name in parentheses, may itself have spaces and parentheses, so
/// fields are counted after the last closing one.
fn parse_beginning(line: &[u8]) -> Option<Beginning> {
    const FORKED_WITHOUT_EXEC: u32 = 0x40;
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let flags: u32 = fields.nth(6)?.parse().ok()?;
    Some(Beginning {
        has_executed: flags & FORKED_WITHOUT_EXEC == 0,
        start_ticks: fields.nth(12)?.parse().ok()?,
    })
}

/// The number of a process in its own pid namespace: the last of `NSpid` in /proc/PID/status.
///
/// # Errors
/// The errors of reading the file; `InvalidData` when it has no such line.
pub fn inner_pid(pid: Pid) -> io::Result<Pid> {
    let status = std::fs::read_to_string(pid.proc_file("status"))?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = numbers.and_then(|numbers| numbers.split_ascii_whitespace().last());
    last.and_then(|number| number.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number in /proc/PID/mountinfo of the mount that an open file (also O_PATH) lies on.
///
/// # Errors
/// The errors of statx(2); ENOSYS before Linux 5.8, which cannot tell.
pub fn mount_id(file: BorrowedFd<'_>) -> nix::Result<u64> {
    // SAFETY: statx is a C structure of integers for which all zeroes is a valid value.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_MNT_ID);
    // SAFETY: the path is a static C string, and the kernel writes one statx, for which there is room.
    Errno::result(unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, mask, &raw mut status)
    })?;
    if status.stx_mask & mask == 0 {
        return Err(Errno::ENOSYS);
    }
    Ok(status.stx_mnt_id)
}

/// The identifier of this boot: /proc/sys/kernel/random/boot_id, 36 characters.
///
/// # Errors
/// When procfs is not mounted.
pub fn boot_id() -> io::Result<String> {
    let mut text = String::new();
    File::open("/proc/sys/kernel/random/boot_id")?
        .take(64)
        .read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        let line = b"7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 31415 1 1 1\n";
        let beginning = parse_beginning(line).unwrap();
        assert_eq!(beginning.start_ticks, 31415);
        assert!(beginning.has_executed);
        // A child of a shell that was killed before its execve: 0x40 more.
        let line = b"7 (sh) Z 1 7 7 0 -1 4194628 1 0 0 0 0 0 0 0 20 0 1 0 31415 0 0\n";
        assert!(!parse_beginning(line).unwrap().has_executed);
        assert_eq!(parse_beginning(b"7 (a"), None);
        assert_eq!(parse_beginning(b"7 (a) S 1 7 7"), None);
    }

    #[test]
    fn this_process_has_a_start_and_the_machine_a_boot() {
        assert!(start_ticks(Pid::own()).unwrap() > 0);
        assert_eq!(boot_id().unwrap().len(), 36);
        assert_eq!(
            start_ticks(Pid::from_raw(i32::MAX)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
