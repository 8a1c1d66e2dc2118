//! Starts shims. The only place of the daemon that starts a process of our own.
//!
//! ```text
//!   holdfastd ── executes at the first pod ──▶ server ── forks ──▶ shim of pod a
//!       └── listening socket, state directory ──▶   └── forks ──▶ shim of pod b
//! ```
//!
//! Shims run from a sealed memfd copy of their program, made once: nothing in a pod can reach the file on
//! disk, all shims share its pages, and replacing the file does not disturb running pods. A fork costs a third of
//! executing the program for each pod, and its child has the server's pages.
//!
//! The server leaves its first process at once, so the daemon is the parent of nothing that must outlive it. It ends
//! with the daemon. One that has ended before is replaced at the next pod; the pods that it forked run on.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::link::SOCKET_NAME;
use holdfast_kernel::fault;
use holdfast_kernel::sys::{descriptor, fdpass, memfd};
use holdfast_wire::{Greeting, NEW_POD, Protocols, UnspokenProtocol};

/// Largest shim program that is accepted: far more than it is.
const PROGRAM_LIMIT: u64 = 64 << 20;

/// How long the server of the shims may leave its queue full.
const QUEUE_DEADLINE: Duration = Duration::from_secs(5);

/// Why a shim could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// The program cannot be read.
    #[error("cannot read the shim program {}", path.display())]
    Program {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The socket in the pod's state directory cannot be made.
    #[error("cannot listen on {SOCKET_NAME} in the pod's state directory")]
    Socket(#[source] io::Error),
    /// The process cannot be started.
    #[error("cannot start its process")]
    Start(#[source] io::Error),
    /// The first process of the program failed.
    #[error("the shim program ended at its start: {0}; its log has the reason")]
    Ended(ExitStatus),
    /// The server of the shims does not take a pod.
    #[error("cannot hand the pod to the server of the shims")]
    HandOver(#[source] io::Error),
    /// The disposable process did not send a mount namespace.
    #[error("cannot make the mount namespace of the shims")]
    MountNamespace(#[source] io::Error),
    /// The program is of another release, with which this one cannot speak.
    #[error(
        "the shim program is of another release: install holdfastd and holdfast-shim of the same one"
    )]
    Release(#[source] UnspokenProtocol),
}

/// The shim program, and the small mount namespace in which all shims live.
#[derive(Debug)]
pub(super) struct Spawner {
    program: OwnedFd,
    /// The socket of the server that forks shims, once there is one.
    server: Mutex<Option<OwnedFd>>,
    mount_namespace: OwnedFd,
    greeting: Greeting,
}

impl Spawner {
    /// Copies the program and makes the mount namespace, which has `store` bound at
    /// [`holdfast_wire::plan::STORE_MOUNT`].
    ///
    /// # Errors
    /// The program cannot be read or does not work on this machine.
    pub(super) fn new(program: &Path, store: &Path) -> Result<Self, SpawnError> {
        let program = seal(program).map_err(|source| SpawnError::Program {
            path: program.to_owned(),
            source,
        })?;
        let (mount_namespace, greeting) = make_mount_namespace(&program, store)?;
        Ok(Self {
            program,
            server: Mutex::new(None),
            mount_namespace,
            greeting,
        })
    }

    /// The mount namespace that a new shim is to enter.
    pub(super) fn mount_namespace(&self) -> BorrowedFd<'_> {
        self.mount_namespace.as_fd()
    }

    /// Why pods cannot have user namespaces of their own on this machine; none when they can.
    pub(super) fn user_namespace_problem(&self) -> Option<&str> {
        Some(self.greeting.user_namespace_problem.as_str()).filter(|problem| !problem.is_empty())
    }

    /// The versions of the protocol that new shims speak.
    pub(super) fn protocols(&self) -> Protocols {
        self.greeting.protocols
    }

    /// Asks for a shim that listens in the pod's state directory. Its socket can be connected to at once; a shim that
    /// could not be forked shows there as one that has ended. Blocks for some microseconds, for a millisecond when the
    /// server is started.
    ///
    /// # Errors
    /// The socket or the server cannot be made. There is no shim then.
    pub(super) fn shim(&self, state: BorrowedFd<'_>) -> Result<(), SpawnError> {
        let _step = fault::step("shim.spawn").map_err(|errno| SpawnError::Start(errno.into()))?;
        let listener = listen_in(state).map_err(SpawnError::Socket)?;
        let _run = fault::mark("shim.run");
        // Nothing that can panic leaves a half-made socket behind.
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &*server {
            match hand_over(socket, &listener, state) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // One that has ended has taken nothing. One that hangs ends when its socket closes.
                    tracing::warn!(%error, "the server of the shims does not answer; another one is started");
                    *server = None;
                }
            }
        }
        let socket = start_server(&self.program)?;
        hand_over(&socket, &listener, state).map_err(SpawnError::HandOver)?;
        *server = Some(socket);
        Ok(())
    }
}

fn hand_over(socket: &OwnedFd, listener: &OwnedFd, state: BorrowedFd<'_>) -> io::Result<()> {
    fdpass::send_packet(socket.as_fd(), NEW_POD, &[listener.as_fd(), state])
}

