//! Launches: from a plan to a running process.
//!
//! Four kinds of process are launched: a pod's pause, a container's first process, a further process in a container,
//! and a hook. Each is cloned by the shim into its cgroup, walks its plan and executes its program. The
//! shim decodes the plan and prepares every list before the clone; the child only walks them. This module
//! never waits for the child, keeps no state between launches, logs nothing and talks to no daemon.
//!
//! ```text
//!   shim: prepare ── clone3 ──▶ child: cgroups → trees of the host, the pod, the store
//!     │                          → namespaces of the pause → own mount table
//!     │                          → root: overlay, mounts, devices, masks → pivot
//!     │◀── report socket ──────  → limits → user → capabilities → filter → execve
//!     │      failure (step, index, errno) · degraded setting · terminal
//!     └─ end of file: execve has closed the socket, or the child has vanished;
//!        the shared page says which step it had reached
//! ```
//!
//! A container with hooks waits twice on its report socket: before its root becomes its root, and before it executes
//! its program. The shim runs the hooks meanwhile. Such a container's mount namespace is a copy of the host's until the
//! root changes, because hooks of the container's namespaces are programs of the host that look at the root.
//!
//! Between clone and exec the child allocates nothing, but for three rare things for which it must walk
//! directories or read text: the content that `copy_up` copies, the check that a propagating mount's source
//! is shared, and paths of more than 1 KiB. The shim has one thread, so its child's heap is whole.

mod cgroup;
mod container;
mod copy_up;
mod cover;
mod device;
mod exec;
mod hook;
mod image;
mod mount_namespace;
mod pause;
mod process;
mod report;
mod rootfs;
mod shim_namespaces;
mod start;
mod sysctl;
mod target;
mod terminal;
mod time_namespace;
mod tree;
mod user_namespace;

#[cfg(test)]
mod tests;

pub use cgroup::CgroupDirectories;
pub use container::{ContainerLaunch, start_container};
pub use exec::{ExecLaunch, start_exec};
pub use hook::{HookLaunch, HookPlace, Inside, start_hook};
pub use mount_namespace::{MountNamespaceError, serve_mount_namespace};
pub use pause::{PauseLaunch, start_pause};
pub use process::Streams;
pub use report::{Message, Position, Stage, describe_container, describe_exec, describe_pause};
pub use shim_namespaces::ShimNamespaces;
pub use start::Launch;
pub use sysctl::set_in_network;
