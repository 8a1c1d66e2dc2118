//! Messages from a child to the shim before the child executes its program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::sysctl;
use holdfast_kernel::sys::fdpass;
use holdfast_wire::plan::{ContainerPlan, Mount, MountSource, PausePlan, Process, Propagation};
use holdfast_wire::{MountedObject, Object, Step};

/// All steps in the order of their numbers.
const STEPS: [Step; 31] = [
    Step::Admit,
    Step::Plan,
    Step::MountNamespace,
    Step::Clone,
    Step::Cgroup,
    Step::Join,
    Step::Hostname,
    Step::Sysctl,
    Step::IdMap,
    Step::HostPath,
    Step::Rootfs,
    Step::MountTarget,
    Step::Mount,
    Step::Device,
    Step::MaskedPath,
    Step::ReadonlyPath,
    Step::RootfsFlags,
    Step::Pivot,
    Step::Terminal,
    Step::Rlimit,
    Step::OomScore,
    Step::WorkingDirectory,
    Step::User,
    Step::Capabilities,
    Step::NoNewPrivileges,
    Step::Seccomp,
    Step::Label,
    Step::Exec,
    Step::Vanished,
    Step::Control,
    Step::Hook,
];

/// Where in its plan a child is: a step and which of the plan's objects it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The step that was begun.
    pub step: Step,
    /// Index in the step's list; 0 when it has none.
    pub index: u16,
}

impl Position {
    /// The position as one number, for the shared page and for packets.
    pub(super) fn pack(self) -> u32 {
        (self.step as u32) << 16 | u32::from(self.index)
    }

    /// The position that a number stands for.
    pub(super) fn unpack(number: u32) -> Self {
        let [low, high, step, _] = number.to_le_bytes();
        Self {
            step: STEPS
                .get(usize::from(step))
                .copied()
                .unwrap_or(Step::Vanished),
            index: u16::from_le_bytes([low, high]),
        }
    }
}

/// A message on the report socket of a launch.
#[derive(Debug)]
pub enum Message {
    /// The child gives up and exits.
    Failed {
        /// Where in its plan the child is.
        position: Position,
        /// The kernel's error number.
        errno: Errno,
    },
    /// The machine refused a setting that the process can do without.
    Degraded {
        /// Where in the plan the setting stands.
        position: Position,
        /// The kernel's error number.
        errno: Errno,
    },
    /// The main side of the process' terminal.
    Terminal(OwnedFd),
    /// The child waits until the hooks of a stage have been run.
    Waiting(Stage),
    /// The socket is closed: the program was executed, or the child is gone.
    End,
}

/// Where a container's child waits for its hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The root is complete, and is not the root yet.
    BeforeRoot,
    /// Only the program is still to be executed.
    BeforeProgram,
}

impl Stage {
    /// The index of [`Step::Hook`] that stands for it.
    fn index(self) -> u16 {
        match self {
            Self::BeforeRoot => 0,
            Self::BeforeProgram => 1,
        }
    }
}

const FAILED: u8 = 1;
const DEGRADED: u8 = 2;
const TERMINAL: u8 = 3;
const WAITING: u8 = 4;

/// Bytes of a packet: kind, position, errno.
const PACKET_BYTES: usize = 9;

/// The child's end of the report socket.
#[derive(Debug)]
pub(super) struct Reporter<'a> {
    socket: BorrowedFd<'a>,
    progress: &'a AtomicU32,
}

impl<'a> Reporter<'a> {
    /// Makes the reporter of a child over its end of the report socket.
    pub(super) fn new(socket: BorrowedFd<'a>, progress: &'a AtomicU32) -> Self {
        Self { socket, progress }
    }

    /// Returns the descriptor of the report socket.
    pub(super) fn socket(&self) -> BorrowedFd<'a> {
        self.socket
    }

    /// The same reporter over another descriptor of its socket.
    pub(super) fn over(&self, socket: BorrowedFd<'a>) -> Self {
        Self::new(socket, self.progress)
    }

    /// Notes that a step begins. A failure from here on is this step's.
    pub(super) fn at(&self, step: Step, index: usize) {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        self.progress
            .store(Position { step, index }.pack(), Ordering::Relaxed);
    }

    /// Says that the present step was left out.
    pub(super) fn degraded(&self, errno: Errno) {
        // Without a listener there is nobody who could use the note.
        let _ = self.send(DEGRADED, errno, &[]);
    }

    /// Says that the present step failed.
    pub(super) fn failed(&self, errno: Errno) {
        let _ = self.send(FAILED, errno, &[]);
    }

    /// Hands over a terminal's main side.
    pub(super) fn terminal(&self, main: BorrowedFd<'_>) -> nix::Result<()> {
        self.send(TERMINAL, Errno::UnknownErrno, &[main])
    }

    /// Waits until the shim has run the hooks of a stage.
    pub(super) fn await_hooks(&self, stage: Stage) -> nix::Result<()> {
        self.at(Step::Hook, usize::from(stage.index()));
        self.send(WAITING, Errno::UnknownErrno, &[])?;
        self.await_release()
    }

    /// Waits for the shim's word to go on.
    pub(super) fn await_release(&self) -> nix::Result<()> {
        match holdfast_kernel::sys::descriptor::read(self.socket, &mut [0])? {
            0 => Err(Errno::EPIPE),
            _ => Ok(()),
        }
    }

    fn send(&self, kind: u8, errno: Errno, descriptors: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let mut packet = [kind; PACKET_BYTES];
        packet[1..5].copy_from_slice(&self.progress.load(Ordering::Relaxed).to_le_bytes());
        packet[5..9].copy_from_slice(&(errno as i32).to_le_bytes());
        fdpass::send_packet(self.socket, &packet, descriptors)
            .map_err(|error| holdfast_kernel::sys::errno_of(&error))
    }
}

