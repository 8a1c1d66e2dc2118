//! The clone itself, the same for all kinds of launch.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use super::cgroup::{Birth, CgroupDirectories};
use super::report::{self, Message, Position, Reporter};
use super::shim_namespaces::ShimNamespaces;
use holdfast_kernel::fault;
use holdfast_kernel::sys::clone::{self, Child};
use holdfast_kernel::sys::memory::Shared;
use holdfast_kernel::sys::namespace::{self, CloneFlags};
use holdfast_kernel::sys::{credential, descriptor, limit, process};
use holdfast_wire::{Failure, Step};

/// A launch under way: the child walks its plan.
#[derive(Debug)]
pub struct Launch {
    /// The cloned process and its pidfd.
    pub child: Child,
    socket: OwnedFd,
    progress: Shared,
}

impl Launch {
    /// The report socket: readable when [`Self::receive`] has something.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes one message of the child; `None` when the child has not sent any yet.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn receive(&self) -> io::Result<Option<Message>> {
        report::receive(&self.socket)
    }

    /// Lets a child go on that waits in its `await_release`.
    ///
    /// # Errors
    /// Those of write(2): the child is gone.
    pub fn release(&self) -> nix::Result<()> {
        descriptor::write(self.socket.as_fd(), b"1").map(drop)
    }

    /// The step at which the child is.
    pub fn position(&self) -> Position {
        Position::unpack(self.progress.number().load(Ordering::Relaxed))
    }
}

/// The inputs of the clone.
pub(super) struct Start<'a> {
    /// Namespaces made by the clone.
    pub(super) namespaces: CloneFlags,
    /// A process whose pid namespace the child is to be in.
    pub(super) pid_namespace: Option<BorrowedFd<'a>>,
    /// Cgroups of the child.
    pub(super) cgroup: &'a CgroupDirectories,
    /// Where in the v2 tree the child starts, when that is not `cgroup`'s own directory.
    pub(super) unified: Option<BorrowedFd<'a>>,
    pub(super) shim_namespaces: &'a ShimNamespaces,
}

impl Start<'_> {
    /// Clones a child, which runs `walk` until it executes its program.
    pub(super) fn run(
        &self,
        mut walk: impl FnMut(&Reporter<'_>) -> nix::Result<Infallible>,
    ) -> Result<Launch, Failure> {
        let failure = |errno: Errno| {
            let namespaces = format!("with namespaces {:#x}", self.namespaces.bits());
            Failure::errno(Step::Clone, errno as i32, namespaces)
        };
        let progress = Shared::new().map_err(failure)?;
        let (socket, childs) = descriptor::packet_pair().map_err(failure)?;
        descriptor::set_nonblocking(socket.as_fd()).map_err(failure)?;
        let mut socket = Some(socket);
        let mut body = |birth: Birth| {
            // This is the child's copy: with it closed, the child sees the shim's end close.
            socket = None;
            let reporter = Reporter::new(childs.as_fd(), progress.number());
            let Err(errno) = self.begin(&reporter, birth).and_then(|()| walk(&reporter));
            reporter.failed(errno);
            1
        };
        let cloned = fault::mark("shim.clone");
        let child = self.clone_child(&mut body).map_err(failure)?;
        drop(cloned);
        let socket = socket.ok_or_else(|| failure(Errno::EBADF))?;
        Ok(Launch {
            child,
            socket,
            progress,
        })
    }

    fn clone_child(&self, body: &mut impl FnMut(Birth) -> i32) -> nix::Result<Child> {
        if let Some(process) = self.pid_namespace {
            namespace::join(process, CloneFlags::CLONE_NEWPID)?;
        }
        let unified = self.unified.or_else(|| self.cgroup.unified());
        let mut result = Err(Errno::EOPNOTSUPP);
        if unified.is_some() {
            result = clone::spawn(self.namespaces, unified, || body(Birth::InsideCgroup));
        }
        if let Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::E2BIG) = result {
            result = clone::spawn(self.namespaces, None, || body(Birth::OutsideCgroup));
        }
        if self.pid_namespace.is_some() {
            namespace::join(self.shim_namespaces.pids.as_fd(), CloneFlags::CLONE_NEWPID)?;
        }
        result
    }

    /// Carries out the first steps of every child.
    fn begin(&self, reporter: &Reporter<'_>, birth: Birth) -> nix::Result<()> {
        reporter.at(Step::Cgroup, 0);
        self.cgroup.enter(birth)?;
        process::start_session()?;
        // Modes are given exactly; the plan's own mask is set at the end.
        credential::set_file_mode_mask(0);
        // The daemon may have bound the shim to some processors; a refusal leaves only that binding.
        let _ = limit::clear_affinity();
        Ok(())
    }
}
