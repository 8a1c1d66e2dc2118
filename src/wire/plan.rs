//! Launch plans: flat lists of what a new process does between clone and exec.
//!
//! The daemon makes them from an OCI runtime Spec; the shim decodes them before it clones, so that the
//! child allocates nothing. Paths named `target` are inside the container's root and are resolved there.
//!
//! The parts that may get further fields number them: `growing.rs` has the rule. Fields of the other parts are those of
//! the kernel's interfaces, and stay.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use super::growing::{growing, plain};
use holdfast_kernel::id::ContainerId;

/// Directory of the shim's small mount namespace where the daemon's root directory is bound.
pub const STORE_MOUNT: &str = "/store";

/// Directory of the pause's mount namespace with the pod's shared memory file system.
pub const POD_SHM: &str = "/shm";

growing! {
    /// The pause process and the namespaces that it owns.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct PausePlan("pause plan") {
        /// Own network namespace; otherwise the host's.
        1 new_net: bool = false;
        /// Own IPC namespace and shared memory file system; otherwise the host's.
        2 new_ipc: bool = false;
        /// Own UTS namespace; otherwise the host's.
        3 new_uts: bool = false;
        /// The pause is process 1 of a pid namespace that the pod's containers share.
        4 new_pid: bool = false;
        /// Own user namespace with these mappings, which owns the other namespaces.
        5 user: Option<IdMappings> = None;
        /// Host name to set in the own UTS namespace.
        6 hostname: Option<CString> = None;
        /// Files below /proc/sys and the values to write, after the namespaces were made.
        7 sysctls: Vec<Sysctl> = Vec::new();
        /// Size of the shared memory file system in bytes.
        8 shm_bytes: u64 = 0;
        /// User of the pause process.
        9 uid: u32;
        /// Group of the pause process.
        10 gid: u32;
        /// Supplementary groups of the pause process.
        11 groups: Vec<u32> = Vec::new();
        /// seccomp filter of the pause process.
        12 seccomp: Option<SeccompFilter> = None;
        /// The value for /proc/self/oom_score_adj, proc(5).
        13 oom_score_adj: Option<i32> = None;
        /// The network namespace that comes with the request is joined; `new_net` is not set.
        14 join_net: bool = false;
        /// Own cgroup namespace, with the pause's cgroup as its root.
        15 new_cgroup: bool = false;
        /// Own time namespace with these offsets.
        16 time: Option<ClockOffsets> = None;
    }
}

/// Offsets of a time namespace's clocks: whole seconds, and nanoseconds above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffsets {
    /// The offset of CLOCK_MONOTONIC.
    pub monotonic: (i64, u32),
    /// The offset of CLOCK_BOOTTIME.
    pub boottime: (i64, u32),
}

growing! {
    /// Programs that are run at moments of a container's life: the OCI runtime specification, "POSIX-platform Hooks".
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hooks("hooks of a plan") {
        /// The container's bundle, a directory of the host: hooks that run outside of the container's root run in it.
        1 bundle: CString;
        /// A directory in the bundle at which the root lies until it becomes the root. Hooks of the container's namespaces
        /// see it, together with the host's files.
        2 root: CString;
        /// The container's state in JSON up to the value of `status`, which is a string without escapes.
        3 state_head: String;
        /// The text after the number that is the value of `pid`.
        4 state_tail: String;
        /// The hooks in the order in which they are run.
        5 hooks: Vec<Hook> = Vec::new();
    }
}

growing! {
    /// A program that is run at one moment.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hook("hook of a plan") {
        /// When it is run.
        1 moment: HookMoment;
        /// The path of the program.
        2 path: CString;
        /// Its arguments, its own name first.
        3 args: Vec<CString> = Vec::new();
        /// Its whole environment, `NAME=value` each.
        4 env: Vec<CString> = Vec::new();
        /// Seconds after which it is killed and has failed.
        5 timeout: Option<u32> = None;
    }
}

/// Moments at which hooks are run, in the order of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookMoment {
    /// The moment of [`Self::CreateRuntime`], before its hooks.
    Prestart,
    /// The root is complete and not yet the root; in the host's namespaces.
    CreateRuntime,
    /// After those, in the container's namespaces.
    CreateContainer,
    /// Before the program is executed, in the container's root and with the process' own rights.
    StartContainer,
    /// The program runs; in the host's namespaces.
    Poststart,
    /// The container has ended; in the host's namespaces.
    Poststop,
}

