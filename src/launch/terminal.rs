//! The terminal of a process, from its container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;

use super::report::Reporter;
use super::target::{self, Kind};
use holdfast_kernel::sys::mount::{self, Depth};
use holdfast_kernel::sys::path::{self, Links};
use holdfast_kernel::sys::tty;
use holdfast_wire::Step;

/// Opens a terminal, hands its main side to the shim and returns the other.
pub(super) fn open(
    root: BorrowedFd<'_>,
    user: u32,
    reporter: &Reporter<'_>,
) -> nix::Result<OwnedFd> {
    reporter.at(Step::Terminal, 0);
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let main = path::open_in_root(root, c"/dev/pts/ptmx", flags, Links::Refuse)?;
    let peer = tty::open_peer(main.as_fd())?;
    path::give_to_user(peer.as_fd(), user)?;
    reporter.terminal(main.as_fd())?;
    Ok(peer)
}

/// Makes /dev/console the terminal. Both ends are descriptors, so that no path can be changed between
/// looking and mounting.
pub(super) fn bind_console(root: BorrowedFd<'_>, peer: BorrowedFd<'_>) -> nix::Result<()> {
    let console = target::ensure(root, b"/dev/console", Kind::File)?;
    let tree = mount::clone_tree(peer, c"", Depth::Single)?;
    mount::attach(tree.as_fd(), console.as_fd())
}

/// Makes a terminal the controlling one of this process' session and its standard streams.
pub(super) fn take_controlling_terminal(
    peer: BorrowedFd<'_>,
    reporter: &Reporter<'_>,
) -> nix::Result<()> {
    use holdfast_kernel::sys::descriptor::{Stream, install};
    reporter.at(Step::Terminal, 0);
    tty::make_controlling(peer)?;
    install(peer, Stream::Input)?;
    install(peer, Stream::Output)?;
    install(peer, Stream::Error)
}
