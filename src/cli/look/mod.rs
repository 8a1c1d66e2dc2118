//! What can be seen of pods from outside: their namespaces, their processes, and what limits them.
//!
//! ```text
//!   daemon (which processes) ─┐
//!                             ├─▶ view ──▶ ns: matrix · node · dot · picture
//!   /proc (what the kernel ───┘       ├──▶ tree
//!          says of them)              ├──▶ why
//!                                     └──▶ enter
//! ```
//!
//! The daemon says which processes belong to what; everything else is read from the kernel's own files, so that
//! what is shown is what is. These verbs therefore run on the pods' node, in the daemon's pid namespace, with the
//! right to look at other users' processes. What this module must never do: change anything, but for `enter`,
//! which changes only itself.

mod control_group;
mod dot;
mod enter;
mod kind;
mod node;
mod ns;
mod picture;
mod procfs;
mod tree;
mod view;
mod why;

pub(crate) use enter::EnterArgs;
pub(super) use enter::enter;
pub(crate) use ns::NsArgs;
pub(super) use ns::ns;
pub(crate) use tree::TreeArgs;
pub(super) use tree::tree;
pub(crate) use why::WhyArgs;
pub(super) use why::why;

/// Why something cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A file of the kernel.
    #[error("cannot read {file}; run this as root on the pod's node")]
    File {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The daemon's process numbers mean nothing here.
    #[error(
        "process {pid} is not what the daemon says: it has ended, or this is another pid namespace than the daemon's"
    )]
    Elsewhere {
        /// The process.
        pid: i32,
    },
    /// Nothing runs that could be looked at.
    #[error("{0} does not run; see `holdfast ps -a`")]
    NotRunning(String),
    /// A pod's pause has no file system that a program could be started from.
    #[error(
        "{0} is a pod: its pause holds namespaces and has no files; give POD/CONTAINER, or name namespaces such as --net"
    )]
    Pause(String),
    /// The kernel does not let this process in.
    #[error("cannot {operation} of process {pid}")]
    Enter {
        /// What was attempted.
        operation: &'static str,
        /// The process.
        pid: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command cannot be run.
    #[error(
        "cannot run {0}; without --mnt the machine's own programs are there, with it only the image's"
    )]
    Run(String, #[source] std::io::Error),
    /// The output is for a pod only.
    #[error("-o {0} draws pods: name at least one")]
    NeedsPod(&'static str),
}