growing! {
    /// A container's first process.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct ContainerPlan("container plan") {
        /// The mappings of the pod's user namespace, when it has its own.
        1 user: Option<IdMappings> = None;
        /// Which pid namespace it runs in. The net, ipc, uts and user namespaces are those of the pause.
        2 pid: PidNamespace;
        /// The container makes a cgroup namespace of its own.
        3 new_cgroup: bool = false;
        /// Layers, highest first, below [`STORE_MOUNT`].
        4 lower: Vec<CString> = Vec::new();
        /// Upper directory below [`STORE_MOUNT`].
        5 upper: CString;
        /// Work directory below [`STORE_MOUNT`].
        6 work: CString;
        /// The root is made read-only when all mounts are in place.
        7 readonly_rootfs: bool = false;
        /// Propagation of the container's root mount.
        8 rootfs_propagation: Propagation = Propagation::Private;
        /// Mounts in the order in which they are made.
        9 mounts: Vec<Mount> = Vec::new();
        /// Device nodes, after the mounts.
        10 devices: Vec<Device> = Vec::new();
        /// Symbolic links (target, link text), after the devices: /dev/fd and the like.
        11 symlinks: Vec<(CString, CString)> = Vec::new();
        /// Files are covered by /dev/null, directories by an empty read-only tmpfs; missing ones are skipped.
        12 masked_paths: Vec<CString> = Vec::new();
        /// Bound onto themselves read-only, with what is mounted below; missing ones are skipped. `PATH/.` is the mount at
        /// PATH alone.
        13 readonly_paths: Vec<CString> = Vec::new();
        /// The container's first process.
        14 process: Process;
        /// A pipe is kept as standard input for clients that attach; otherwise it is /dev/null.
        15 stdin: bool = false;
        /// Standard input ends when the first attached client goes.
        16 stdin_once: bool = false;
        /// Own UTS namespace, at first a copy of the pause's.
        17 new_uts: bool = false;
        /// The container makes an IPC namespace of its own.
        18 new_ipc: bool = false;
        /// The pause's cgroup namespace; `new_cgroup` is not set.
        19 join_cgroup: bool = false;
        /// Programs that are run at moments of its life.
        20 hooks: Option<Hooks> = None;
    }
}

growing! {
    /// A further process in a running container. It joins all namespaces of the first process.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ExecPlan("exec plan") {
        /// The mappings of the pod's user namespace, when it has its own.
        1 user: Option<IdMappings> = None;
        /// The process that is run.
        2 process: Process;
        /// The size that its terminal begins with.
        3 terminal_size: Option<TerminalSize> = None;
    }
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// The height of the terminal.
    pub rows: u16,
    /// The width of the terminal.
    pub columns: u16,
}

growing! {
    /// The part that is the same for a container's first process and for a further one. Its `Default` is a process of
    /// root without arguments and rights, for the hooks of the host and for tests.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct Process("process of a plan") {
        /// Arguments, the program's name first.
        1 args: Vec<CString> = Vec::new();
        /// Paths to try in turn: what PATH makes of the program's name.
        2 candidates: Vec<CString> = Vec::new();
        /// The environment, each as `NAME=value`.
        3 env: Vec<CString> = Vec::new();
        /// Working directory, made (mode 0755) when it is missing.
        4 cwd: CString;
        /// A terminal is its controlling terminal and its standard streams.
        5 terminal: bool = false;
        /// The user that runs the program.
        6 uid: u32;
        /// The group that runs the program.
        7 gid: u32;
        /// Supplementary groups of the process.
        8 groups: Vec<u32> = Vec::new();
        /// File mode creation mask.
        9 umask: Option<u32> = None;
        /// Capability sets of the process.
        10 capabilities: Capabilities;
        /// The process sets no_new_privs, prctl(2).
        11 no_new_privileges: bool = false;
        /// The seccomp filter of the process.
        12 seccomp: Option<SeccompFilter> = None;
        /// AppArmor profile that exec(2) is to enter.
        13 apparmor: Option<CString> = None;
        /// SELinux label that exec(2) is to enter.
        14 selinux: Option<CString> = None;
        /// Resource limits: (number of the resource, soft, hard).
        15 rlimits: Vec<(u32, u64, u64)> = Vec::new();
        /// The value for /proc/self/oom_score_adj, proc(5).
        16 oom_score_adj: Option<i32> = None;
    }
}

/// Which pid namespace a container's first process runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// A new one: CRI's CONTAINER.
    #[default]
    Own,
    /// The pause's: CRI's POD.
    Pod,
    /// The host's: CRI's NODE.
    Host,
    /// The pid namespace of another container of this pod: CRI's TARGET.
    Container(ContainerId),
}

