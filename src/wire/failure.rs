//! A step that failed, as the shim reports it, and its one rendering.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::exit_status::ExitStatus;

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// The object of the step.
    pub object: Object,
    /// Why the step failed.
    pub cause: Cause,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The kernel refused a system call with this error number.
    Errno(i32),
    /// The process ended before it could report.
    Ended(ExitStatus),
    /// The step took longer than this number of seconds.
    TimedOut(u64),
    /// A program or a check said so, in these words.
    Said(String),
}

/// The object of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A name, a value, or nothing that is not in the step.
    Text(String),
    /// A path: of the container, or below the store for layers.
    Path(String),
    /// A mount of the plan.
    Mount {
        /// The mount's path in the container.
        target: String,
        /// The object that was to be mounted.
        source: MountedObject,
    },
    /// A kernel parameter below /proc/sys.
    Sysctl {
        /// The path below /proc/sys.
        path: String,
        /// The value to write.
        value: String,
    },
}

/// The object that was to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountedObject {
    /// A new file system of this type.
    New(String),
    /// This directory of an image; empty for the image's root.
    Image(String),
    /// A tree of another mount namespace.
    Tree {
        /// The tree's path there.
        path: String,
        /// Mounts propagate into the container, or in both directions.
        spreads: bool,
    },
}

/// Steps of a launch, in the order in which they run, and those of other requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Check that the request fits the shim's state (the object says why it does not).
    Admit,
    /// Read the launch plan.
    Plan,
    /// Enter the small mount namespace.
    MountNamespace,
    /// Clone the process with clone3(2).
    Clone,
    /// Enter the cgroup of the process.
    Cgroup,
    /// Enter the namespaces of the pause or of the container.
    Join,
    /// Set the host name.
    Hostname,
    /// Write a value below /proc/sys.
    Sysctl,
    /// Write the user namespace's mappings.
    IdMap,
    /// Open a host path.
    HostPath,
    /// Mount the root file system.
    Rootfs,
    /// Prepare a mount's target in the root file system.
    MountTarget,
    /// Mount a file system or a tree.
    Mount,
    /// Make a device node.
    Device,
    /// Hide a path of the container.
    MaskedPath,
    /// Make a path read-only.
    ReadonlyPath,
    /// Make the root read-only or set its propagation.
    RootfsFlags,
    /// Change to the new root.
    Pivot,
    /// Open the terminal of the process.
    Terminal,
    /// Set a resource limit.
    Rlimit,
    /// Set the OOM score adjustment.
    OomScore,
    /// Enter the working directory.
    WorkingDirectory,
    /// Set groups and user.
    User,
    /// Set the capabilities of the process.
    Capabilities,
    /// Forbid new privileges: no_new_privs of prctl(2).
    NoNewPrivileges,
    /// Load the seccomp filter.
    Seccomp,
    /// Set the AppArmor or SELinux label.
    Label,
    /// Execute the program of the process.
    Exec,
    /// Come as far as a report: the process ended before.
    Vanished,
    /// Change a log file, a terminal or a signal.
    Control,
    /// Run a hook (the object names the hook).
    Hook,
}

impl Step {
    /// The step as the verb of a sentence.
    fn verb(self) -> &'static str {
        match self {
            Self::Admit => "carry out the request",
            Self::Plan => "read the launch plan",
            Self::MountNamespace => "enter the mount namespace of the shims",
            Self::Clone => "clone the process",
            Self::Cgroup => "enter the cgroup",
            Self::Join => "join the namespaces",
            Self::Hostname => "set the host name",
            Self::Sysctl => "set the sysctl",
            Self::IdMap => "map the owners of",
            Self::HostPath => "open",
            Self::Rootfs => "mount the root file system",
            Self::MountTarget => "make the mount point",
            Self::Mount => "mount",
            Self::Device => "make the device node",
            Self::MaskedPath => "mask",
            Self::ReadonlyPath => "make read-only",
            Self::RootfsFlags => "set the flags of the root file system",
            Self::Pivot => "change to the new root",
            Self::Terminal => "open the terminal",
            Self::Rlimit => "set the limit of",
            Self::OomScore => "set the OOM score adjustment",
            Self::WorkingDirectory => "enter the working directory",
            Self::User => "become",
            Self::Capabilities => "set the capabilities",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::Seccomp => "load the seccomp filter",
            Self::Label => "set the security label",
            Self::Exec => "execute",
            Self::Vanished => "start the process",
            Self::Control => "change",
            Self::Hook => "run",
        }
    }
}

impl Failure {
    /// A step in which the kernel refused a system call.
    pub fn errno(step: Step, errno: i32, object: impl Into<Object>) -> Self {
        Self {
            step,
            object: object.into(),
            cause: Cause::Errno(errno),
        }
    }

    /// The end of a process that came to no report.
    pub fn ended(status: ExitStatus) -> Self {
        Self {
            step: Step::Vanished,
            object: Object::none(),
            cause: Cause::Ended(status),
        }
    }

    /// The kernel's error number, when the kernel refused.
    pub fn number(&self) -> Option<i32> {
        match self.cause {
            Cause::Errno(number) => Some(number),
            Cause::Ended(_) | Cause::TimedOut(_) | Cause::Said(_) => None,
        }
    }

    /// Whether the process ended by this signal before it could report.
    pub fn is_killed_by(&self, signal: i32) -> bool {
        self.cause == Cause::Ended(ExitStatus::Signal(signal))
    }
}

impl Object {
    /// The object of a step that has none.
    pub fn none() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Object {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Object {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            step,
            object,
            cause,
        } = self;
        match (step, object, cause) {
            // What the shim's state does not allow is a sentence of its own.
            (Step::Admit, Object::Text(text), _) if !text.is_empty() => return f.write_str(text),
            (Step::Hook, object, Cause::Said(said)) => return write!(f, "{object} {said}"),
            _ => {}
        }
        write!(f, "cannot {}", step.verb())?;
        match (step, object) {
            (_, Object::Text(text)) if text.is_empty() => {}
            (Step::MountTarget, Object::Mount { target, .. }) => write!(f, " {target}")?,
            (Step::HostPath | Step::IdMap, Object::Mount { source, .. }) => write!(f, " {source}")?,
            (_, object) => write!(f, " {object}")?,
        }
        write!(f, ": {cause}")
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Path(text) => f.write_str(text),
            Self::Mount { target, source } => write!(f, "{source} on {target}"),
            Self::Sysctl { path, value } => write!(f, "{path}={value}"),
        }
    }
}

impl fmt::Display for MountedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(text) | Self::Tree { path: text, .. } => f.write_str(text),
            Self::Image(directory) if directory.is_empty() => f.write_str("the image"),
            Self::Image(directory) => write!(f, "directory {directory:?} of the image"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(number) => io::Error::from_raw_os_error(*number).fmt(f),
            Self::Ended(ExitStatus::Code(code)) => {
                write!(f, "it ended with exit code {code} before its program ran")
            }
            Self::Ended(ExitStatus::Signal(signal)) => {
                write!(f, "signal {signal} killed it before its program ran")
            }
            Self::TimedOut(seconds) => write!(f, "no answer within {seconds} s"),
            Self::Said(said) => f.write_str(said),
        }
    }
}
