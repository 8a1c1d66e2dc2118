//! Shows pods as the kernel sees them: their namespaces, their processes and their limits.
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
mod kernel_view_error;
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
