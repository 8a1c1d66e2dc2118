//! Options of netlink sockets that nix has no safe form of.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes the kernel explain its refusals in words (`NETLINK_EXT_ACK`, netlink(7), Linux 4.12) and leave the
/// refused request out of them (`NETLINK_CAP_ACK`, Linux 4.3).
///
/// # Errors
/// The kernel's errors, ENOTSOCK or ENOPROTOOPT when the descriptor is not a netlink socket.
pub fn explain_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::NETLINK_EXT_ACK)?;
    set(socket, libc::NETLINK_CAP_ACK)
}

/// Makes the kernel apply the header of a dump request as a filter, so that the addresses of one interface are found
/// without those of all others (`NETLINK_GET_STRICT_CHK`, Linux 4.20).
///
/// # Errors
/// As [`explain_errors`].
pub fn filter_dumps(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::NETLINK_GET_STRICT_CHK)
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    const LENGTH: libc::socklen_t = 4;
    let on: i32 = 1;
    // SAFETY: the kernel reads exactly the four bytes of `on`, which lives across the call, and
    // keeps no pointer to it; the descriptor is open because it is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            LENGTH,
        )
    };
    super::check(result.into()).map(drop)
}
