//! The messages of the protocol. The doc comment of a message lists its descriptors, in packet order.

use serde::{Deserialize, Serialize};

use super::exit_status::ExitStatus;
use super::failure::Failure;
use super::plan::Sysctl;
use super::protocol::Protocol;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;

/// A packet from the daemon to the shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToShim {
    /// Chosen by the daemon; the reply carries the same number.
    pub id: u64,
    /// The request of the daemon.
    pub body: Request,
}

/// A packet from the shim to the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromShim {
    /// The answer to the request with the same id.
    Reply {
        /// The request's id; 0, which no request has, for a packet that was not understood.
        id: u64,
        /// The answer of the shim.
        body: Reply,
    },
    /// Something happened in the pod.
    Event(Event),
}

/// A cgroup directory among a request's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupSlot {
    /// The cgroup v2 directory: the only one on pure v2, the controller-less one on hybrid machines.
    Unified,
    /// A cgroup v1 hierarchy with the memory controller.
    V1Memory,
    /// Any other cgroup v1 hierarchy.
    V1,
}

/// A request of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Start the pause process. Descriptors: the plan (memfd with a [`super::plan::PausePlan`]), the small
    /// mount namespace in which the shim is to live, then the network namespace of another pod when the plan joins
    /// one, then one cgroup directory for each slot. A plan that joins a network namespace after
    /// [`Request::MakeNetwork`] means the one that was made, and no descriptor comes for it.
    StartPause {
        /// Meaning of the cgroup descriptors.
        cgroup: Vec<CgroupSlot>,
    },
    /// Open a `NETLINK_ROUTE` socket inside the pod's network namespace. The reply has it as descriptor.
    OpenNetlink,
    /// Start a container. A request for one that is being started or runs joins that. The answer comes when the hooks
    /// of the start have been run. Descriptors: the plan (memfd with a [`super::plan::ContainerPlan`]), then the log
    /// file when `log`, then one cgroup directory for each slot.
    StartContainer {
        /// The container that is meant.
        container: ContainerId,
        /// A log file comes with the request; without it the output is discarded.
        log: bool,
        /// Meaning of the cgroup descriptors.
        cgroup: Vec<CgroupSlot>,
    },
    /// Run a further process in a container. Descriptors: the plan (memfd with a
    /// [`super::plan::ExecPlan`]), then those that `stdio` names.
    Exec {
        /// The container that is meant.
        container: ContainerId,
        /// Chosen by the daemon, unique for the pod's life; names the process in later messages.
        exec: u64,
        /// The standard streams of the process.
        stdio: ExecStdio,
    },
    /// Send a signal to a container's first process.
    Signal {
        /// The container that is meant.
        container: ContainerId,
        /// The signal's number on this architecture.
        signal: i32,
    },
    /// Kill every process of the container (its whole cgroup).
    Kill {
        /// The container that is meant.
        container: ContainerId,
    },
    /// Kill an exec process and everything that it started.
    KillExec {
        /// The number of the exec process.
        exec: u64,
    },
    /// Write further output to another file. Descriptor: the new log file.
    ReopenLog {
        /// The container that is meant.
        container: ContainerId,
    },
    /// Set the size of a container's terminal. That of an exec belongs to the daemon alone.
    Resize {
        /// The container that is meant.
        container: ContainerId,
        /// Which exec process of it, or the container's own terminal.
        exec: Option<u64>,
        /// The height in rows.
        height: u16,
        /// The width in columns.
        width: u16,
    },
    /// The exit event with this number is recorded; the shim may forget it.
    Acknowledge {
        /// The number of the event.
        sequence: u64,
    },
    /// Report everything that the shim knows: asked by a daemon that was started anew.
    Inventory,
    /// Forget an exited container: close its log and terminal.
    Forget {
        /// The container that is meant.
        container: ContainerId,
    },
    /// End the pause process and everything else, then exit. The reply comes before the exit.
    Shutdown,
    /// Copy a container's further output to pipes, until it ends or the other ends are closed. A client that
    /// does not empty its pipes is let go: it never holds up the container or its log. Descriptors: the write
    /// end for standard output when `stdout`, then that for standard error when `stderr`.
    Attach {
        /// The container that is meant.
        container: ContainerId,
        /// Chosen by the daemon, unique for the pod's life; names the client in [`Event::ClientDropped`].
        client: u64,
        /// Standard output, or what the terminal shows.
        stdout: bool,
        /// Standard error. A container with a terminal has none.
        stderr: bool,
        /// The client wants to write to the container.
        stdin: bool,
    },
    /// Open a TCP socket that is not connected inside the pod's network namespace. The reply is
    /// [`Reply::Netlink`].
    OpenTcp {
        /// The version of the Internet Protocol.
        family: IpFamily,
    },
    /// Tell which process the shim is.
    Identify,
    /// Set sysctls of the pod's network namespace, in this order.
    SetNetworkSysctls {
        /// The sysctls in the order in which they are set.
        sysctls: Vec<Sysctl>,
    },
    /// Make the pod's network namespace before the pause is started, which then joins it: so the network is set up
    /// while the pause starts. The reply has the namespace and a `NETLINK_ROUTE` socket inside it.
    MakeNetwork,
}

