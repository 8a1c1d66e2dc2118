//! Descriptors as such: dup3(2), close_range(2), pipe2(2), fcntl(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::take_descriptor;

/// One of the standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard input, descriptor 0.
    Input = 0,
    /// The standard output, descriptor 1.
    Output = 1,
    /// The standard error, descriptor 2.
    Error = 2,
}

/// Makes a standard stream of this process a copy of `source`, which execve(2) keeps.
///
/// # Errors
/// The errors of dup2(2).
pub fn install(source: BorrowedFd<'_>, stream: Stream) -> nix::Result<()> {
    if source.as_raw_fd() == stream as RawFd {
        return fcntl(source, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).map(drop);
    }
    // SAFETY: two integers. The standard streams are owned by nobody in this program: std only borrows
    // their numbers, so replacing one breaks no owner.
    Errno::result(unsafe { libc::dup2(source.as_raw_fd(), stream as RawFd) }).map(drop)
}

/// Copies a descriptor to a number of 3 or more, close-on-exec.
///
/// # Errors
/// The errors of fcntl(2) `F_DUPFD_CLOEXEC`.
pub fn duplicate(source: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let number = fcntl(source, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    take_descriptor(number.into())
}

/// Takes a standard stream as it was inherited.
pub fn inherited(stream: Stream) -> BorrowedFd<'static> {
    // SAFETY: the standard streams are open from the start of a process to its end; `install` replaces what
    // they are, and nothing closes their numbers.
    unsafe { BorrowedFd::borrow_raw(stream as RawFd) }
}

/// Closes every descriptor that is not a standard stream and not owned yet: at the start of a process, to
/// let go of what its parent forgot. Descriptors that somebody owns must not exist yet.
///
/// # Errors
/// The errors of close_range(2), Linux 5.9.
///
pub fn close_inherited() -> nix::Result<()> {
    // SAFETY: called before the program owns any descriptor above the standard streams.
    Errno::result(unsafe { libc::close_range(3, u32::MAX, 0) }).map(drop)
}

/// Lets execve(2) close every descriptor that is not a standard stream.
///
/// # Errors
/// The errors of close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11.
pub fn close_all_on_exec() -> nix::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: three integers; no descriptor is closed by the call itself.
    Errno::result(unsafe { libc::close_range(3, u32::MAX, flags) }).map(drop)
}

/// A pipe for a process' output, as the kernel makes it. The reader is non-blocking, both ends are close-on-exec.
///
/// # Errors
/// The errors of pipe2(2).
pub fn output_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(reader.as_fd())?;
    Ok((reader, writer))
}

/// Gives a pipe room for this many bytes or more, and says for how many.
///
/// # Errors
/// The errors of fcntl(2) `F_SETPIPE_SZ`: EPERM above the limits of pipe(7), EBUSY when more is in it, EBADF when
/// it is no pipe.
pub fn resize_pipe(pipe: BorrowedFd<'_>, bytes: usize) -> nix::Result<usize> {
    let bytes = i32::try_from(bytes).map_err(|_| Errno::EINVAL)?;
    let room = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes))?;
    Ok(usize::try_from(room).unwrap_or(0))
}

/// For how many bytes a pipe has room.
///
/// # Errors
/// The errors of fcntl(2) `F_GETPIPE_SZ`: EBADF when it is no pipe.
pub fn pipe_size(pipe: BorrowedFd<'_>) -> nix::Result<usize> {
    let room = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?;
    Ok(usize::try_from(room).unwrap_or(0))
}

/// Reads and writes return `EAGAIN` instead of waiting.
///
/// # Errors
/// The errors of fcntl(2).
pub fn set_nonblocking(file: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Two connected sockets that keep packets apart, close-on-exec.
///
/// # Errors
/// The errors of socketpair(2).
pub fn packet_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let mut pair: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for the two numbers that the kernel writes.
    Errno::result(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    // SAFETY: the kernel has just made both descriptors; nothing else owns them.
    let left = unsafe { OwnedFd::from_raw_fd(pair[0]) };
    // SAFETY: as above.
    let right = unsafe { OwnedFd::from_raw_fd(pair[1]) };
    Ok((left, right))
}

/// Accepts a connection, non-blocking and close-on-exec.
///
/// # Errors
/// The errors of accept4(2): EAGAIN when nobody waits.
pub fn accept(listener: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let null = std::ptr::null_mut();
    // SAFETY: null means that the peer's address is not wanted.
    let result = unsafe { libc::accept4(listener.as_raw_fd(), null, null.cast(), flags) };
    take_descriptor(result.into())
}

/// A socket for netlink(7) of the protocol NETLINK_ROUTE in the present network namespace, to which it
/// belongs for ever.
///
/// # Errors
/// The errors of socket(2).
pub fn netlink_route() -> nix::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: three integers, no memory.
    take_descriptor(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) }.into())
}

/// Reads once. 0 is the end.
///
/// # Errors
/// The errors of read(2): EAGAIN when nothing is there.
pub fn read(file: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(file, buffer) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Writes once and says how much.
///
/// # Errors
/// The errors of write(2).
pub fn write(file: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::write(file, bytes) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Whether nobody can read any more what is written to a pipe.
pub fn has_no_reader(pipe: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    // A poll that fails says nothing; the next write does.
    let _ = poll(&mut asked, PollTimeout::ZERO);
    asked[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Waits until the descriptor is readable or its other end is closed.
///
/// # Errors
/// The errors of poll(2).
pub fn wait_readable(file: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(
        &mut [PollFd::new(file, PollFlags::POLLIN)],
        PollTimeout::NONE,
    )
    .map(drop)
}

/// Closes everything but the standard streams and one socket, which moves to number 3 and is close-on-exec;
/// then does one last thing and exits with the code that this returns. Until execve(2) a process could
/// still reach descriptors through /proc/self/fd; these are then gone. No owner of a closed descriptor runs
/// again, because this never returns.
pub fn finish_alone(
    socket: BorrowedFd<'_>,
    last: impl FnOnce(nix::Result<BorrowedFd<'static>>) -> i32,
) -> ! {
    let code = last(keep_only(socket));
    super::process::exit_now(code)
}

fn keep_only(socket: BorrowedFd<'_>) -> nix::Result<BorrowedFd<'static>> {
    const SOCKET_NUMBER: RawFd = 3;
    if socket.as_raw_fd() != SOCKET_NUMBER {
        // SAFETY: integers only. Whoever owns number 3 is not used again: `finish_alone` never returns.
        Errno::result(unsafe { libc::dup3(socket.as_raw_fd(), SOCKET_NUMBER, libc::O_CLOEXEC) })?;
    }
    // SAFETY: as above, for all higher numbers.
    Errno::result(unsafe { libc::close_range(4, u32::MAX, 0) })?;
    // SAFETY: number 3 was opened above and stays open until execve or exit.
    Ok(unsafe { BorrowedFd::borrow_raw(SOCKET_NUMBER) })
}
