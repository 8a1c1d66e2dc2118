//! From a freshly executed process to the loop.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::signal::Signal;

use super::output::Buffers;
use super::shim::{PACKET_BYTES, Shim, Token};
use holdfast_kernel::fault;
use holdfast_kernel::sys::descriptor::{self, Stream};
use holdfast_kernel::sys::memory::Buffer;
use holdfast_kernel::sys::{credential, memfd, path, process, signal};
use holdfast_launch::Places;

/// The pause program, which build.rs has compiled.
const PAUSE_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast-pause"));

/// OOM score adjustment of the shim: killed after everything that a pod runs, before the node's own.
const OOM_SCORE: &[u8] = b"-998";

/// Only the daemon's request ends a shim, not a signal that was meant for a group of processes.
const IGNORED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
];

/// Why a shim could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A step of the start failed.
    #[error("cannot start the shim: cannot {0}")]
    Start(&'static str, #[source] Errno),
    /// The pause program could not be prepared.
    #[error("cannot copy the pause program to a memfd")]
    Program(#[source] std::io::Error),
    /// The loop cannot wait for events.
    #[error("cannot wait for events")]
    Loop(#[source] Errno),
}

/// Serves one pod. Standard input is a listening `SOCK_SEQPACKET` socket, standard output the pod's state
/// directory, standard error the log. The calling process exits with 0 at once; a child of it that belongs
/// to nobody serves until the daemon shuts it down.
///
/// # Errors
/// The step that failed.
pub fn serve() -> Result<(), ServeError> {
    let step = |name: &'static str| move |errno: Errno| ServeError::Start(name, errno);
    descriptor::close_inherited().map_err(step("close inherited descriptors"))?;
    let inherited = |stream: Stream, name| {
        descriptor::duplicate(descriptor::inherited(stream)).map_err(step(name))
    };
    let listener = inherited(Stream::Input, "take the listening socket")?;
    let state_directory = inherited(Stream::Output, "take the state directory")?;
    let null = path::open(c"/dev/null", OFlag::O_RDWR).map_err(step("open /dev/null"))?;
    for stream in [Stream::Input, Stream::Output] {
        descriptor::install(null.as_fd(), stream)
            .map_err(step("let go of the standard streams"))?;
    }
    #[cfg(feature = "fault")]
    holdfast_kernel::fault::attach_pod("shim", state_directory.as_fd());
    let started = fault::mark("shim.detach");
    process::detach().map_err(step("fork"))?;
    drop(started);
    become_guardian().map_err(step("set up the process"))?;
    let mut shim = build(listener, state_directory, null)?;
    shim.run().map_err(ServeError::Loop)
}

/// Sets what makes this process the parent and last survivor of a pod.
fn become_guardian() -> nix::Result<()> {
    process::start_session()?;
    credential::become_subreaper()?;
    signal::reset()?;
    for ignored in IGNORED {
        signal::ignore(ignored)?;
    }
    // Run from a memfd, the process would be called by a descriptor's number.
    nix::sys::prctl::set_name(c"holdfast-shim")?;
    // Without CAP_SYS_RESOURCE the score cannot fall below the lowest that was ever set for it.
    if let Ok(file) = path::open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY) {
        let _ = descriptor::write(file.as_fd(), OOM_SCORE);
    }
    credential::set_undumpable()
}

fn build(listener: OwnedFd, state_directory: OwnedFd, null: OwnedFd) -> Result<Shim, ServeError> {
    let step = |name: &'static str| move |errno: Errno| ServeError::Start(name, errno);
    descriptor::set_nonblocking(listener.as_fd()).map_err(step("set up the listening socket"))?;
    let shim = Shim {
        poll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(step("create an epoll set"))?,
        listener,
        signals: signal::child_descriptor().map_err(step("create a signal descriptor"))?,
        state_directory,
        places: Places::open().map_err(step("open the host's namespaces"))?,
        null,
        program: memfd::create_sealed_executable(c"holdfast-pause", PAUSE_PROGRAM)
            .map_err(ServeError::Program)?,
        packet: Buffer::new(PACKET_BYTES).map_err(step("map the packet buffer"))?,
        daemon: None,
        pause: None,
        containers: Default::default(),
        execs: Default::default(),
        hooks: Default::default(),
        slots: 0,
        sequence: 0,
        buffers: Buffers::default(),
        ending: None,
    };
    shim.watch(shim.listener.as_fd(), Token::Listener);
    shim.watch(shim.signals.as_fd(), Token::Signals);
    Ok(shim)
}