growing! {
    /// A mount in the container.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Mount("mount of a plan") {
        /// Where, inside the container's root. Missing targets are made.
        1 target: CString;
        /// The object that is mounted at the target.
        2 source: MountSource;
        /// `MOUNT_ATTR_*` of mount_setattr(2) to set.
        3 attributes: u64 = 0;
        /// The attributes are applied to the mounts below as well.
        4 recursive_attributes: bool = false;
        /// Propagation; the default is private.
        5 propagation: Propagation = Propagation::Private;
    }
}

/// The object that a mount of the plan shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MountSource {
    /// A new instance of a file system (fsopen(2)).
    New {
        /// proc, sysfs, tmpfs, devpts, mqueue, cgroup, cgroup2, …
        fs_type: CString,
        /// Options (key, value); an empty value is a flag.
        options: Vec<(CString, CString)>,
        /// The content below the target is copied into the new file system (OCI's `tmpcopyup`).
        copy_up: bool,
    },
    /// The layers of an image, read-only.
    Image {
        /// Layers, highest first, below [`STORE_MOUNT`].
        lower: Vec<CString>,
        /// A directory inside the image's root, resolved there; empty for the root itself.
        sub_path: CString,
    },
    /// A tree of another mount namespace, opened before the child leaves it.
    Tree {
        /// Where the path is resolved.
        origin: TreeOrigin,
        /// The path there; symbolic links are followed.
        path: CString,
        /// Mounts below come along.
        recursive: bool,
        /// The action when the path is missing.
        missing: Missing,
        /// The owners of its files, not those of mounts below it, are mapped by the pod's user namespace.
        /// That needs Linux 5.12 and a file system that can do it.
        id_map: Option<IdMappings>,
    },
}

/// Where a tree comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeOrigin {
    /// The host's mount namespace.
    Host,
    /// The pause's mount namespace.
    Pod,
    /// The shim's small mount namespace.
    Store,
}

/// The action when a path is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The launch fails with ENOENT.
    Fail,
    /// A directory (mode 0755) is made, parents included.
    MakeDirectory,
}

/// Propagation of a mount: mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Mounts propagate in no direction.
    #[default]
    Private,
    /// From the source into the container.
    Slave,
    /// Mounts propagate in both directions.
    Shared,
}

growing! {
    /// A device node in the container.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Device("device of a plan") {
        /// Where, inside the container's root.
        1 target: CString;
        /// Character, block or fifo: `S_IFCHR`, `S_IFBLK`, `S_IFIFO`.
        2 kind: u32;
        /// Major number of the device.
        3 major: u32 = 0;
        /// Minor number of the device.
        4 minor: u32 = 0;
        /// Permission bits of the node.
        5 mode: u32 = 0;
        /// Owner, as the container's user namespace counts.
        6 uid: u32 = 0;
        /// Group, as the container's user namespace counts.
        7 gid: u32 = 0;
    }
}

/// A value for a file below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Path below /proc/sys with slashes: `net/ipv4/ip_forward`.
    pub path: CString,
    /// The value that is written.
    pub value: CString,
}

/// Capability sets as bit masks: capabilities(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Capabilities that execve(2) may ever grant.
    pub bounding: u64,
    /// Capabilities that the kernel checks now.
    pub effective: u64,
    /// Capabilities that the process may make effective.
    pub permitted: u64,
    /// Inheritable: empty unless asked for.
    pub inheritable: u64,
    /// Capabilities that an unprivileged program keeps over execve(2).
    pub ambient: u64,
}

/// A compiled seccomp filter, seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompFilter {
    /// `struct sock_filter` array as bytes.
    pub program: Vec<u8>,
    /// Flags `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    pub flags: u32,
}

/// Mappings of a user namespace: user_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMappings {
    /// Mapped ranges of user ids.
    pub uids: Vec<IdRange>,
    /// Mapped ranges of group ids.
    pub gids: Vec<IdRange>,
}

impl IdMappings {
    /// The host's number of a user inside; `None` when it has none.
    pub fn outside_user(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// The host's number of a group inside; `None` when it has none.
    pub fn outside_group(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = inside.checked_sub(range.inside)?;
        (offset < range.count)
            .then(|| range.outside.checked_add(offset))
            .flatten()
    })
}

/// A line of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id outside the namespace.
    pub outside: u32,
    /// How many ids are mapped.
    pub count: u32,
}

plain! {
    CString, Capabilities, HookMoment, MountSource, Option<CString>, Option<ClockOffsets>, Option<IdMappings>, Option<SeccompFilter>, Option<TerminalSize>, Option<i32>, Option<u32>, PidNamespace, Propagation, String, Vec<(CString, CString)>, Vec<(u32, u64, u64)>, Vec<CString>, Vec<Sysctl>, Vec<u32>, bool, u32, u64,
}