/// Reads one message from the shim's end; `None` when the child has not sent any yet.
pub(super) fn receive(socket: &OwnedFd) -> io::Result<Option<Message>> {
    let mut packet = [0; PACKET_BYTES];
    let (length, mut descriptors) = match fdpass::recv_packet(socket.as_fd(), &mut packet) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        // The kernel says so when the child has closed its end with a packet of ours unread.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            return Ok(Some(Message::End));
        }
        other => other?,
    };
    if length == 0 {
        return Ok(Some(Message::End));
    }
    let [kind, p0, p1, p2, p3, e0, e1, e2, e3] = packet;
    let position = Position::unpack(u32::from_le_bytes([p0, p1, p2, p3]));
    let errno = Errno::from_raw(i32::from_le_bytes([e0, e1, e2, e3]));
    match (kind, descriptors.pop()) {
        (FAILED, _) => Ok(Some(Message::Failed { position, errno })),
        (DEGRADED, _) => Ok(Some(Message::Degraded { position, errno })),
        (TERMINAL, Some(main)) => Ok(Some(Message::Terminal(main))),
        (WAITING, _) if position.index == Stage::BeforeRoot.index() => {
            Ok(Some(Message::Waiting(Stage::BeforeRoot)))
        }
        (WAITING, _) => Ok(Some(Message::Waiting(Stage::BeforeProgram))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn text(bytes: Option<&CString>) -> String {
    bytes.map_or_else(String::new, |bytes| bytes.to_string_lossy().into_owned())
}

fn path(bytes: Option<&CString>) -> Object {
    bytes.map_or_else(Object::none, |bytes| Object::Path(text(Some(bytes))))
}

/// The object that a step of the pause is about.
pub fn describe_pause(plan: &PausePlan, position: Position) -> Object {
    let index = usize::from(position.index);
    match position.step {
        Step::Hostname => text(plan.hostname.as_ref()).into(),
        Step::Sysctl => plan
            .sysctls
            .get(index)
            .map_or_else(Object::none, sysctl::describe),
        Step::User => format!("user {} group {}", plan.uid, plan.gid).into(),
        Step::Mount => Object::Path("/shm".to_owned()),
        _ => Object::none(),
    }
}

/// The object that a step of a container is about.
pub fn describe_container(plan: &ContainerPlan, position: Position) -> Object {
    let index = usize::from(position.index);
    match position.step {
        Step::IdMap => match plan.mounts.get(index).map(describe_mount) {
            Some(
                mount @ Object::Mount {
                    source: MountedObject::Tree { .. },
                    ..
                },
            ) => mount,
            _ => "the directory of the images".into(),
        },
        Step::HostPath | Step::MountTarget | Step::Mount => plan
            .mounts
            .get(index)
            .map_or_else(Object::none, describe_mount),
        Step::Rootfs => path(plan.lower.get(index).or(Some(&plan.upper))),
        Step::Device => match plan.devices.get(index) {
            Some(device) => path(Some(&device.target)),
            None => {
                let link = plan.symlinks.get(index.saturating_sub(plan.devices.len()));
                path(link.map(|link| &link.0))
            }
        },
        Step::MaskedPath => path(plan.masked_paths.get(index)),
        Step::ReadonlyPath => path(plan.readonly_paths.get(index)),
        _ => describe_exec(&plan.process, position),
    }
}

fn describe_mount(mount: &Mount) -> Object {
    let source = match &mount.source {
        MountSource::New { fs_type, .. } => MountedObject::New(text(Some(fs_type))),
        MountSource::Image { sub_path, .. } => MountedObject::Image(text(Some(sub_path))),
        MountSource::Tree { path, .. } => MountedObject::Tree {
            path: text(Some(path)),
            spreads: mount.propagation != Propagation::Private,
        },
    };
    Object::Mount {
        target: text(Some(&mount.target)),
        source,
    }
}

/// The object that a step of a process is about.
pub fn describe_exec(process: &Process, position: Position) -> Object {
    let index = usize::from(position.index);
    match position.step {
        Step::Rlimit => {
            process
                .rlimits
                .get(index)
                .map_or_else(Object::none, |(resource, soft, hard)| {
                    format!("resource {resource} to {soft}, at most {hard}").into()
                })
        }
        Step::OomScore => process
            .oom_score_adj
            .map_or_else(Object::none, |score| score.to_string().into()),
        Step::WorkingDirectory => path(Some(&process.cwd)),
        Step::User => format!("user {} group {}", process.uid, process.gid).into(),
        Step::Capabilities => format!("permitted {:#x}", process.capabilities.permitted).into(),
        Step::Label => text(process.apparmor.as_ref().or(process.selinux.as_ref())).into(),
        Step::Terminal => Object::Path("/dev/pts/ptmx".to_owned()),
        Step::Exec => path(process.args.first()),
        _ => Object::none(),
    }
}
