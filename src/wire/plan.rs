//! Launch plans: flat lists of what a new process does between clone and exec.
//!
//! The daemon makes them from an OCI runtime Spec; the shim decodes them before it clones, so that the
//! child allocates nothing. Paths named `target` are inside the container's root and are resolved there.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use holdfast_kernel::id::ContainerId;

/// Directory of the shim's small mount namespace where the daemon's root directory is bound.
pub const STORE_MOUNT: &str = "/store";

/// Directory of the pause's mount namespace with the pod's shared memory file system.
pub const POD_SHM: &str = "/shm";

/// The pause process and the namespaces that it owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PausePlan {
    /// Own network namespace; otherwise the host's.
    pub new_net: bool,
    /// Own IPC namespace and shared memory file system; otherwise the host's.
    pub new_ipc: bool,
    /// Own UTS namespace; otherwise the host's.
    pub new_uts: bool,
    /// The pause is process 1 of a pid namespace that the pod's containers share.
    pub new_pid: bool,
    /// Own user namespace with these mappings, which owns the other namespaces.
    pub user: Option<IdMappings>,
    /// Host name to set in the own UTS namespace.
    pub hostname: Option<CString>,
    /// Files below /proc/sys and the values to write, after the namespaces were made.
    pub sysctls: Vec<Sysctl>,
    /// Size of the shared memory file system in bytes.
    pub shm_bytes: u64,
    /// User of the pause process.
    pub uid: u32,
    /// Group of the pause process.
    pub gid: u32,
    /// Supplementary groups of the pause process.
    pub groups: Vec<u32>,
    /// seccomp filter of the pause process.
    pub seccomp: Option<SeccompFilter>,
    /// Value for /proc/self/oom_score_adj.
    pub oom_score_adj: Option<i32>,
}

/// A pause with what [`PausePlan`] cannot say. Protocol 3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentPausePlan {
    /// All the rest.
    pub base: PausePlan,
    /// What is special about it.
    pub special: PauseSpecials,
}

/// What only a pod with experiments has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseSpecials {
    /// The network namespace that comes with the request is joined; `new_net` is not set.
    pub join_net: bool,
    /// Own cgroup namespace, with the pause's cgroup as its root.
    pub new_cgroup: bool,
    /// Own time namespace with these offsets.
    pub time: Option<ClockOffsets>,
}

/// Offsets of a time namespace's clocks: whole seconds, and nanoseconds above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffsets {
    /// Of CLOCK_MONOTONIC.
    pub monotonic: (i64, u32),
    /// Of CLOCK_BOOTTIME.
    pub boottime: (i64, u32),
}

/// A container with what [`ContainerPlan`] cannot say. Protocol 3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentContainerPlan {
    /// All the rest.
    pub base: ContainerPlan,
    /// What is special about it.
    pub special: ContainerSpecials,
}

/// What only a container with experiments has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpecials {
    /// Own UTS namespace, at first a copy of the pause's.
    pub new_uts: bool,
    /// Own IPC namespace.
    pub new_ipc: bool,
    /// The pause's cgroup namespace; `new_cgroup` is not set.
    pub join_cgroup: bool,
}

/// A container with hooks. Protocol 4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookedContainerPlan {
    /// The container itself.
    pub container: ExperimentContainerPlan,
    /// Its hooks.
    pub hooks: Hooks,
}

/// Programs that are run at moments of a container's life: the OCI runtime specification, "POSIX-platform Hooks".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// The container's bundle, a directory of the host: hooks that run outside of the container's root run in it.
    pub bundle: CString,
    /// A directory in the bundle at which the root lies until it becomes the root. Hooks of the container's namespaces
    /// see it, together with the host's files.
    pub root: CString,
    /// The container's state in JSON up to the value of `status`, which is a string without escapes.
    pub state_head: String,
    /// What follows the number that is the value of `pid`.
    pub state_tail: String,
    /// The hooks in the order in which they are run.
    pub hooks: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// When it is run.
    pub moment: HookMoment,
    /// The program.
    pub path: CString,
    /// Its arguments, its own name first.
    pub args: Vec<CString>,
    /// Its whole environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Seconds after which it is killed and has failed.
    pub timeout: Option<u32>,
}

/// Moments at which hooks are run, in the order of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HookMoment {
    /// As [`Self::CreateRuntime`], and before those.
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

