//! The files that statistics are read from, open as long as their group is.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The files of a group that readings come from; None for one that is missing.
#[derive(Debug, Default)]
pub(super) struct StatFiles {
    pub(super) open: OnceLock<Open>,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) cpu: Cpu,
    pub(super) memory: Memory,
    pub(super) pids_current: Option<OwnedFd>,
    pub(super) pids_max: Option<OwnedFd>,
    pub(super) io: Io,
    pub(super) cpu_pressure: Option<OwnedFd>,
    pub(super) memory_pressure: Option<OwnedFd>,
    pub(super) io_pressure: Option<OwnedFd>,
}

#[derive(Debug, Default)]
pub(super) enum Cpu {
    #[default]
    Missing,
    V2 {
        stat: OwnedFd,
    },
    V1 {
        usage: OwnedFd,
        user: Option<OwnedFd>,
        throttling: Option<OwnedFd>,
    },
}

#[derive(Debug, Default)]
pub(super) enum Memory {
    #[default]
    Missing,
    V2(MemoryFiles),
    V1(MemoryFiles),
}

#[derive(Debug)]
pub(super) struct MemoryFiles {
    pub(super) usage: OwnedFd,
    pub(super) stat: OwnedFd,
    pub(super) limit: Option<OwnedFd>,
    /// v2: swap alone; v1: memory and swap together.
    pub(super) swap_usage: Option<OwnedFd>,
    pub(super) swap_limit: Option<OwnedFd>,
}

#[derive(Debug, Default)]
pub(super) enum Io {
    #[default]
    Missing,
    V2 {
        stat: OwnedFd,
    },
    V1 {
        bytes: OwnedFd,
        serviced: OwnedFd,
    },
}
