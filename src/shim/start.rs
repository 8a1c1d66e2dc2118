//! From a freshly executed process to the loop of one pod.
//!
//! ```text
//!   holdfastd ── executes once ──▶ server ── forks for each pod ──▶ shim
//!       └──── NEW_POD, descriptors ───┘
//! ```

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
use holdfast_kernel::sys::process::Forked;
use holdfast_kernel::sys::{credential, fdpass, memfd, path, process, signal};
use holdfast_launch::ShimNamespaces;
use holdfast_wire::NEW_POD;

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
    /// The daemon's socket cannot be read.
    #[error("read the daemon's socket")]
    Daemon(#[source] std::io::Error),
    /// The loop cannot wait for events.
    #[error("cannot wait for events")]
    Loop(#[source] Errno),
}

/// Serves pods until the daemon has ended. Standard input is a `SOCK_SEQPACKET` socket that is connected to the
/// daemon, standard error the log. For each packet of the daemon a child is forked, which serves one pod until the
/// daemon shuts it down. A packet is [`NEW_POD`] with two descriptors: a listening `SOCK_SEQPACKET` socket and the
/// pod's state directory. The calling process exits with 0 at once.
///
/// The children have what was made once: the pages of this process, the pause program and the host's namespaces. They
/// know nothing of each other's pods, because this process looks at none.
///
/// # Errors
/// The step that failed, in this process or in a child of it.
pub fn serve() -> Result<(), ServeError> {
    let step = |name: &'static str| move |errno: Errno| ServeError::Start(name, errno);
    descriptor::close_inherited().map_err(step("close inherited descriptors"))?;
    let daemon = descriptor::duplicate(descriptor::inherited(Stream::Input))
        .map_err(step("take the daemon's socket"))?;
    let null = path::open(c"/dev/null", OFlag::O_RDWR).map_err(step("open /dev/null"))?;
    for stream in [Stream::Input, Stream::Output] {
        descriptor::install(null.as_fd(), stream)
            .map_err(step("let go of the standard streams"))?;
    }
    process::detach().map_err(step("fork"))?;
    become_unkillable().map_err(step("set up the process"))?;
    let common = Common {
        null,
        shim_namespaces: ShimNamespaces::open().map_err(step("open the host's namespaces"))?,
        program: memfd::create_sealed_executable(c"holdfast-pause", PAUSE_PROGRAM)
            .map_err(ServeError::Program)?,
    };
    match next_pod(daemon)? {
        None => Ok(()),
        Some(pod) => {
            become_guardian().map_err(step("set up the process"))?;
            let mut shim = build(pod, common)?;
            shim.run().map_err(ServeError::Loop)
        }
    }
}

/// Facts that all shims have in common.
struct Common {
    null: OwnedFd,
    shim_namespaces: ShimNamespaces,
    /// The pause program in a sealed memfd.
    program: OwnedFd,
}

/// The descriptors that a new shim gets for its pod.
struct NewPod {
    listener: OwnedFd,
    state_directory: OwnedFd,
}

/// Forks for each packet of the daemon. Returns a pod in each child, and none in this process when the daemon has ended.
fn next_pod(daemon: OwnedFd) -> Result<Option<NewPod>, ServeError> {
    loop {
        let mut packet = [0; NEW_POD.len()];
        let (length, descriptors) =
            fdpass::recv_packet(daemon.as_fd(), &mut packet).map_err(ServeError::Daemon)?;
        if length == 0 {
            return Ok(None);
        }
        let Ok([listener, state_directory]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            continue;
        };
        #[cfg(feature = "fault")]
        holdfast_kernel::fault::attach_pod("shim", state_directory.as_fd());
        let forking = fault::mark("shim.fork");
        match process::fork() {
            Ok(Forked::Child) => {
                return Ok(Some(NewPod {
                    listener,
                    state_directory,
                }));
            }
            Ok(Forked::Parent) => {}
            // The daemon sees that the socket of the pod has nobody behind it.
            Err(errno) => report(&ServeError::Start("fork for a pod", errno)),
        }
        forking.leave_to_child();
    }
}

/// Writes an error that ends nothing to the log.
fn report(error: &ServeError) {
    let text = format!("holdfast-shim: {}\n", holdfast_kernel::error_chain(error));
    // Nobody is left to hear that the log cannot be written.
    let _ = descriptor::write(descriptor::inherited(Stream::Error), text.as_bytes());
}

/// Sets what lets this process and its children live on through signals and want of memory.
fn become_unkillable() -> nix::Result<()> {
    process::start_session()?;
    signal::reset()?;
    for ignored in IGNORED {
        signal::ignore(ignored)?;
    }
    // Shims that have ended leave no zombies.
    signal::ignore(Signal::SIGCHLD)?;
    nix::sys::prctl::set_name(c"holdfast-shims")?;
    // Without CAP_SYS_RESOURCE the score cannot fall below the lowest that was ever set for it.
    if let Ok(file) = path::open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY) {
        let _ = descriptor::write(file.as_fd(), OOM_SCORE);
    }
    credential::set_undumpable()
}

/// Sets what makes this process the parent and last survivor of a pod.
fn become_guardian() -> nix::Result<()> {
    process::start_session()?;
    credential::become_subreaper()?;
    signal::notice_children()?;
    // Run from a memfd, the process would be called by a descriptor's number.
    nix::sys::prctl::set_name(c"holdfast-shim")?;
    Ok(())
}

fn build(pod: NewPod, common: Common) -> Result<Shim, ServeError> {
    let step = |name: &'static str| move |errno: Errno| ServeError::Start(name, errno);
    descriptor::set_nonblocking(pod.listener.as_fd())
        .map_err(step("set up the listening socket"))?;
    let shim = Shim {
        poll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(step("create an epoll set"))?,
        listener: pod.listener,
        signals: signal::child_descriptor().map_err(step("create a signal descriptor"))?,
        state_directory: pod.state_directory,
        shim_namespaces: common.shim_namespaces,
        null: common.null,
        program: common.program,
        network: None,
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
