//! Pseudoterminals: pts(4), ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::take_descriptor;

/// The type of devpts, `DEVPTS_SUPER_MAGIC` of statfs(2).
const DEVPTS: i64 = 0x1cd1;

/// Opens the other side of a terminal whose main side is an open `ptmx`. No path is involved, so the
/// container cannot put something else in its place.
///
/// # Errors
/// ENOTTY when `main` is not a terminal of a devpts file system; those of ioctl_tty(2), Linux 4.13.
pub fn open_peer(main: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the type's width differs between machines"
    )]
    if nix::sys::statfs::fstatfs(main)?.filesystem_type().0 as i64 != DEVPTS {
        return Err(Errno::ENOTTY);
    }
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one integer, which lives until the call returns.
    Errno::result(unsafe { libc::ioctl(main.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = (OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits();
    // SAFETY: TIOCGPTPEER takes the flags as an integer.
    take_descriptor(unsafe { libc::ioctl(main.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Makes a terminal the controlling one of this session, whose leader this process must be.
///
/// # Errors
/// EPERM when the process leads no session or has a terminal already.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the size of a terminal in characters; its foreground processes get SIGWINCH.
///
/// # Errors
/// The errors of ioctl_tty(2).
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives until the call returns.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map(drop)
}

/// The size of a terminal in characters, rows first; what is not a terminal has none.
///
/// # Errors
/// The errors of ioctl_tty(2), such as ENOTTY.
pub fn size(terminal: BorrowedFd<'_>) -> nix::Result<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize, which lives until the call returns.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}