impl Request {
    /// The first version that has it.
    pub fn since(&self) -> Protocol {
        match self {
            Self::StartPause { .. }
            | Self::OpenNetlink
            | Self::StartContainer { .. }
            | Self::Exec { .. }
            | Self::Signal { .. }
            | Self::Kill { .. }
            | Self::KillExec { .. }
            | Self::ReopenLog { .. }
            | Self::Resize { .. }
            | Self::Acknowledge { .. }
            | Self::Inventory
            | Self::Forget { .. }
            | Self::Shutdown
            | Self::Attach { .. }
            | Self::OpenTcp { .. }
            | Self::Identify
            | Self::SetNetworkSysctls { .. }
            | Self::MakeNetwork => Protocol::OLDEST,
        }
    }
}

/// Versions of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpFamily {
    /// Version 4, RFC 791.
    V4,
    /// Version 6, RFC 8200.
    V6,
}

/// The input that an attached client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachedInput {
    /// Nothing: the container has no standard input, it was closed, or it was not asked for.
    None,
    /// The descriptor is the write end of its standard input. Of a container whose standard input is for one
    /// client only it is the last: closing it is the end of the input.
    Pipe,
    /// The descriptor is the main side of its terminal.
    Terminal,
}

/// Standard streams of an exec process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStdio {
    /// Descriptors: standard input, output and error. Passed to the process as they are.
    Descriptors,
    /// A new terminal in the container. The reply has its main side as descriptor, and nobody else keeps it:
    /// when the daemon closes it, the terminal hangs up.
    Terminal,
}

/// The shim's answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The request was carried out.
    Done,
    /// The pause process runs. Descriptors: its pidfd, then its network namespace.
    PauseStarted(PauseReport),
    /// The process runs. Descriptors: its pidfd, then for an exec with a terminal its main side.
    Started {
        /// Process id in the host's pid namespace.
        pid: Pid,
        /// Start time in clock ticks since boot: field 22 of /proc/PID/stat.
        start_ticks: u64,
        /// Settings that this machine refuses and that were left out.
        degraded: Vec<Failure>,
    },
    /// The socket that was asked for is the packet's descriptor.
    Netlink,
    /// Everything that the shim knows. Descriptors: the pause's pidfd and network namespace when it runs.
    Inventory {
        /// The pause process, unless it has exited.
        pause: Option<PauseReport>,
        /// All containers that were started and not forgotten.
        containers: Vec<ContainerReport>,
    },
    /// The request failed and changed nothing.
    Failed(Failure),
    /// Output is copied from now on. Descriptor: what `input` says.
    Attached {
        /// The type of the descriptor.
        input: AttachedInput,
    },
    /// The shim's own process id in the host's pid namespace.
    Identity(Pid),
    /// The pod's network namespace is made. Descriptors: the namespace, then a `NETLINK_ROUTE` socket inside it.
    NetworkMade,
}

/// The pause process and its shim, as the kernel identifies them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PauseReport {
    /// Process id in the host's pid namespace.
    pub pid: Pid,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Process id of the shim itself.
    pub shim_pid: Pid,
    /// Start time of the shim.
    pub shim_start_ticks: u64,
}

/// A container as the shim knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerReport {
    /// The container that is meant.
    pub container: ContainerId,
    /// The phase of the container.
    pub phase: Phase,
}

/// The phase of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Its first process runs.
    Running {
        /// Process id in the host's pid namespace.
        pid: Pid,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
    },
    /// Its first process has ended; the event is repeated until it is acknowledged.
    Exited,
    /// The container is being started. The same request again joins the start and is answered in its place.
    Launching,
}

/// Something happened in the pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A container's first process ended, and its output is in the log to the last byte. Repeated to each
    /// new daemon until [`Request::Acknowledge`].
    Exited {
        /// Number of this event, unique for the shim's life.
        sequence: u64,
        /// The container that is meant.
        container: ContainerId,
        /// How the process ended.
        status: ExitStatus,
        /// When: nanoseconds since the epoch.
        at_unix_nanos: i64,
        /// The kernel's OOM killer ended a process of this container.
        oom_killed: bool,
    },
    /// An exec process ended. Not repeated.
    ExecExited {
        /// The number of the exec process.
        exec: u64,
        /// How the process ended.
        status: ExitStatus,
    },
    /// The pause process ended, which nobody asked for.
    PauseExited {
        /// How the process ended.
        status: ExitStatus,
        /// When: nanoseconds since the epoch.
        at_unix_nanos: i64,
    },
    /// A client that is attached did not empty its pipes in time and was let go. Not repeated.
    ClientDropped {
        /// The number of the client.
        client: u64,
    },
}

impl Event {
    /// The first version that has it.
    pub fn since(&self) -> Protocol {
        match self {
            Self::Exited { .. }
            | Self::ExecExited { .. }
            | Self::PauseExited { .. }
            | Self::ClientDropped { .. } => Protocol::OLDEST,
        }
    }
}