/// Starts the server that forks shims. It ends when the socket that is returned closes.
fn start_server(program: &OwnedFd) -> Result<OwnedFd, SpawnError> {
    let (ours, theirs) =
        descriptor::packet_pair().map_err(|errno| SpawnError::Start(errno.into()))?;
    let deadline =
        TimeVal::milliseconds(i64::try_from(QUEUE_DEADLINE.as_millis()).unwrap_or(i64::MAX));
    setsockopt(&ours, SendTimeout, &deadline).map_err(|errno| SpawnError::Start(errno.into()))?;
    run(command(program).arg("serve").stdin(theirs))?;
    Ok(ours)
}

/// Runs the program until its first process has ended.
fn run(command: &mut Command) -> Result<(), SpawnError> {
    let status = command
        .stdout(Stdio::null())
        .status()
        .map_err(SpawnError::Start)?;
    if status.success() {
        Ok(())
    } else {
        Err(SpawnError::Ended(status))
    }
}

/// A command that runs the sealed program with an empty environment and inherits the daemon's stderr.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where shims are started"
)]
fn command(program: &OwnedFd) -> Command {
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .arg0("holdfast-shim")
        .env_clear()
        .current_dir("/")
        .stderr(Stdio::inherit());
    command
}

fn seal(program: &Path) -> io::Result<OwnedFd> {
    let mut bytes = Vec::new();
    File::open(program)?
        .take(PROGRAM_LIMIT)
        .read_to_end(&mut bytes)?;
    memfd::create_sealed_executable(c"holdfast-shim", &bytes)
}

fn listen_in(state: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", state.as_raw_fd());
    bind(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket)
}

/// The namespace, and what the program says of itself.
fn make_mount_namespace(
    program: &OwnedFd,
    store: &Path,
) -> Result<(OwnedFd, Greeting), SpawnError> {
    let (ours, theirs) =
        descriptor::packet_pair().map_err(|errno| SpawnError::MountNamespace(errno.into()))?;
    run(command(program)
        .arg("mount-namespace")
        .arg(store)
        .stdin(theirs))?;
    let mut packet = [0; 512];
    let (length, mut descriptors) =
        fdpass::recv_packet(ours.as_fd(), &mut packet).map_err(SpawnError::MountNamespace)?;
    let namespace = descriptors
        .pop()
        .ok_or_else(|| SpawnError::MountNamespace(io::ErrorKind::UnexpectedEof.into()))?;
    let greeting = Greeting::decode(&packet[..length]).map_err(SpawnError::Release)?;
    Ok((namespace, greeting))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::pod::testing;
    use holdfast_kernel::error_chain;

    impl Spawner {
        /// A spawner whose program is empty, so that it starts nothing.
        pub(in crate::pod) fn of_test() -> Self {
            Self {
                program: memfd::create_sealed_executable(c"nothing", b"").unwrap(),
                server: Mutex::new(None),
                mount_namespace: File::open("/proc/self/ns/mnt").unwrap().into(),
                greeting: Greeting {
                    protocols: Protocols::OWN,
                    user_namespace_problem: String::new(),
                },
            }
        }

        fn running(program: &str) -> Self {
            Self {
                program: seal(Path::new(program)).unwrap(),
                ..Self::of_test()
            }
        }
    }

    #[test]
    fn a_program_that_is_no_shim_is_refused_with_what_it_did() {
        let (_guard, dir) = testing::dir();
        let cases = [
            (
                "/no/such/program",
                "cannot read the shim program /no/such/program: No such file",
            ),
            ("/", "cannot read the shim program /: Is a directory"),
            (
                "/etc/hostname",
                "cannot start its process: Exec format error",
            ),
            (
                "/bin/false",
                "the shim program ended at its start: exit status: 1; its log has the reason",
            ),
            // It ends well, and sends no namespace.
            (
                "/bin/true",
                "cannot make the mount namespace of the shims: unexpected end of file",
            ),
        ];
        for (program, wanted) in cases {
            let error = Spawner::new(Path::new(program), dir.path()).unwrap_err();
            let text = error_chain(&error);
            assert!(text.starts_with(wanted), "{program}: {text}");
        }
    }

    #[test]
    fn a_server_that_does_not_serve_is_told() {
        let (_guard, dir) = testing::dir();
        let error = Spawner::running("/bin/true").shim(dir.as_fd()).unwrap_err();
        assert!(matches!(error, SpawnError::HandOver(_)), "{error:?}");
        let (_guard, dir) = testing::dir();
        let error = Spawner::running("/bin/false")
            .shim(dir.as_fd())
            .unwrap_err();
        assert!(matches!(error, SpawnError::Ended(_)), "{error:?}");
        let error = Spawner::of_test().shim(dir.as_fd()).unwrap_err();
        assert!(
            matches!(error, SpawnError::Socket(_)),
            "a second shim of one pod: {error:?}"
        );
    }

    /// sun_path has 108 bytes. A state directory may be deeper, and the socket is reached all the same.
    #[test]
    fn a_socket_is_reached_however_deep_its_directory_is() {
        let temporary = tempfile::tempdir().unwrap();
        let deep = temporary.path().join("d".repeat(120)).join("e".repeat(120));
        let dir = holdfast_disk::Dir::create_root(&deep).unwrap();
        let listener: OwnedFd = listen_in(dir.as_fd()).unwrap();
        assert!(deep.join(SOCKET_NAME).exists());
        let name = nix::sys::socket::getsockname::<UnixAddr>(listener.as_raw_fd()).unwrap();
        assert!(name.path().is_some_and(|path| path.ends_with(SOCKET_NAME)));
    }
}
