//! The process of one pod: parent of everything in it, and nobody's child.
//!
//! One thread, one epoll set. It starts processes when the daemon asks, copies their output into CRI logs,
//! waits for them and keeps their exits until the daemon has recorded them. It must never wait for the
//! daemon, for a client or for a child: the daemon may die at any moment and come back as another process.
//! It decides nothing about pods; what a request means is in the request.
//!
//! ```text
//!            ┌────────── epoll ──────────┐
//!  listener ─┤ a new daemon replaces the │
//!  daemon ───┤ one before                ├─▶ control: requests → replies
//!  SIGCHLD ──┤                           ├─▶ reap: exits → records → events, until acknowledged
//!  reports ──┤ one for each launch       ├─▶ launched: replies
//!  outputs ──┤ pipes and terminals       ├─▶ output: CRI log records
//!            └───────────────────────────┘
//! ```
//!
//! What a container may go through is the table in [`state`].

mod attach;
mod cgroup;
mod clients;
mod connection;
mod container;
mod control;
pub mod cri_log;
mod exec;
mod exit_record;
mod hooks;
mod launched;
mod output;
mod pace;
mod pause;
mod pod;
mod process;
mod reap;
mod run;
mod shim;
mod start;
pub mod state;

#[cfg(test)]
mod output_tests;
#[cfg(test)]
mod tests;

pub use holdfast_launch::serve_mount_namespace;
pub use start::{ServeError, serve};