/// A container's first process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// The mappings of the pod's user namespace, when it has its own.
    pub user: Option<IdMappings>,
    /// Which pid namespace it runs in. The net, ipc, uts and user namespaces are those of the pause.
    pub pid: PidNamespace,
    /// Own cgroup namespace.
    pub new_cgroup: bool,
    /// Layers, highest first, below [`STORE_MOUNT`].
    pub lower: Vec<CString>,
    /// Upper directory below [`STORE_MOUNT`].
    pub upper: CString,
    /// Work directory below [`STORE_MOUNT`].
    pub work: CString,
    /// The root is made read-only when all mounts are in place.
    pub readonly_rootfs: bool,
    /// Propagation of the container's root mount.
    pub rootfs_propagation: Propagation,
    /// Mounts in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// Device nodes, after the mounts.
    pub devices: Vec<Device>,
    /// Symbolic links (target, link text), after the devices: /dev/fd and the like.
    pub symlinks: Vec<(CString, CString)>,
    /// Files are covered by /dev/null, directories by an empty read-only tmpfs; missing ones are skipped.
    pub masked_paths: Vec<CString>,
    /// Bound onto themselves read-only, with what is mounted below; missing ones are skipped. `PATH/.` is the mount at
    /// PATH alone.
    pub readonly_paths: Vec<CString>,
    /// The process itself.
    pub process: Process,
    /// A pipe is kept as standard input for clients that attach; otherwise it is /dev/null.
    pub stdin: bool,
    /// Standard input ends when the first attached client goes.
    pub stdin_once: bool,
}

/// A further process in a running container. It joins all namespaces of the first process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The mappings of the pod's user namespace, when it has its own.
    pub user: Option<IdMappings>,
    /// The process.
    pub process: Process,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

/// The part that is the same for a container's first process and for a further one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Arguments, the program's name first.
    pub args: Vec<CString>,
    /// Paths to try in turn: what PATH makes of the program's name.
    pub candidates: Vec<CString>,
    /// Environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Working directory, made (mode 0755) when it is missing.
    pub cwd: CString,
    /// A terminal is its controlling terminal and its standard streams.
    pub terminal: bool,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Set no_new_privs.
    pub no_new_privileges: bool,
    /// seccomp filter.
    pub seccomp: Option<SeccompFilter>,
    /// AppArmor profile that exec(2) is to enter.
    pub apparmor: Option<CString>,
    /// SELinux label that exec(2) is to enter.
    pub selinux: Option<CString>,
    /// Resource limits: (number of the resource, soft, hard).
    pub rlimits: Vec<(u32, u64, u64)>,
    /// Value for /proc/self/oom_score_adj.
    pub oom_score_adj: Option<i32>,
}

/// Which pid namespace a container's first process runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// A new one: CRI's CONTAINER.
    Own,
    /// The pause's: CRI's POD.
    Pod,
    /// The host's: CRI's NODE.
    Host,
    /// That of another container of this pod: CRI's TARGET.
    Container(ContainerId),
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside the container's root. Missing targets are made.
    pub target: CString,
    /// What.
    pub source: MountSource,
    /// `MOUNT_ATTR_*` of mount_setattr(2) to set.
    pub attributes: u64,
    /// The attributes are applied to the mounts below as well.
    pub recursive_attributes: bool,
    /// Propagation; the default is private.
    pub propagation: Propagation,
}

/// What is mounted.
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
        /// What is done when the path is missing.
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

/// What is done about a missing path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The launch fails.
    Fail,
    /// A directory (mode 0755) is made, parents included.
    MakeDirectory,
}

/// Mount propagation: mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// No propagation.
    Private,
    /// From the source into the container.
    Slave,
    /// In both directions.
    Shared,
}

/// A device node in the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Where, inside the container's root.
    pub target: CString,
    /// Character, block or fifo: `S_IFCHR`, `S_IFBLK`, `S_IFIFO`.
    pub kind: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the container's user namespace counts.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
}

/// A value for a file below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Path below /proc/sys with slashes: `net/ipv4/ip_forward`.
    pub path: CString,
    /// The value.
    pub value: CString,
}

/// Capability sets as bit masks: capabilities(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What execve(2) may ever grant.
    pub bounding: u64,
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable: empty unless asked for.
    pub inheritable: u64,
    /// Ambient.
    pub ambient: u64,
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompFilter {
    /// `struct sock_filter` array as bytes.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

/// Mappings of a user namespace: user_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMappings {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
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

/// One line of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}
